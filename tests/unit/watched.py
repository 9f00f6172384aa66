"""What the tests of watching share: a run's status and lines, written as a worker writes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from fmnist_tui.console.feed import Line
from fmnist_tui.runs import process
from fmnist_tui.runs.files import LineWriter, replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord
from fmnist_tui.runs.records import Record
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run


class Recorder:
    """A view that keeps what it is told, and calls a hook at each update."""

    def __init__(self, on_update: Callable[[Run], None] = lambda run: None) -> None:
        self.lines: list[Line] = []
        self.said: list[str] = []
        self.calls: list[str] = []
        self.on_update = on_update

    def start(self, run: Run) -> None:
        self.calls.append("start")

    def update(self, run: Run, lines: Sequence[Line]) -> None:
        self.lines += lines
        self.calls.append("update")
        self.on_update(run)

    def say(self, message: str) -> None:
        self.said.append(message)

    def end(self, run: Run) -> None:
        self.calls.append("end")

    def close(self) -> None:
        self.calls.append("close")


def change_status(run: RunDirectory, **values: object) -> None:
    """Write values into status.json, as a worker of this process."""
    current = Status.model_validate_json(run.status.read_bytes())
    replace_bytes(run.status, current.model_copy(update=values).to_json().encode())


def alive_here(run: RunDirectory, **values: object) -> None:
    """Make this test's own process the run's worker, at work."""
    started = process.process_started(os.getpid())
    change_status(run, state=State.RUNNING, pid=os.getpid(), pid_started=started, **values)


def write_lines(run: RunDirectory, *records: Record) -> None:
    writer = LineWriter(run.metrics)
    writer.write("".join(record.to_json() + "\n" for record in records))
    writer.close()


def evaluation(epoch: int, accuracy: float, time: str = "2026-11-23T10:00:00.000Z") -> EvalRecord:
    return EvalRecord(
        time=time,
        epoch=epoch,
        step=47 * epoch,
        test_loss=0.5,
        test_accuracy=accuracy,
        train_loss=0.25,
        train_accuracy=accuracy + 1,
        seconds=0.1,
    )


def train_line(step: int, loss: float) -> TrainRecord:
    return TrainRecord(step=step, epoch=1, loss=loss, loss_min=loss, loss_max=loss, lr=0.1, images_per_second=1000.0)
