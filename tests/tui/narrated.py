"""What the tests of the narration give it: records, series of them, and the surroundings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fmnist_tui.runs.metrics import EvalRecord, EventRecord, TrainRecord
from fmnist_tui.tui.notes import Surroundings
from fmnist_tui.tui.run_data import RunData

AROUND = Surroundings(per_epoch=100, epochs=200)


def evaluations(accuracies: Sequence[float], losses: Sequence[float] | None = None) -> list[EvalRecord]:
    losses = losses or [0.2] * len(accuracies)
    return [
        EvalRecord(
            epoch=epoch,
            step=100 * epoch,
            test_loss=loss,
            test_accuracy=accuracy,
            train_loss=0.1,
            train_accuracy=99.0,
            seconds=1.0,
        )
        for epoch, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), 1)
    ]


def line(step: int, loss: float = 0.2, lr: float = 0.1, speed: float = 1000.0) -> TrainRecord:
    return TrainRecord(
        step=step,
        epoch=(step - 1) // 100 + 1,
        loss=loss,
        loss_min=loss,
        loss_max=loss,
        lr=lr,
        images_per_second=speed,
    )


def data_of(*lines: TrainRecord | EventRecord) -> RunData:
    data = RunData()
    data.extend(lines)
    return data


def around(**values: Any) -> Surroundings:
    return replace(AROUND, **values)
