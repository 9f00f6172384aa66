"""Fixtures of the app's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.synthetic import RunMaker


@pytest.fixture(scope="session")
def sleeper() -> Iterator[int]:
    """The pid of a process that does nothing, to stand for a worker."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def maker(runs_dir: Path, sleeper: int) -> RunMaker:
    """Makes runs in `runs_dir`."""
    return RunMaker(runs_dir, sleeper)


@pytest.fixture(autouse=True)
def unicode_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal with UTF-8 and colours, whatever runs the tests."""
    for variable in ("LC_ALL", "LC_CTYPE", "NO_COLOR", "FMNIST_TUI_ASCII", "TEXTUAL_THEME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert os.environ["LANG"]
