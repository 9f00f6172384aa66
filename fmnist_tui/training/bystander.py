"""The Desk of every rank but 0: the same decisions at the same steps, and nothing written.

Rank 0 checks the losses, keeps the checkpoints and says what happens; where it ends in an error, the elastic agent
ends the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.data.split import Split
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.requests import ControlRequest
from fmnist_tui.training.confusions import ConfusionLog
from fmnist_tui.training.control import ControlReader
from fmnist_tui.training.desk import Desk
from fmnist_tui.training.job import Stopped
from fmnist_tui.training.result import Predictions


class NoControl(ControlReader):
    """Requests come from rank 0, by `distributed.Team.agree`."""

    def poll(self) -> list[ControlRequest]:
        """None."""
        return []

    def forget(self) -> None:
        """Rank 0 does it."""


class NoConfusions(ConfusionLog):
    """Rank 0 keeps the matrices."""

    def keep_until(self, epoch: int, unwritten: Iterable[str] = ()) -> None:
        """Nothing."""

    def add(self, epoch: int, step: int, matrix: NDArray[np.int64]) -> None:
        """Nothing."""


class NoPredictions(Predictions):
    """Rank 0 keeps the predictions."""

    def save(self, run: RunDirectory, durable: bool = False) -> None:
        """Nothing."""

    def cut_back(self, run: RunDirectory, evaluated_epoch: int) -> None:
        """Nothing."""


class Bystander(Desk):
    """A Desk that writes nothing."""

    def _set_result_aside(self) -> None:
        pass

    def _keep_as_last(self, which: str) -> None:
        pass

    def begin(self) -> bool:
        """As a Desk does; requests come from rank 0."""
        self.requests.control = NoControl(self.run)
        self.evaluations.confusions, self.evaluations.predictions = NoConfusions(self.run), NoPredictions()
        return super().begin()

    def collect_losses(self, wait: bool = False) -> None:
        """Let go of the losses: rank 0 writes them, and raises where one is not finite."""
        self.logbook.losses.collect(wait)

    def save_checkpoint(self, is_best: bool = False) -> None:
        """Rank 0 does it, from the same weights."""
        self.requests.checkpoint_asked = False
        self.saver.saved_at = time.monotonic()

    def stop_if_asked(self) -> None:
        """Leave the loop where a stop was asked for, at the same step as rank 0."""
        if self.requests.stop_due:
            raise Stopped(f"stopped by {self.requests.stopped_by}")

    def finish(self, split: Split) -> None:
        """Rank 0 writes the result."""
