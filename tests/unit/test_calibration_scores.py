"""ECE, reliability and temperature on probabilities whose answers can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fmnist_tui.analysis.calibration import (
    at_temperature,
    calibration,
    cross_entropy,
    fit_temperature,
    mended_by_temperature,
)


def sure(confidence: float, images: int) -> np.ndarray:
    """(images, 10): class 0 with this probability, the rest shared by the others."""
    return np.tile([confidence] + [(1 - confidence) / 9] * 9, (images, 1))


def labels(right: int, wrong: int) -> np.ndarray:
    return np.array([0] * right + [1] * wrong, dtype=np.uint8)


def test_one_bin_by_hand() -> None:
    found = calibration(sure(0.9, 100), labels(70, 30))
    assert found.ece == pytest.approx(20.0)
    assert (found.confidence, found.accuracy) == (pytest.approx(90.0), 70.0)
    (row,) = found.rows
    assert (row.low, row.high, row.images) == (pytest.approx(13 / 15), pytest.approx(14 / 15), 100)
    assert (row.confidence, row.accuracy) == (pytest.approx(90.0), pytest.approx(70.0))
    assert found.in_words == "surer than it is right by 20.0 points"


def test_bins_are_weighed_by_their_images_and_errors_of_both_signs_add() -> None:
    probabilities = np.concatenate([sure(0.9, 300), sure(0.5, 100)])
    truth = np.concatenate([labels(300, 0), labels(25, 75)])
    found = calibration(probabilities, truth)
    assert found.ece == pytest.approx((300 * 10 + 100 * 25) / 400)
    assert [row.images for row in found.rows] == [100, 300]
    assert abs(found.confidence - found.accuracy) < found.ece, "what is too sure here does not mend what is not there"


def test_a_perfect_and_sure_network_has_none() -> None:
    found = calibration(np.eye(10)[np.arange(50) % 10], (np.arange(50) % 10).astype(np.uint8))
    assert found.ece == 0.0 and found.rows[-1].high == 1.0 and found.in_words == "about as sure as it is right"


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    (row,) = calibration(sure(0.2, 4), labels(4, 0)).rows
    assert (row.low, row.high) == (pytest.approx(2 / 15), pytest.approx(3 / 15))


def test_the_kept_classes_count_where_rounding_made_two_probabilities_equal() -> None:
    probabilities = np.array([[0.5, 0.5] + [0.0] * 8])
    assert calibration(probabilities, np.array([1], np.uint8)).accuracy == 0.0
    assert calibration(probabilities, np.array([1], np.uint8), np.array([1], np.uint8)).accuracy == 100.0


def test_cross_entropy() -> None:
    assert cross_entropy(sure(0.9, 10), labels(10, 0)) == pytest.approx(-math.log(0.9))
    assert cross_entropy(sure(0.9, 2), labels(1, 1)) == pytest.approx(-(math.log(0.9) + math.log(0.1 / 9)) / 2)
    never = np.array([[1.0] + [0.0] * 9])
    assert cross_entropy(never, np.array([1], np.uint8)) == pytest.approx(-math.log(6e-8), rel=1e-3), "finite"


def test_the_temperature_that_makes_confidence_accuracy() -> None:
    # The odds of the first class to each other one: at T they must be those of an accuracy of 70 %.
    exact = math.log(9 * 0.95 / 0.05) / math.log(9 * 0.7 / 0.3)
    probabilities, truth = sure(0.95, 1000), labels(700, 300)
    assert fit_temperature(probabilities, truth) == pytest.approx(exact, rel=1e-3)
    assert at_temperature(probabilities, exact)[0, 0] == pytest.approx(0.7)
    assert at_temperature(probabilities, exact).sum(axis=1) == pytest.approx(np.ones(1000))


def test_the_temperature_is_measured_on_images_it_was_not_fitted_on() -> None:
    probabilities = sure(0.95, 1000)
    truth = labels(1000, 0)
    truth[::2][:150] = 1  # of the images it is fitted on 70 % are right, of the others 90 %
    truth[1::2][:50] = 1
    found = mended_by_temperature(probabilities, truth)
    assert found.ece_before == pytest.approx(5.0)
    assert found.ece_after == pytest.approx(20.0, abs=0.1)
