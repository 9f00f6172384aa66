"""From steps to epochs: where on the time axis of a chart a step of a run lies.

Used by the app's charts and the HTML report's. An evaluation has both a step and an epoch, and lies where its step is:
one made before a step limit comes in mid-epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fmnist_tui.config import RunConfig
from fmnist_tui.data.split import split_sizes
from fmnist_tui.fields import steps_per_epoch
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.status import Status


def epoch_steps(status: Status | None, config: RunConfig | None, evaluations: Sequence[EvalRecord] = ()) -> int:
    """Steps of an epoch, at least 1: as the status says, or (before the worker has said) as the configuration does.

    Where neither can be read, as the evaluations do.
    """
    if status is not None and status.steps_per_epoch > 0:
        return status.steps_per_epoch
    if config is not None:
        return steps_per_epoch(config, split_sizes(config.data.source, config.data.split)[0])
    return max([1, *(record.step // record.epoch for record in evaluations if record.epoch > 0)])


def epoch_of(step: float, per_epoch: int) -> int:
    """The epoch, counted from 1, a step belongs to: with 118 steps an epoch, step 118 is epoch 1, 119 epoch 2."""
    return max(1, math.ceil(step / per_epoch))


def evaluated_at(epoch: int, per_epoch: int, evaluations: Sequence[EvalRecord]) -> float:
    """Epochs trained by the evaluation that bears this epoch's number: not whole where a step limit came first.

    Where `evaluations` do not hold it (its metrics are gone), the number itself.
    """
    step = next((record.step for record in reversed(evaluations) if record.epoch == epoch), epoch * per_epoch)
    return epoch if step == epoch * per_epoch else step / per_epoch


def epoch_text(epochs: float) -> str:
    """Epochs trained, as every view says them: '8', '2.66'; never whole where they are not."""
    if epochs == int(epochs):
        return f"{int(epochs):,}"
    text = f"{epochs:.2f}"
    return text if not text.endswith(".00") else f"{epochs:.4f}"
