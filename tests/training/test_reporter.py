"""The Reporter: heartbeat, samples, and lines that wait while the disk is full."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.runs.metrics import EvalRecord, TrainRecord, parse_metric
from fmnist_tui.runs.status import State, Status
from tests.training.tiny import reporter_for


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def test_the_heartbeat_beats_and_the_machine_is_sampled_while_the_loop_is_busy(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_tui.training.reporter.STATUS_SECONDS", 0.02)
    monkeypatch.setattr("fmnist_tui.training.reporter.HEARTBEAT_SECONDS", 0.05)
    reporter = reporter_for(runs_dir)
    reporter.start()
    first = Status.model_validate_json(reporter.run.status.read_bytes())
    assert first.pid == os.getpid()
    wait_until(lambda: Status.model_validate_json(reporter.run.status.read_bytes()).heartbeat > first.heartbeat)
    wait_until(lambda: reporter.run.metrics.exists() and b'"system"' in reporter.run.metrics.read_bytes())
    reporter.close(State.FINISHED, None, 0)
    assert not any(thread.name == "reporter" for thread in threading.enumerate())
    last = Status.model_validate_json(reporter.run.status.read_bytes())
    assert (last.state, last.exit_code) == (State.FINISHED, 0) and last.ended is not None


def test_lines_wait_while_the_disk_is_full(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = reporter_for(runs_dir)
    line = TrainRecord(step=1, epoch=1, loss=1.0, loss_min=1.0, loss_max=1.0, lr=0.1, images_per_second=5.0)
    reporter.write(line)
    pwrite = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        reporter.write(line.model_copy(update={"step": 2}))
        reporter.write(line.model_copy(update={"step": 3}))
    assert os.pwrite is pwrite
    reporter.write(line.model_copy(update={"step": 4}))
    records = [parse_metric(text) for text in reporter.run.metrics.read_bytes().splitlines()]
    steps = [record.step for record in records if isinstance(record, TrainRecord)]
    warnings = [record for record in records if record is not None and record.kind == "event"]
    assert steps == [1, 2, 3, 4]
    assert len(warnings) == 1 and "No space left" in warnings[0].message


def test_a_trouble_with_the_disk_is_said_once_and_once_that_it_is_over(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where every other write succeeds: status.json needs a new block, a metric line fits into the old one."""
    monkeypatch.setattr("fmnist_tui.training.reporter.OVER_SECONDS", 0.0)
    reporter = reporter_for(runs_dir)
    line = TrainRecord(step=1, epoch=1, loss=1.0, loss_min=1.0, loss_max=1.0, lr=0.1, images_per_second=5.0)

    def full(path: Path, data: bytes, durable: bool = False) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def warnings() -> list[str]:
        records = [parse_metric(text) for text in reporter.run.metrics.read_bytes().splitlines()]
        return [record.message for record in records if record is not None and record.kind == "event"]

    for nth in (1, 2):
        with monkeypatch.context() as patch:
            patch.setattr("fmnist_tui.training.reporter.replace_bytes", full)
            for step in (1, 2, 3):
                reporter.update(now=True, step=step)
                reporter.write(line)
        assert len(warnings()) == 2 * nth - 1 and "No space left on device" in warnings()[-1]
        for _ in range(3):
            reporter.update(now=True)
            reporter.write(line)
        assert len(warnings()) == 2 * nth and "files can be written again" in warnings()[-1]
    assert capsys.readouterr().err.count("\n") == 4, "as in the log"


def test_keep_until_drops_later_lines_and_damaged_ones(runs_dir: Path) -> None:
    reporter = reporter_for(runs_dir)
    for step in range(1, 6):
        reporter.write(TrainRecord(step=step, epoch=1, loss=1, loss_min=1, loss_max=1, lr=0.1, images_per_second=1))
    for epoch in (1, 2):  # both of step 3: a checkpoint of an epoch's last step may be older than its evaluation
        values = {"test_loss": 1, "test_accuracy": 1, "train_loss": 1, "train_accuracy": 1, "seconds": 1}
        reporter.write(EvalRecord(step=3, epoch=epoch, **values))
    reporter.event("warning", "something")
    with reporter.run.metrics.open("ab") as file:
        file.write(b'{"kind": "train", "st')
    reporter.keep_until(3, evaluated_epoch=1)
    records = [parse_metric(text) for text in reporter.run.metrics.read_bytes().splitlines()]
    assert [record.kind for record in records if record] == ["train"] * 3 + ["eval", "event"]
