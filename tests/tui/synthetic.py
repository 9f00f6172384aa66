"""Run directories made through `runs.starting` that hold real records in every state, for the tests of the app."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from textual.app import App
from textual.pilot import Pilot

from fmnist_tui.config import RunConfig
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.files import LineWriter, replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord
from fmnist_tui.runs.requests import ControlRequest, read_control
from fmnist_tui.runs.status import State, Status
from tests.results import result_of

BOUND_SECONDS = 60.0
"""Far longer than anything here takes on a busy machine."""
NOW = datetime(2026, 11, 23, 14, 30, 0, tzinfo=UTC)
"""The time of synthetic runs where a test fixes it."""


def stamp(seconds_ago: float, now: datetime | None = None) -> str:
    """A record's timestamp that many seconds before now."""
    then = (now or datetime.now(UTC)) - timedelta(seconds=seconds_ago)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RunMaker:
    """Makes runs as launchers and workers would have left them; `worker_pid` is a live process that is no worker."""

    def __init__(self, runs_dir: Path, worker_pid: int, now: datetime | None = None) -> None:
        self.runs_dir = runs_dir
        self.worker_pid = worker_pid
        self.now = now

    def make(
        self,
        preset: str = "wrn",
        state: State = State.FINISHED,
        *,
        run_id: str = "",
        ago: float = 3600.0,
        epoch: int | None = None,
        changes: dict[str, Any] | None = None,
        **status: Any,
    ) -> RunDirectory:
        """A run last heard of `ago` seconds ago. State.LOST: its file says running, its process is gone."""
        config = load_preset(preset)
        if changes:
            config = config.model_copy(update=changes)
        run = starting.create_run(self.runs_dir, config)
        if run_id:
            run = RunDirectory(run.path.rename(run.path.with_name(run_id)))
        epochs = config.training.epochs
        alive = state.alive
        epoch = epochs if epoch is None else epoch
        fields: dict[str, Any] = {
            "state": State.RUNNING if state is State.LOST else state,
            "host": socket.gethostname(),
            "created": stamp(ago + 7200, self.now),
            "started": stamp(ago + 7190, self.now),
            "heartbeat": stamp(1 if alive else ago, self.now),
            "ended": None if alive or state is State.LOST else stamp(ago, self.now),
            "epoch": epoch,
            "epochs": epochs,
            "steps_per_epoch": 118,
            "step": 118 * epoch,
            "steps": 118 * epochs,
            "device": "cuda:0",
            "device_name": "NVIDIA H200",
            "active_seconds": 7190.0,
        }
        if alive:
            fields |= {"pid": self.worker_pid, "pid_started": psutil.Process(self.worker_pid).create_time()}
        if state is State.LOST:
            dead = subprocess.Popen(["true"])
            dead.wait()
            fields |= {"pid": dead.pid, "pid_started": 1.0}
        self.write_status(run, **(fields | status))
        if epoch > 2:  # without one it could not go on
            run.checkpoint("last").parent.mkdir(exist_ok=True)
            run.checkpoint("last").touch()
        return run

    @staticmethod
    def write_status(run: RunDirectory, **fields: Any) -> None:
        """Write status.json as a trainer would: these fields, or where some are left out, the present ones changed."""
        before = Status.model_validate_json(run.status.read_bytes()).model_dump()
        replace_bytes(run.status, Status(**(before | fields)).to_json().encode())

    @staticmethod
    def write_metrics(run: RunDirectory, epochs: int, first: int = 1, steps_per_epoch: int = 118) -> None:
        """Append one training line and one evaluation for each epoch."""
        writer = LineWriter(run.metrics)
        for epoch in range(first, first + epochs):
            step, loss = epoch * steps_per_epoch, 2.0 / (1 + epoch)
            train = TrainRecord(
                step=step,
                epoch=epoch,
                loss=loss,
                loss_min=loss / 2,
                loss_max=2 * loss,
                lr=0.1,
                images_per_second=9870.0,
            )
            evaluation = EvalRecord(
                epoch=epoch, step=step, test_loss=loss, test_accuracy=95 - 20 * loss, train_loss=loss,
                train_accuracy=96 - 20 * loss, seconds=1.0,
            )  # fmt: skip
            writer.write(train.to_json() + "\n" + evaluation.to_json() + "\n")
        writer.close()

    def gallery(self) -> dict[str, RunDirectory]:
        """A run in every state a person meets, by what is special about it."""
        made = {
            "running": self.make(
                "wrn", State.RUNNING, run_id="20261123-142501-wrn-k3f9", epoch=37, phase="training", loss=0.1843,
                lr=0.1, test_accuracy=93.41, best_accuracy=93.60, best_epoch=35, images_per_second=9870.0,
                eta_seconds=7455.0,
            ),
            "starting": self.make(
                "densenet", State.STARTING, run_id="20261123-142900-densenet-a2b3", epoch=0, phase="loading data",
                device="auto", device_name="", active_seconds=0.0,
            ),
            "stopping": self.make(
                "dpn", State.STOPPING, run_id="20261123-120000-dpn-q7rt", epoch=112, phase="saving", loss=0.0312,
                test_accuracy=93.02, best_accuracy=93.11, best_epoch=101, images_per_second=4410.0, device="cuda:1",
            ),
            "finished": self.make(
                "quick", ago=5400, run_id="20261123-101500-quick-m4n5", loss=0.2101,
                test_accuracy=91.25, best_accuracy=91.40, best_epoch=7, device="cpu", device_name="Intel Xeon",
                images_per_second=843.0, active_seconds=62.0,
            ),
            "failed": self.make(
                "shake-shake-96", State.FAILED, ago=9000, run_id="20261123-081500-shake-shake-96-x8yz", epoch=3,
                error="CUDA out of memory: tried to allocate 2.4 GiB with 1.1 GiB free.\n"
                "The largest micro-batch that fits is 96: set training.micro_batch = 96, or 'auto'.",
                exit_code=4, loss=1.2034,
            ),
            "not finite": self.make(
                "dpn", State.FAILED, ago=90_000, run_id="20261122-120000-dpn-lr1-h2jk", epoch=2, loss=float("nan"),
                error="The loss is not finite at step 212 (epoch 2). Try a lower optimizer.lr; the last good "
                "checkpoint is of epoch 1.",
                exit_code=4, changes={"name": "dpn-lr1"},
            ),
            "lost": self.make(
                "densenet", State.LOST, ago=30_000, run_id="20261123-031500-densenet-c5d6", epoch=144, loss=0.0921,
                test_accuracy=93.30, best_accuracy=93.42, best_epoch=140, eta_seconds=5000.0,
            ),
            "stopped": self.make(
                "shake-shake-64", State.STOPPED, ago=200_000, run_id="20261121-060000-shake-shake-64-p9qr", epoch=512,
                loss=0.1633, test_accuracy=92.88, best_accuracy=92.95, best_epoch=509, exit_code=130,
            ),
            "old": self.make(
                "wrn", ago=40 * 86_400.0, run_id="20261014-060000-wrn-cutout-s2t3", loss=0.0021, test_accuracy=94.61,
                best_accuracy=94.70, best_epoch=188, changes={"name": "wrn-cutout"}, active_seconds=8040.0,
            ),
        }  # fmt: skip
        damaged = self.make("quick", run_id="20261101-060000-quick-d4mg")
        damaged.status.write_text("{ half a")
        return made | {"damaged": damaged}


def wait_for(condition: Callable[[], bool], seconds: float = BOUND_SECONDS) -> bool:
    """Whether a condition comes true in time; for threads, where there is no event loop to pause in."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return condition()


def drawn(app: App[Any]) -> list[str]:
    """The screen's lines as a terminal would show them."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def seen(app: App[Any], text: str) -> bool:
    """Whether one of the screen's lines has this text."""
    return any(text in line for line in drawn(app))


async def until(pilot: Pilot[Any], condition: Callable[[], bool], seconds: float = BOUND_SECONDS) -> None:
    """Let the app run until a condition comes true; fails with what is on the screen if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "\n".join(drawn(pilot.app))
        await pilot.pause(0.01)
    await pilot.pause()


async def until_drawn(pilot: Pilot[Any], *texts: str) -> str:
    """Let the app run until all these texts are on the screen, and return what it shows."""
    await until(pilot, lambda: all(text in "\n".join(drawn(pilot.app)) for text in texts))
    return "\n".join(drawn(pilot.app))


def status_of(run: store.Run) -> Status:
    assert run.status is not None
    return run.status


def asked(run: RunDirectory) -> list[ControlRequest]:
    """What a run's worker has been asked for."""
    return read_control(run).requests


def write_result(run: RunDirectory, **fields: Any) -> None:
    """Write result.json of a finished run, with the configuration it has."""
    config = RunConfig.model_validate_json(run.config.read_bytes())
    values: dict[str, Any] = {
        "parameters": config.reference.parameters if config.reference else 77_000,
        "steps": 118 * config.training.epochs,
        "test_accuracy": 93.95,
        "best_accuracy": 94.12,
        "best_epoch": 180,
        "train_seconds": 7000.0,
        "eval_seconds": 100.0,
        "total_seconds": 7140.0,
        "images_per_second": 9870.0,
        "compile": "default",
        "started": stamp(9000),
        "finished": stamp(1800),
    }
    replace_bytes(run.result, result_of(config, run.id, **(values | fields)).to_json().encode())
