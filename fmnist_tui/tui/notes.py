"""What a note on a run is, and what the functions that write notes know of the run besides its series.

Called by the Run screen; the notes themselves are written in `narration`, `evaluation_notes` and `outcome`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fmnist_tui.analysis.epochs import epoch_steps
from fmnist_tui.config import IMAGE_SIZE
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.store import Run
from fmnist_tui.training.schedule import low_resolution_epochs

Level = Literal["error", "warning", "good", "info", "comment"]
NEWS_EPOCHS = 10
"""A new best, a learning rate step and a passed reference are news for this many epochs or 5 % of the run."""


@dataclass(frozen=True)
class Note:
    """A sentence about a run: how much it matters and the epoch it became true."""

    level: Level
    epoch: int
    text: str


_WRITTEN_SMALL = re.compile(r"\S*\w[._]\w")
"""How a word begins that a capital would make another: 'config.json', 'training.batch_size', 'best_epoch'."""


def sentence(text: str) -> str:
    """A message as a sentence; the name of a file or field at its beginning stays as it is written."""
    begin = text[:1] if _WRITTEN_SMALL.match(text) else text[:1].upper()
    return f"{begin}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


class Ghost(NamedTuple):
    """The best earlier run of the same preset: its evaluations and what to call it."""

    name: str
    evaluations: Sequence[EvalRecord]


@dataclass(frozen=True)
class Surroundings:
    """What the narration needs besides the run's own series."""

    per_epoch: int
    epochs: int
    reference: float | None = None
    """Accuracy of the reference, %."""
    milestones: tuple[int, ...] = ()
    low_resolution: int = IMAGE_SIZE
    """Side in pixels of the training images in the first `low_resolution_epochs`."""
    low_resolution_epochs: int = 0
    """How many epochs, from the first, train at the low resolution."""
    ghost: Ghost | None = None
    ended: bool = False
    worker_since: float | None = None
    """When the worker's process began (seconds since the epoch): what was warned of before is of an earlier start."""
    failed_on_loss: bool = False
    """Whether the run's own error says already that a loss was not finite."""

    @property
    def news_epochs(self) -> float:
        """For how many epochs a thing is news."""
        return max(NEWS_EPOCHS, 0.05 * self.epochs)


def surroundings(run: Run, ghost: Ghost | None) -> Surroundings:
    """The surroundings of a run as it stands."""
    status, config = run.status, run.config
    schedule = config.schedule if config else None
    epochs = status.epochs if status else 1
    return Surroundings(
        per_epoch=epoch_steps(status, config),
        epochs=epochs,
        reference=config.measured_against.accuracy if config and config.measured_against else None,
        milestones=schedule.milestones if schedule and schedule.kind == "step" else (),
        low_resolution=config.augment.low_resolution if config else IMAGE_SIZE,
        low_resolution_epochs=low_resolution_epochs(config, epochs) if config else 0,
        ghost=ghost,
        ended=not run.state.alive,
        worker_since=status.pid_started if status else None,
        failed_on_loss=bool(status and status.error and re.search(r"\b(nan|inf|finite)\b", status.error, re.I)),
    )
