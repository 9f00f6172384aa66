"""Fixtures for all tests: nobody's own configuration, caches or runs are seen or touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the user's settings: fresh config and cache directories, no FMNIST_TUI_* variables, cwd in tmp_path."""
    for variable in list(os.environ):
        if variable.startswith("FMNIST_TUI_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("FMNIST_TUI_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("FMNIST_TUI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """A runs directory that does not exist yet."""
    return tmp_path / "runs"
