"""What stands out in a run, in plain sentences: pure functions from its series to notes.

Called by the Run screen for its narration lines. Each function looks for one thing and says nothing (None) where
it is not there; the thresholds are the constants below, each with its reason.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np

from fmnist_tui.analysis.series import Floats
from fmnist_tui.config import IMAGE_SIZE
from fmnist_tui.runs.metrics import EvalRecord, EventRecord
from fmnist_tui.runs.store import Run
from fmnist_tui.training.schedule import low_resolution_epochs
from fmnist_tui.tui.format import percent, speed
from fmnist_tui.tui.run_data import RunData, epoch_of, epoch_steps

Level = Literal["error", "warning", "good", "info"]
_ORDER: tuple[Level, ...] = ("error", "warning", "good", "info")

WINDOW = 5
"""Evaluations averaged before they are compared: one evaluation of a noisy run proves nothing."""
NOISE_EVALUATIONS = 30
"""The newest evaluations from which their noise is told."""
RISING_LOSS = 1.05
"""Test loss has risen when its mean over WINDOW is 5 % above its lowest such mean."""
RISING_NOISE = 6.0
"""... and the rise is this many standard errors of such a mean: the lowest of many noisy means lies some below the
truth. Of 2,200 epochs of 40 synthetic noisy runs at a constant rate 2 were told of wrongly with 6, 12 with 5."""
RISING_EVALUATIONS = 4
"""... and that lowest mean is at least this many evaluations ago."""
ACCURACY_HOLDS = 0.5
"""Accuracy holds while its mean over WINDOW is within this many points (or RISING_NOISE standard errors) of its
best such mean."""
SLOW_SHARE = 0.6
"""Speed has fallen when the median of the newest SLOW_LINES is below this share of what it usually was."""
SLOW_LINES = 8
USUAL_PERCENTILE = 90
"""What a speed usually was; a median would forget the fast stretch once the slow one is longer."""
SLOW_MEMORY = 4096
"""Lines looked back at the most, so that looking costs little however long the run."""
NEWS_EPOCHS = 10
"""A new best, a learning rate step and a passed reference are news for this many epochs or 5 % of the run."""
PLATEAU_GAIN = 0.05
"""Points of accuracy; a smaller gain does not end a plateau."""
PLATEAU_EVALUATIONS = 15
"""Evaluations without such a gain before it is said, at the least; 10 % of the run if that is more."""
MOST_WARNINGS = 3
"""Of the worker's; all of them stand among the events."""
CLOCK_SECONDS = 2.0
"""Between a process's start as the system tells it and the clock its events are written by."""
GHOST_POINTS = 0.15
"""Points of mean accuracy over WINDOW by which a run is ahead of or behind its ghost; less is a tie ..."""
GHOST_NOISE = 3.0
"""... and so is less than this many standard errors of the difference."""


@dataclass(frozen=True)
class Note:
    """A sentence about a run: how much it matters and the epoch it became true."""

    level: Level
    epoch: int
    text: str


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
        reference=config.reference.accuracy if config and config.reference else None,
        milestones=schedule.milestones if schedule and schedule.kind == "step" else (),
        low_resolution=config.augment.low_resolution if config else IMAGE_SIZE,
        low_resolution_epochs=low_resolution_epochs(config, epochs) if config else 0,
        ghost=ghost,
        ended=not run.state.alive,
        worker_since=status.pid_started if status else None,
        failed_on_loss=bool(status and status.error and re.search(r"\b(nan|inf|finite)\b", status.error, re.I)),
    )


def narrate(data: RunData, around: Surroundings) -> list[Note]:
    """Everything worth saying, the most important first, the newer before the older of a kind."""
    found = [
        not_finite(data, around),
        rate_drop(data, around),
        speed_fell(data, around),
        low_resolution(data.evaluations, around),
        rising_test_loss(data.evaluations),
        passed_reference(data.evaluations, around),
        new_best(data.evaluations, around),
        plateau(data.evaluations, around),
        against_ghost(data.evaluations, around),
    ]
    notes = [*worker_warnings(data, around), *(note for note in found if note is not None)]
    return sorted(notes, key=lambda note: (_ORDER.index(note.level), -note.epoch))


def not_finite(data: RunData, around: Surroundings) -> Note | None:
    """A loss that is NaN or infinite: where it was first, and how many more."""
    marks = [*data.loss.marks, *data.test_loss.marks]
    if not marks or around.failed_on_loss:
        return None
    first = min(marks)
    epoch = epoch_of(first.x, around.per_epoch)
    which = "Loss" if first in data.loss.marks else "Test loss"
    more = len(marks) - 1
    text = f"{which} was not finite ({first.kind}) by step {first.x:,.0f}, epoch {epoch}"
    return Note("error", epoch, text + (f", and {more:,} times since." if more else "."))


def worker_warnings(data: RunData, around: Surroundings) -> list[Note]:
    """What this start of the worker warned of, newest first: as long as it is news, a trouble until it is over.

    Of a run that has ended only what was not over at its end.
    """
    epoch = epoch_of(max(data.last_step, 1), around.per_epoch)
    notes: list[Note] = []
    told: set[str] = set()
    edited = False
    for record in _events_of_this_start(data, around):
        edited = edited or (record.event == "edit" and "epochs" in record.data)
        if edited and "eta_seconds" in record.data:
            continue  # how long it takes is another matter since
        trouble = str(record.data.get("trouble", ""))
        if record.event != "warning" or (trouble and trouble in told):
            continue
        told.add(trouble)
        lasts = bool(trouble) and not record.data.get("over")
        if lasts or (not around.ended and epoch - record.epoch <= around.news_epochs):
            level: Level = "info" if record.data.get("over") else "warning"
            notes.append(Note(level, record.epoch, sentence(record.message)))
    return notes[:MOST_WARNINGS]


def _events_of_this_start(data: RunData, around: Surroundings) -> Iterator[EventRecord]:
    """The newest first; none where nothing is known of the worker."""
    if around.worker_since is None:
        return
    for event in reversed(data.events):
        if datetime.fromisoformat(event.record.time).timestamp() < around.worker_since - CLOCK_SECONDS:
            return
        yield event.record


def sentence(text: str) -> str:
    """A message as a sentence."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def rate_drop(data: RunData, around: Surroundings) -> Note | None:
    """The newest step of the learning rate, while it is news."""
    if not data.rate_steps:
        return None
    step, before, after = data.rate_steps[-1]
    epoch = epoch_of(step, around.per_epoch)
    if epoch_of(data.last_step, around.per_epoch) - epoch > around.news_epochs:
        return None
    return Note("info", epoch, f"Learning rate dropped from {before:g} to {after:g} in epoch {epoch}.")


def speed_fell(data: RunData, around: Surroundings) -> Note | None:
    """A lasting fall of the training speed within this start of the worker, and at one size of the images."""
    at_full_size = int(np.searchsorted(data.speed.x, around.low_resolution_epochs * around.per_epoch, side="right"))
    first = max(data.session.lines + 1, len(data.speed) - SLOW_MEMORY)
    if at_full_size < len(data.speed):  # larger images take longer, as they should
        first = max(first, at_full_size)
    speeds, x = data.speed.values[first:], data.speed.x[first:]
    if around.ended or len(speeds) < 4 * SLOW_LINES:
        return None
    now, usual = float(np.median(speeds[-SLOW_LINES:])), float(np.percentile(speeds, USUAL_PERCENTILE))
    if now >= SLOW_SHARE * usual:
        return None
    middle = (now + usual) / 2
    fast = np.flatnonzero(speeds > middle)
    since = epoch_of(float(x[min(int(fast[-1]) + 1, len(x) - 1)]) if fast.size else float(x[0]), around.per_epoch)
    how = "by half" if 0.4 <= now / usual <= SLOW_SHARE else f"to {100 * now / usual:.0f} %"
    return Note("warning", since, f"Speed fell {how}, from {speed(usual)} to {speed(now)} img/s, in epoch {since}.")


def low_resolution(evaluations: Sequence[EvalRecord], around: Surroundings) -> Note | None:
    """Why accuracy is low while training images are smaller than the test images."""
    if around.ended or not evaluations or evaluations[-1].epoch > around.low_resolution_epochs:
        return None
    trains = f"Trains at {around.low_resolution} px up to epoch {around.low_resolution_epochs}"
    return Note("info", evaluations[-1].epoch, f"{trains}; at {IMAGE_SIZE} px test accuracy is low until then.")


def _means(values: Sequence[float]) -> Floats:
    """Mean of each WINDOW neighbours, at the index of the first of them; empty where there are fewer."""
    if len(values) < WINDOW:
        return np.empty(0)
    return np.convolve(values, np.full(WINDOW, 1 / WINDOW), mode="valid")


def _standard_error(values: Sequence[float]) -> float:
    """Of a mean over WINDOW, from the newest values' second differences: a trend is no noise."""
    newest = np.asarray(values[-NOISE_EVALUATIONS:])
    if len(newest) < 4:
        return math.inf
    # The median does not take the few large steps (the first epochs, a drop of the learning rate) for noise.
    deviation = float(np.median(np.abs(np.diff(newest, 2)))) / (0.6745 * math.sqrt(6))
    return deviation / math.sqrt(WINDOW)


def rising_test_loss(evaluations: Sequence[EvalRecord]) -> Note | None:
    """Test loss on its way up from its lowest: with accuracy holding, or falling too."""
    every = [record.test_loss for record in evaluations]
    losses = _means(every)
    if len(losses) < RISING_EVALUATIONS + 1 or not np.isfinite(losses).all():
        return None
    lowest = int(losses.argmin())
    rise = float(losses[-1] - losses[lowest])
    enough = max((RISING_LOSS - 1.0) * float(losses[lowest]), RISING_NOISE * _standard_error(every))
    if len(losses) - 1 - lowest < RISING_EVALUATIONS or rise < enough:
        return None
    every = [record.test_accuracy for record in evaluations]
    accuracies = _means(every)
    since = evaluations[lowest + WINDOW // 2].epoch
    if accuracies[-1] >= accuracies.max() - max(ACCURACY_HOLDS, RISING_NOISE * _standard_error(every)):
        return Note("warning", since, f"Test loss has been rising since epoch {since} while accuracy holds.")
    return Note("warning", since, f"Test loss has been rising since epoch {since}, and accuracy is falling.")


def passed_reference(evaluations: Sequence[EvalRecord], around: Surroundings) -> Note | None:
    """The first evaluation above the reference's accuracy."""
    if around.reference is None:
        return None
    first = next((record for record in evaluations if record.test_accuracy > around.reference), None)
    if first is None:
        return None
    reference = percent(around.reference)
    return Note("good", first.epoch, f"Test accuracy passed the reference ({reference} %) in epoch {first.epoch}.")


def new_best(evaluations: Sequence[EvalRecord], around: Surroundings) -> Note | None:
    """The newest evaluation being the best by itself; not in the first five, where each one is."""
    if len(evaluations) < 6 or around.ended:
        return None
    newest = evaluations[-1]
    before = max(record.test_accuracy for record in evaluations[:-1])
    if newest.test_accuracy <= before:
        return None
    gain = newest.test_accuracy - before
    text = f"New best test accuracy: {percent(newest.test_accuracy)} % in epoch {newest.epoch} (+{gain:.2f})."
    return Note("good", newest.epoch, text)


def plateau(evaluations: Sequence[EvalRecord], around: Surroundings) -> Note | None:
    """No gain in test accuracy for long; says when the learning rate steps down next, which often ends it."""
    wait = max(PLATEAU_EVALUATIONS, round(0.1 * around.epochs))
    if around.ended or len(evaluations) <= wait:
        return None
    best = evaluations[0]
    for record in evaluations[1:]:
        if record.test_accuracy > best.test_accuracy + PLATEAU_GAIN:
            best = record
    newest = evaluations[-1].epoch
    if len([record for record in evaluations if record.epoch > best.epoch]) < wait:
        return None
    following = next((m for m in around.milestones if newest < m <= around.epochs), None)
    hint = f"; the learning rate drops in epoch {following}" if following else ""
    top = f"{percent(best.test_accuracy)} % in epoch {best.epoch}"
    return Note("info", best.epoch, f"No better test accuracy for {newest - best.epoch} epochs (best {top}){hint}.")


def against_ghost(evaluations: Sequence[EvalRecord], around: Surroundings) -> Note | None:
    """Whether the run is ahead of the best earlier one of its preset at the same epoch."""
    ghost = around.ghost
    if ghost is None or len(evaluations) < WINDOW:
        return None
    epoch = evaluations[-1].epoch
    there = [record.test_accuracy for record in ghost.evaluations if record.epoch <= epoch]
    if len(there) < WINDOW or ghost.evaluations[-1].epoch < epoch:
        return None
    here = [record.test_accuracy for record in evaluations]
    ahead = statistics.fmean(here[-WINDOW:]) - statistics.fmean(there[-WINDOW:])
    noise = math.hypot(_standard_error(here), _standard_error(there))
    if abs(ahead) < max(GHOST_POINTS, GHOST_NOISE * noise):
        return None
    side = "ahead of" if ahead > 0 else "behind"
    text = f"{abs(ahead):.2f} points {side} {ghost.name} at the same epoch."
    return Note("info", epoch, text)
