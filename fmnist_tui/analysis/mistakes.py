"""Which images a run gets wrong: the most confident mistakes, those that flipped, those that every run gets wrong.

Everything here gives indices into the test set, in the order they should be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.analysis.predictions import Predictions
from fmnist_tui.config import CLASSES

Indices = NDArray[np.int64]
_NONE: Indices = np.zeros(0, dtype=np.int64)


class Guess(NamedTuple):
    """A class and the probability it was given."""

    class_number: int
    probability: float
    """0 to 1."""


def confidence(predictions: Predictions) -> NDArray[np.float32]:
    """(N,) float32, 0 to 1: the probability of each image's predicted class."""
    rows = np.arange(len(predictions))
    return np.asarray(predictions.probabilities[rows, predictions.classes], dtype=np.float32)


def images_in_cell(predictions: Predictions, true: int, predicted: int) -> Indices:
    """The images of a cell of the confusion matrix, those worth a look first.

    Off the diagonal these are mistakes, the most confident first. On it they are right, and the least confident
    come first. Equals stand in the order of the test set.
    """
    chosen = np.flatnonzero((predictions.labels == true) & (predictions.classes == predicted))
    sure = confidence(predictions)[chosen]
    return chosen[np.argsort(sure if true == predicted else -sure, kind="stable")]


def confident_mistakes(predictions: Predictions) -> Indices:
    """Every image that was predicted wrongly, the most confident mistake first."""
    chosen = np.flatnonzero(~predictions.right)
    return chosen[np.argsort(-confidence(predictions)[chosen], kind="stable")]


def top_guesses(predictions: Predictions, index: int, number: int = 3) -> list[Guess]:
    """The predicted class, then the others by probability (float16 rounds ties; the predicted one still leads)."""
    probabilities = predictions.probabilities[index]
    first = int(predictions.classes[index])
    others = [int(k) for k in np.argsort(-probabilities, kind="stable") if k != first]
    return [Guess(k, float(probabilities[k])) for k in [first, *others][:number]]


@dataclass(frozen=True)
class Flips:
    """What changed between two evaluations of the same images. Ordered as the test set."""

    learned: Indices
    """Wrong before, right after."""
    forgotten: Indices
    """Right before, wrong after."""
    changed: Indices
    """Wrong before and after, in another way."""


def flips(before: NDArray[np.uint8], after: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Flips:
    """What changed from one evaluation's classes to another's; all (N,) uint8. Raises ValueError for other lengths."""
    if not before.shape == after.shape == labels.shape:
        raise ValueError(
            f"evaluations of {len(before):,} and {len(after):,} images, {len(labels):,} labels: cannot be compared"
        )
    was_right, is_right = before == labels, after == labels
    return Flips(
        np.flatnonzero(~was_right & is_right),
        np.flatnonzero(was_right & ~is_right),
        np.flatnonzero(~was_right & ~is_right & (before != after)),
    )


@dataclass(frozen=True)
class AlwaysWrong:
    """The images that every one of several runs gets wrong. The true label of some of them is likely an error."""

    runs: tuple[str, ...]
    """The ids of the runs that were asked."""
    indices: Indices
    """(M,): those first that most runs take for one and the same class, then those they are surest of."""
    said: NDArray[np.uint8]
    """(M,) uint8: the class that most runs predicted; of equals the one they are surest of."""
    agreeing: NDArray[np.int64]
    """(M,): how many runs predicted `said`."""
    probability: NDArray[np.float32]
    """(M,) float32, 0 to 1: the runs' mean probability of `said`."""


def always_wrong(runs: Iterable[Predictions]) -> AlwaysWrong:
    """The images wrong in every run; takes one run's predictions at a time. Of no runs, none.

    Raises ValueError for runs of other images than the first one's.
    """
    ids: list[str] = []
    labels: NDArray[np.uint8] | None = None
    for predictions in runs:
        if labels is None:
            labels = predictions.labels
            wrong = np.ones(len(labels), dtype=bool)
            votes = np.zeros((len(labels), len(CLASSES)), dtype=np.int64)
            sums = np.zeros((len(labels), len(CLASSES)), dtype=np.float32)
        elif not np.array_equal(labels, predictions.labels):
            raise ValueError(
                f"{predictions.run_id}: was tested on other images than {ids[0]}; compare runs of one split"
            )
        ids.append(predictions.run_id)
        wrong &= ~predictions.right
        votes[np.arange(len(labels)), predictions.classes] += 1
        sums += predictions.probabilities
    if labels is None:
        return AlwaysWrong((), _NONE, _NONE.astype(np.uint8), _NONE, _NONE.astype(np.float32))
    chosen = np.flatnonzero(wrong)
    rank = votes[chosen] * len(ids) * 2.0 + sums[chosen]  # sums are at most the number of runs: they only part equals
    said = rank.argmax(axis=1).astype(np.uint8)
    rows = np.arange(len(chosen))
    agreeing, probability = votes[chosen][rows, said], sums[chosen][rows, said] / len(ids)
    order = np.lexsort((chosen, -probability, -agreeing))
    return AlwaysWrong(tuple(ids), chosen[order], said[order], agreeing[order], probability[order])
