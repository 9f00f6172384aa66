"""A run at work that no worker trains, for `measure_app.py`: its lines and status written as a worker writes them."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from pathlib import Path

import psutil

from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.files import LineWriter, replace_bytes
from fmnist_tui.runs.metrics import EvalRecord, HostSample, SystemRecord, TrainRecord
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import State

LAST_ACCURACY = "66.66"
"""Of such a run's last evaluation: when the chart's legend says it, the last line has been drawn."""


class Written:
    """A run whose lines the script that measures writes: a line of training four times a second, the status twice."""

    def __init__(self, directory: Path, lines: int) -> None:
        self.run = starting.create_run(directory, load_preset("wrn"), device="cpu")
        self._writer = LineWriter(self.run.metrics)
        self._step, self._lines = 0, 0
        self._ended = threading.Event()
        text: list[str] = []
        while self._lines < lines - 5:
            text += self._epoch_lines("95.00")
        text += self._epoch_lines(LAST_ACCURACY)[-2:]
        self._writer.write("".join(text))
        self._write_status()

    def _train_line(self) -> str:
        self._step += 2
        self._lines += 1
        loss = 0.1 + 1 / (1 + self._step / 5_000) + 0.01 * (self._step % 7)
        return self._text(
            TrainRecord(step=self._step, epoch=1 + (self._step - 1) // 118, loss=loss, loss_min=0.9 * loss,
                        loss_max=1.1 * loss, lr=0.1, images_per_second=900.0)
        )  # fmt: skip

    def _epoch_lines(self, train_accuracy: str) -> list[str]:
        lines = [self._train_line() for _ in range(59)]
        sample = SystemRecord(host=HostSample(cpu_percent=50.0, ram_used=1 << 33, ram_total=1 << 35))
        evaluation = EvalRecord(
            epoch=self._step // 118, step=self._step, test_loss=0.3, test_accuracy=93.0, train_loss=0.2,
            train_accuracy=float(train_accuracy), seconds=1.5,
        )  # fmt: skip
        self._lines += 4
        return [*lines, *[self._text(sample)] * 3, self._text(evaluation)]

    @staticmethod
    def _text(record: TrainRecord | EvalRecord | SystemRecord) -> str:
        return record.to_json() + "\n"

    def _write_status(self) -> None:
        before = store.read_status(self.run)
        assert before is not None
        changes = {
            "state": State.RUNNING, "phase": "training", "pid": os.getpid(), "host": socket.gethostname(),
            "pid_started": psutil.Process().create_time(), "step": self._step, "epoch": 1 + (self._step - 1) // 118,
            "epochs": 5_000, "steps": 5_000 * 118, "steps_per_epoch": 118, "heartbeat": utc_now(),
            "images_per_second": 900.0, "device": "cpu",
        }  # fmt: skip
        replace_bytes(self.run.status, before.model_copy(update=changes).to_json().encode())

    def _write_on(self) -> None:
        for nth in itertools.count():
            if self._ended.wait(0.25):
                return
            self._writer.write(self._train_line())
            if nth % 2:
                self._write_status()

    def __enter__(self) -> Written:
        threading.Thread(target=self._write_on, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
