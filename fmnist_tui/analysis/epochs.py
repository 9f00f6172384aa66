"""From steps to epochs: where on the time axis of a chart a step of a run lies.

Used by the app's charts and the HTML report's. An evaluation has both a step and an epoch, and lies where its step is:
one made before a step limit comes in mid-epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fmnist_tui.config import RunConfig
from fmnist_tui.fields import steps_per_epoch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, parse_metric
from fmnist_tui.runs.status import Status
from fmnist_tui.runs.store import Run


def epoch_steps(status: Status | None, config: RunConfig | None, evaluations: Sequence[EvalRecord] = ()) -> int:
    """Steps of an epoch, at least 1: as the status says, or (before the worker has said) as the configuration does.

    Where neither can be read, as the evaluations do.
    """
    if status is not None and status.steps_per_epoch > 0:
        return status.steps_per_epoch
    if config is not None:
        return steps_per_epoch(config, config.data.sizes[0])
    return max([1, *(record.step // record.epoch for record in evaluations if record.epoch > 0)])


def epoch_of(step: float, per_epoch: int) -> int:
    """The epoch, counted from 1, a step belongs to: with 118 steps an epoch, step 118 is epoch 1, 119 epoch 2."""
    return max(1, math.ceil(step / per_epoch))


def evaluations(directory: RunDirectory) -> list[EvalRecord]:
    """A run's evaluations, oldest first; none where its metrics can't be read."""
    try:
        with directory.metrics.open("rb") as file:
            records = (parse_metric(line) for line in file if b'"eval"' in line)
            return [record for record in records if isinstance(record, EvalRecord)]
    except OSError:
        return []


class Trained:
    """How many epochs were trained by the evaluation that bears an epoch's number.

    Not whole where a step limit came first; the number itself where metrics don't hold that evaluation.
    """

    def __init__(self, run: Run, found: Sequence[EvalRecord] | None = None) -> None:
        """Of a run's metrics, or of the evaluations in them where they were read already."""
        records = evaluations(run.directory) if found is None else found
        self.per_epoch = epoch_steps(run.status, run.config, records)
        self._steps = {record.epoch: record.step for record in records}

    def by(self, epoch: int) -> float:
        """Epochs trained: 8, 2.656."""
        return self.by_step(self._steps.get(epoch, epoch * self.per_epoch))

    def by_step(self, step: int) -> float:
        """The same of any step."""
        return step // self.per_epoch if step % self.per_epoch == 0 else step / self.per_epoch

    def text(self, epoch: int) -> str:
        """The same in words: '8', '2.66'."""
        return epoch_text(self.by(epoch))


def epoch_text(epochs: float) -> str:
    """Epochs trained, as every view says them: '8', '2.66'; never whole where they are not."""
    if epochs == int(epochs):
        return f"{int(epochs):,}"
    text = f"{epochs:.2f}"
    return text if not text.endswith(".00") else f"{epochs:.4f}"
