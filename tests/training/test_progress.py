"""A run's pace: which epochs are evaluated, and how long it still takes."""

from __future__ import annotations

import pytest

from fmnist_tui.training.logbook import in_words
from fmnist_tui.training.progress import Pace, Progress, evaluated_epochs
from tests.training.tiny import full_size_config


@pytest.mark.parametrize(
    ("first", "last", "every", "expected"),
    [(1, 5, 1, [1, 2, 3, 4, 5]), (1, 5, 2, [2, 4, 5]), (3, 6, 3, [3, 6]), (5, 5, 10, [5]), (4, 3, 1, [])],
)
def test_evaluated_epochs(first: int, last: int, every: int, expected: list[int]) -> None:
    assert list(evaluated_epochs(first, last, every)) == expected


def test_the_estimate_leaves_out_the_first_line_and_counts_evaluations() -> None:
    pace = Pace(full_size_config(training={"epochs": 10}), test_images=300)
    progress = Progress(epochs=10, steps_per_epoch=5, epoch=3, batch=0, step=10)
    pace.line(1.0)  # warm-up
    assert pace.left(progress, 100) is None
    pace.line(100.0)
    assert pace.left(progress, 100) == pytest.approx(8 * 1.0 + 8 * 1.0)  # 8 epochs; 300 images at 3 x 100 a second
    pace.evaluation(0.5)
    assert pace.left(progress, 100) == pytest.approx(8 * 1.0 + 8 * 0.5)
    progress.batch = 5
    assert pace.left(progress, 100) == pytest.approx(7 * 1.0 + 8 * 0.5)


def test_an_estimate_that_no_status_may_hold_is_none() -> None:
    pace = Pace(full_size_config(training={"epochs": 10}), test_images=300)
    for _ in range(2):
        pace.line(1e-9)
    assert pace.left(Progress(10, 1), 600) is None


def test_the_estimate_knows_the_step_limit() -> None:
    pace = Pace(full_size_config(training={"epochs": 10, "max_steps": 7}), test_images=300)
    pace.line(1.0)
    pace.line(100.0)
    pace.evaluation(0.5)
    left = pace.left(Progress(epochs=10, steps_per_epoch=5, epoch=1, batch=2, step=2), 100)
    assert left == pytest.approx(1.0 + 2 * 0.5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(20, "about 20 seconds"), (600, "about 10 minutes"), (7200, "about 2 hours"), (432000, "about 5 days")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
