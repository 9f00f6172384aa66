"""What a set of predictions amounts to: accuracy, cross-entropy, accuracy by class, calibration; and an ensemble's.

Called by `evaluate`. NumPy only; the predictions come from predictions.npz or from an evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.analysis.calibration import Calibration, Mended, calibration, cross_entropy, mended_by_temperature
from fmnist_tui.analysis.confusion import accuracy, class_scores, confusion_matrix
from fmnist_tui.config import CLASSES


@dataclass(frozen=True)
class Scores:
    """The figures of one network, or of an ensemble, on its test images."""

    images: int
    accuracy: float
    """Prec@1, %."""
    loss: float
    """Mean cross-entropy."""
    by_class: dict[str, float | None]
    """Share of each class's images that is right, %; None for a class without images."""
    calibration: Calibration
    mended: Mended


def scores(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    loss: float | None = None,
) -> Scores:
    """Scores of (N, 10) probabilities and (N,) predicted classes. `loss` is the evaluation's own where it is known;
    else it is computed from the probabilities, which were rounded to float16.
    """
    matrix = confusion_matrix(labels, classes)
    return Scores(
        images=len(labels),
        accuracy=accuracy(matrix),
        loss=cross_entropy(probabilities, labels) if loss is None else loss,
        by_class={
            name: None if math.isnan(recall) else recall
            for name, recall in zip(CLASSES, class_scores(matrix).recall.tolist(), strict=True)
        },
        calibration=calibration(probabilities, labels, classes),
        mended=mended_by_temperature(probabilities, labels),
    )


def average(members: Sequence[NDArray[np.floating]]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """An ensemble's probabilities, the mean of its members' (N, 10), and its classes (N,)."""
    assert members and all(member.shape == members[0].shape for member in members)
    mean: NDArray[np.float64] = np.mean([member.astype(np.float64) for member in members], axis=0)
    return mean, mean.argmax(axis=1).astype(np.uint8)
