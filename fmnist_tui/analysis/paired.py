"""Two networks on the same test images: is one better, or is it noise? McNemar's test and a paired bootstrap.

Pure functions of who was right on which image; called by `compare`. Both look only at the images on which the two
differ, which is what makes them sharper than comparing two accuracies with their own errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 1000
"""Images of different outcome up to which the binomial is summed; beyond, chi-square with continuity correction
(they then differ in the third digit)."""
RESAMPLES = 10_000
SEED = 20_261_123
"""Of the bootstrap: the same comparison always prints the same interval."""
LEVEL = 0.05
"""From this p on a difference is called within noise."""


@dataclass(frozen=True)
class McNemar:
    """McNemar's test on the images that exactly one of two networks classifies correctly."""

    only_first: int
    """Images only the first has right."""
    only_second: int
    p: float
    """Two-sided: how often chance alone would split the images this unevenly, were the networks equally good."""
    mid_p: float | None
    """The exact test's mid-p, less conservative with few images (Fagerland et al. 2013); None where not exact."""
    method: str
    """'exact', or 'chi-square with continuity correction'."""


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """McNemar's test (McNemar 1947) from the two counts of images that exactly one has right."""
    assert only_first >= 0 and only_second >= 0, (only_first, only_second)
    n, least = only_first + only_second, min(only_first, only_second)
    if n > EXACT_UP_TO:
        statistic = max(0, abs(only_first - only_second) - 1) ** 2 / n
        p = math.erfc(math.sqrt(statistic / 2))
        return McNemar(only_first, only_second, p, None, "chi-square with continuity correction")
    at = math.comb(n, least)
    tail = sum(math.comb(n, k) for k in range(least + 1))
    p = min(1.0, 2 * tail / 2**n)  # whole numbers until the last division: exact for every n
    mid_p = min(1.0, (2 * tail - at) / 2**n)
    return McNemar(only_first, only_second, p, mid_p, "exact")


def bootstrap_interval(
    only_first: int, only_second: int, images: int, confidence: float = 0.95, seed: int = SEED
) -> tuple[float, float]:
    """Percentile interval of the accuracy difference (first less second), in percentage points.

    Resampling images with replacement draws from three kinds only (the first alone right, the second alone, no
    difference), so one multinomial draw of their counts is a whole resample.
    """
    assert 0 < only_first + only_second + 1 <= images + 1 and 0 < confidence < 1
    shares = np.array([only_first, only_second, images - only_first - only_second]) / images
    counts = np.random.default_rng(seed).multinomial(images, shares, size=RESAMPLES)
    differences = 100.0 * (counts[:, 0] - counts[:, 1]) / images
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979), in the order given: with more pairs, chance has more tries."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = least
    return adjusted


@dataclass(frozen=True)
class PairedComparison:
    """The accuracies of two networks on the same images."""

    images: int
    accuracies: tuple[float, float]
    """Prec@1, %."""
    difference: float
    """First less second, percentage points."""
    interval: tuple[float, float]
    """95 % bootstrap interval of the difference."""
    test: McNemar
    adjusted_p: float
    """p after Holm's adjustment for all pairs compared at once; the same as `test.p` for one pair."""

    @property
    def within_noise(self) -> bool:
        """Whether a difference of this size is no evidence that one network is better on images like these."""
        return self.adjusted_p >= LEVEL


def compare_right(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedComparison:
    """Compare two networks by which of the same (N,) images each has right."""
    assert first.shape == second.shape and first.ndim == 1 and first.size, (first.shape, second.shape)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    test = mcnemar(only_first, only_second)
    accuracies = (100.0 * float(first.mean()), 100.0 * float(second.mean()))
    return PairedComparison(
        images=first.size,
        accuracies=accuracies,
        difference=100.0 * (only_first - only_second) / first.size,
        interval=bootstrap_interval(only_first, only_second, first.size),
        test=test,
        adjusted_p=test.p,
    )
