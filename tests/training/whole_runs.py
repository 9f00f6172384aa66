"""What tests of whole runs share: configurations with all noise, stops at a step, and what was written."""

from __future__ import annotations

from typing import Any

import pytest

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord
from fmnist_tui.runs.result import Result
from fmnist_tui.training.desk import Desk
from tests.training.tiny import Trainer

SHAKE = {"kind": "shake_shake", "depth": 8, "base_channels": 4}
CUTOUT = {"crop_padding": 4, "flip": True, "cutout_size": 16}


def result_of(run: RunDirectory) -> Result:
    return Result.model_validate_json(run.result.read_bytes())


def without_clock(records: list[TrainRecord | EvalRecord]) -> list[dict[str, Any]]:
    """The records less what depends on the clock."""
    return [record.model_dump(exclude={"time", "seconds", "images_per_second"}) for record in records]


def stop_at(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make the next training receive SIGTERM after this step, as its handler would note it."""
    original = Desk.after_step

    def after_step(self: Desk) -> None:
        if self.progress.step == step:
            self.job.stop_signal.received = "SIGTERM"
        original(self)

    monkeypatch.setattr(Desk, "after_step", after_step)
