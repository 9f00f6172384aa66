"""Whether a network is as sure as it is right: reliability by confidence, ECE, and the temperature that would mend it.

Pure functions of probabilities and labels; called by `runs show` and `evaluate`. ECE is that of Naeini et al. (2015)
and Guo et al. (arXiv 1706.04599).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Equally wide bins of the confidence, (0, 1/15], ..., (14/15, 1], as Guo et al."""
LEAST = 6e-8
"""Saved probabilities are float16, whose least number this is: what was rounded to 0 counts as this."""
TEMPERATURES = (0.05, 20.0)


class ReliabilityRow(NamedTuple):
    """The images of one bin of confidence; an empty bin has no row."""

    low: float
    """The confidences are above this."""
    high: float
    """... and at most this."""
    images: int
    confidence: float
    """Mean probability of the predicted class, %."""
    accuracy: float
    """Share that is right, %."""


@dataclass(frozen=True)
class Calibration:
    """How confidence and accuracy agree on a set of images."""

    ece: float
    """Expected calibration error: the mean gap between confidence and accuracy over BINS bins, percentage points."""
    rows: list[ReliabilityRow]
    confidence: float
    """Mean confidence over all images, %."""
    accuracy: float
    """%."""

    @property
    def in_words(self) -> str:
        """'surer than right' or the reverse, where the means differ by a point or more."""
        gap = self.confidence - self.accuracy
        if abs(gap) < 1.0:
            return "about as sure as it is right"
        return f"{'surer' if gap > 0 else 'less sure'} than it is right by {abs(gap):.1f} points"


def calibration(
    probabilities: NDArray[np.floating], labels: NDArray[np.uint8], classes: NDArray[np.uint8] | None = None
) -> Calibration:
    """Reliability of (N, 10) probabilities against (N,) labels; `classes` are the predictions where they are kept
    apart (rounding to float16 can make two probabilities equal)."""
    assert len(probabilities) == len(labels) > 0, (probabilities.shape, labels.shape)
    confidence = probabilities.max(axis=1).astype(np.float64)
    predicted = probabilities.argmax(axis=1) if classes is None else classes
    right = predicted == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    rows, error = [], 0.0
    for at in np.unique(bins).tolist():
        here = bins == at
        sure, correct = float(confidence[here].mean()), float(right[here].mean())
        rows.append(ReliabilityRow(at / BINS, (at + 1) / BINS, int(here.sum()), 100.0 * sure, 100.0 * correct))
        error += float(here.mean()) * abs(sure - correct)
    return Calibration(100.0 * error, rows, 100.0 * float(confidence.mean()), 100.0 * float(right.mean()))


def cross_entropy(probabilities: NDArray[np.floating], labels: NDArray[np.uint8], temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the labels under the probabilities at a temperature."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST)) / temperature
    top = logs.max(axis=1, keepdims=True)
    normaliser = top[:, 0] + np.log(np.exp(logs - top).sum(axis=1))
    return float((normaliser - logs[np.arange(len(labels)), labels]).mean())


def at_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """(N, 10) probabilities as softmax would have given them with all logits divided by `temperature`."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def fit_temperature(probabilities: NDArray[np.floating], labels: NDArray[np.uint8]) -> float:
    """The temperature of least cross-entropy on these images, to three digits, within TEMPERATURES.

    Cross-entropy has one valley along the inverse temperature, so a golden-section search finds it.
    """
    low, high = (math.log(bound) for bound in TEMPERATURES)
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = (cross_entropy(probabilities, labels, math.exp(x)) for x in (left, right))
    while high - low > 5e-4:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = cross_entropy(probabilities, labels, math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = cross_entropy(probabilities, labels, math.exp(right))
    return math.exp((low + high) / 2)


class Mended(NamedTuple):
    """What a temperature does to images it was not fitted on."""

    temperature: float
    ece_before: float
    ece_after: float
    """Of the other half of the images, percentage points."""


def mended_by_temperature(probabilities: NDArray[np.floating], labels: NDArray[np.uint8]) -> Mended:
    """Fit a temperature on every other image and measure ECE on the rest: fitted and measured on the same images it
    would flatter."""
    temperature = fit_temperature(probabilities[::2], labels[::2])
    others, truth = probabilities[1::2], labels[1::2]
    after = calibration(at_temperature(others, temperature), truth).ece
    return Mended(temperature, calibration(others, truth).ece, after)
