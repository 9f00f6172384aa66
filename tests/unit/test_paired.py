"""McNemar's test, Holm's adjustment and the bootstrap against values worked out by hand or by whole numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_tui.analysis.paired import (
    EXACT_UP_TO,
    bootstrap_interval,
    compare_right,
    holm,
    mcnemar,
)


def by_whole_numbers(b: int, c: int) -> Fraction:
    """The two-sided exact p-value as a fraction."""
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
    return min(Fraction(1), Fraction(2 * tail, 2 ** (b + c)))


@pytest.mark.parametrize(
    ("b", "c", "p", "mid_p"),
    [
        (10, 2, 158 / 4096, 92 / 4096),  # 2 (1 + 12 + 66); less the 66 of the split itself
        (2, 10, 158 / 4096, 92 / 4096),
        (5, 0, 2 / 32, 1 / 32),
        (1, 1, 1.0, 1.0),
        (0, 0, 1.0, 1.0),
        (3, 3, 1.0, 1.0),  # 2 * 42 / 64 is above 1; mid-p: (84 - 20) / 64 = 1
    ],
)
def test_mcnemar_exact(b: int, c: int, p: float, mid_p: float) -> None:
    found = mcnemar(b, c)
    assert (found.p, found.mid_p, found.method) == (pytest.approx(p, abs=1e-15), pytest.approx(mid_p), "exact")


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_exact_is_the_binomial_and_mid_p_is_smaller(b: int, c: int) -> None:
    found = mcnemar(b, c)
    assert found.p == pytest.approx(float(by_whole_numbers(b, c)), rel=1e-12)
    assert found.mid_p is not None and 0 < found.mid_p <= found.p


def test_mcnemar_of_many_images_uses_chi_square_and_agrees_with_the_binomial() -> None:
    b, c = 560, 490
    found = mcnemar(b, c)
    assert b + c > EXACT_UP_TO and found.mid_p is None and "continuity" in found.method
    assert found.p == pytest.approx(math.erfc(math.sqrt(69**2 / 1050 / 2)))
    assert found.p == pytest.approx(float(by_whole_numbers(b, c)), rel=0.01)
    # 5 % of a chi-square with one degree of freedom lie above 3.841459: (|b - c| - 1)^2 = 3.841459 * 1681 = 80.36^2
    assert mcnemar(881, 800).p == pytest.approx(0.05, abs=0.002)
    assert mcnemar(600, 600).p == 1.0


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_the_bootstrap_interval_has_the_width_theory_gives_and_is_always_the_same() -> None:
    # Variance of the mean of differences in {-1, 0, 1}: (b + c - (b - c)^2 / N) / N^2.
    b, c, n = 1200, 1000, 40_000
    sd = 100 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    low, high = bootstrap_interval(b, c, n)
    assert low == pytest.approx(0.5 - 1.96 * sd, abs=0.01) and high == pytest.approx(0.5 + 1.96 * sd, abs=0.01)
    assert (low, high) == bootstrap_interval(b, c, n) != bootstrap_interval(b, c, n, seed=1)
    assert bootstrap_interval(0, 0, 10) == (0.0, 0.0)


def test_the_multinomial_draw_is_a_resample_of_the_images() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.random(500) < 0.8, rng.random(500) < 0.75
    difference = first.astype(int) - second.astype(int)
    drawn = [100 * float(difference[rng.integers(0, 500, 500)].mean()) for _ in range(4000)]
    b, c = int((difference > 0).sum()), int((difference < 0).sum())
    assert bootstrap_interval(b, c, 500) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.3)


def test_noise_and_beyond() -> None:
    labels = np.arange(1000)
    better, worse = labels < 950, labels < 920
    found = compare_right(better, worse)
    assert found.accuracies == (95.0, 92.0) and found.difference == pytest.approx(3.0)
    assert (found.test.only_first, found.test.only_second, found.images) == (30, 0, 1000)
    assert not found.within_noise and found.interval[0] > 0
    back = compare_right(worse, better)
    assert back.difference == pytest.approx(-3.0) and back.test.p == found.test.p
    equal = compare_right(labels % 20 != 0, labels % 20 != 1)
    assert equal.difference == 0.0 and equal.within_noise
    assert compare_right(better, better).test.p == 1.0
