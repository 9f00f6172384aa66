"""Fixtures of the unit tests: a run directory with nothing in it, and processes that are gone after the test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fmnist_tui.runs.layout import RunDirectory


@pytest.fixture
def run(runs_dir: Path) -> RunDirectory:
    directory = RunDirectory(runs_dir / "20260101-000000-x-aaaa")
    directory.path.mkdir(parents=True)
    return directory


@pytest.fixture
def children() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python processes that are gone when the test is over; each says 'ready' when its code says so."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()
