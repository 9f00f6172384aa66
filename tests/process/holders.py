"""For the tests of the device queue: a run that holds a device, as far as anybody can see, and who waits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fmnist_tui.runs import process, queue, starting
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import State
from tests.process.crowd import CPU
from tests.process.workers import config, status_of


class Holder:
    """A run at work on the CPU, as far as anybody can see, for as long as a test wants."""

    def __init__(self, runs_dir: Path, eta_seconds: float | None = None) -> None:
        self.run = starting.create_run(runs_dir, config(), "cpu")
        self.place = Place(self.run, [CPU])
        assert self.place.take() == CPU
        self.say(eta_seconds)

    def say(self, eta_seconds: float | None) -> None:
        pid = os.getpid()
        at_work = {"state": State.RUNNING, "pid": pid, "pid_started": process.process_started(pid)}
        self._write(**at_work, eta_seconds=eta_seconds)

    def end(self) -> None:
        self._write(state=State.FINISHED, eta_seconds=None)
        self.place.leave()

    def _write(self, **values: Any) -> None:
        status = status_of(self.run).model_copy(update={"heartbeat": utc_now(), **values})
        self.run.status.write_text(status.to_json())


def waiting() -> list[str]:
    return [entry.run_id for found in queue.snapshot() for entry in found.waiting]


def on() -> list[str]:
    return [entry.run_id for found in queue.snapshot() for entry in found.on]


def is_queued(run: RunDirectory, place: int = 1) -> bool:
    status = status_of(run)
    return (status.state, status.queue_place) == (State.QUEUED, place)
