"""What stands out in a run's evaluations: test loss and accuracy, beside the reference and an earlier run.

Called by `narration`. Each function looks for one thing and says nothing (None) where it is not there; the thresholds
are the constants below, each with its reason.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from fmnist_tui.analysis.series import Floats
from fmnist_tui.config import IMAGE_SIZE
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.tui.format import percent
from fmnist_tui.tui.notes import Note, Surroundings

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
PLATEAU_GAIN = 0.05
"""Points of accuracy; a smaller gain does not end a plateau."""
PLATEAU_EVALUATIONS = 15
"""Evaluations without such a gain before it is said, at the least; 10 % of the run if that is more."""
GHOST_POINTS = 0.15
"""Points of mean accuracy over WINDOW by which a run is ahead of or behind its ghost; less is a tie ..."""
GHOST_NOISE = 3.0
"""... and so is less than this many standard errors of the difference."""


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
