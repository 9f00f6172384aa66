"""Fixtures of the app's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist_tui.data import source
from fmnist_tui.monitor import Gpu
from fmnist_tui.runs import process
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens import run as run_screen
from fmnist_tui.tui.widgets import run_panes
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


@pytest.fixture
def usual_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine for the New run screen: one GPU, no Slurm, and the data set where it is looked for."""
    monkeypatch.setattr(source, "find", lambda data_dir: Path("/data"))
    monkeypatch.setattr("fmnist_tui.tui.surroundings.has_slurm", lambda: False)
    gpus = [Gpu(0, 0, "NVIDIA H200", "GPU-0", 143 * 2**30)]
    monkeypatch.setattr("fmnist_tui.tui.surroundings.list_gpus", lambda: type("L", (), {"gpus": gpus})())


@pytest.fixture
def quick_redraws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Run screen's times are a matter of taste; tests need not wait for them."""
    monkeypatch.setattr(run_screen, "REDRAW_SECONDS", 0.02)
    monkeypatch.setattr(run_screen, "REDRAW_SHARE", 1.0)
    monkeypatch.setattr(run_screen, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(run_panes, "CHART_SECONDS", 0.02)


@pytest.fixture
def app(runs_dir: Path) -> FmnistApp:
    """The app on the runs directory."""
    return FmnistApp(runs_dir, None)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RunDirectory]]:
    """The runs workers were started for; each is a process that sleeps."""
    started: list[RunDirectory] = []
    children: list[subprocess.Popen[bytes]] = []

    def start(run: RunDirectory) -> subprocess.Popen[bytes]:
        started.append(run)
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        children.append(child)
        return child

    monkeypatch.setattr(process, "start_worker", start)
    yield started
    for child in children:
        child.kill()
        child.wait()
