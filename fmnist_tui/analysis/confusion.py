"""Which class is taken for which: confusion matrices, scores by class, the worst pairs in words, and their history.

A matrix is (10, 10) int64: row the true class, column the predicted one, the entries numbers of test images. The
trainer counts one at each evaluation and keeps it in confusions.jsonl; the app, the command line and the report
read them here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_tui.config import CLASSES
from fmnist_tui.runs.confusions import ConfusionRecord, parse_confusion
from fmnist_tui.runs.files import Tail
from fmnist_tui.runs.layout import RunDirectory

SHORT_CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")
"""The class names in at most 8 characters, for tables."""
NUMBER = len(CLASSES)

Matrix = NDArray[np.int64]
Scores = NDArray[np.float64]


def confusion_matrix(labels: ArrayLike, classes: ArrayLike) -> Matrix:
    """(10, 10) int64 from true and predicted classes, both (N,) integers 0-9: rows are true, columns predicted."""
    cells = np.asarray(labels, dtype=np.int64) * NUMBER + np.asarray(classes, dtype=np.int64)
    return np.bincount(cells, minlength=NUMBER * NUMBER).reshape(NUMBER, NUMBER).astype(np.int64)


def accuracy(matrix: Matrix) -> float:
    """Prec@1, %; NaN for a matrix of no images."""
    total = int(matrix.sum())
    return 100.0 * int(np.trace(matrix)) / total if total else float("nan")


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class, %; (10,), or (E, 10) of a stack of matrices. NaN where there is nothing to divide by."""

    precision: Scores
    """Of the images predicted as this class, those that are of it; NaN for a class that was never predicted."""
    recall: Scores
    """Of the images of this class, those predicted as it; NaN for a class without images."""
    f1: Scores
    """Harmonic mean of both: 2 right / (2 right + wrongly predicted as it + missed)."""
    images: NDArray[np.int64]
    """Images of this class."""


def class_scores(matrix: Matrix) -> ClassScores:
    """The scores of a matrix (10, 10), or of each of a stack (E, 10, 10)."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    return ClassScores(_share(right, predicted), _share(right, true), _share(2 * right, true + predicted), true)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Scores:
    """Percentages; NaN where the whole is nothing."""
    shares = np.full(whole.shape, np.nan)
    np.divide(100.0 * part, whole, out=shares, where=whole > 0)
    return shares


@dataclass(frozen=True)
class Pair:
    """A class and another it was taken for."""

    true: int
    predicted: int
    count: int
    """Images of the true class that were predicted as the other."""
    share: float
    """Of all images of the true class, %."""

    @property
    def words(self) -> str:
        """'Shirt taken for T-shirt/top: 14 %'; under ten percent with one digit after the point.

        A half goes up, as people round it: 12.5 stands beside this in the matrix.
        """
        share = f"{math.floor(self.share + 0.5)}" if self.share >= 9.95 else f"{self.share:.1f}"
        return f"{CLASSES[self.true]} taken for {CLASSES[self.predicted]}: {share} %"


def worst_pairs(matrix: Matrix, top: int | None = None) -> list[Pair]:
    """Pairs of classes that were confused, the largest share of the true class first; of equal ones by count, class."""
    shares = _share(matrix, np.broadcast_to(matrix.sum(axis=1, keepdims=True), matrix.shape))
    pairs = [
        Pair(true, predicted, int(matrix[true, predicted]), float(shares[true, predicted]))
        for true in range(NUMBER)
        for predicted in range(NUMBER)
        if true != predicted and matrix[true, predicted] > 0
    ]
    pairs.sort(key=lambda pair: (-pair.share, -pair.count, pair.true, pair.predicted))
    return pairs[:top]


@dataclass(frozen=True)
class History:
    """The matrices of a run's evaluations, oldest first."""

    epochs: NDArray[np.int64]
    """(E,): the epoch each evaluation ended, counted from 1."""
    steps: NDArray[np.int64]
    """(E,): steps done by then."""
    matrices: NDArray[np.int64]
    """(E, 10, 10)."""

    def __len__(self) -> int:
        """The number of evaluations."""
        return len(self.epochs)


def as_history(records: Iterable[ConfusionRecord]) -> History:
    """Records in the order they were written; one whose step is not after those before it takes their place.

    The trainer cuts the file back when it resumes, so that happens only where it could not.
    """
    kept: list[ConfusionRecord] = []
    for record in records:
        while kept and kept[-1].step >= record.step:
            kept.pop()
        kept.append(record)
    return History(
        np.asarray([record.epoch for record in kept], dtype=np.int64),
        np.asarray([record.step for record in kept], dtype=np.int64),
        np.asarray([record.counts for record in kept], dtype=np.int64).reshape(-1, NUMBER, NUMBER),
    )


def read_history(directory: RunDirectory) -> History:
    """Every whole matrix of a run's confusions.jsonl; none where there is no such file (runs of before it)."""
    lines: list[bytes] = []
    tail = Tail(directory.confusions)
    while some := tail.read():
        lines += some
    return as_history(record for line in lines if (record := parse_confusion(line)) is not None)
