"""Fixtures of the tests with real processes: workers that leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fmnist_tui.runs import process
from fmnist_tui.runs.layout import RunDirectory
from tests.process.forked import ForkedWorker
from tests.process.holders import Holder
from tests.process.workers import Start, Worker


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers share this machine with the test."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def kept_track(begin: Start) -> Iterator[Start]:
    """Starts workers, and leaves none behind."""
    started: list[Worker] = []

    def start(run: RunDirectory) -> Worker:
        started.append(begin(run))
        return started[-1]

    yield start
    for worker in started:
        if worker.poll() is None:
            worker.kill()
        worker.wait(timeout=30)


@pytest.fixture
def start_whole() -> Iterator[Start]:
    """Starts workers as the program does."""
    yield from kept_track(process.start_worker)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers that have torch loaded already."""
    yield from kept_track(ForkedWorker)


@pytest.fixture
def hold(runs_dir: Path) -> Iterator[Callable[..., Holder]]:
    """Makes runs that hold the CPU until the test is over."""
    holders: list[Holder] = []

    def hold(eta_seconds: float | None = None, where: Path = runs_dir) -> Holder:
        holders.append(Holder(where, eta_seconds))
        return holders[-1]

    yield hold
    for holder in holders:
        holder.place.leave()
