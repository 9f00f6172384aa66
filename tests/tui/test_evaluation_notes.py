"""Each sentence on a run's evaluations: when it is said, when it is not, and what it says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.tui import evaluation_notes
from fmnist_tui.tui.notes import Ghost, surroundings
from tests.tui.narrated import AROUND, around, evaluations


def test_why_accuracy_is_low_at_low_resolution_is_told_until_it_is_over() -> None:
    low = around(low_resolution_epochs=3, low_resolution=20)
    note = evaluation_notes.low_resolution(evaluations([50, 60, 65]), low)
    assert note is not None and note.level == "info"
    assert note.text == "Trains at 20 px up to epoch 3; at 28 px test accuracy is low until then."
    assert evaluation_notes.low_resolution(evaluations([50, 60, 65, 93]), low) is None
    assert (
        evaluation_notes.low_resolution([], low) is None
        and evaluation_notes.low_resolution(evaluations([90]), AROUND) is None
    )
    assert evaluation_notes.low_resolution(evaluations([50]), around(low_resolution_epochs=3, ended=True)) is None


def test_the_resolution_is_that_of_the_run(tmp_path: Path) -> None:
    config = with_changes(load_preset("turbo-long"), {"training.epochs": 12})
    run = store.load_run(starting.create_run(tmp_path, config))
    here = surroundings(run, None)
    assert (here.low_resolution, here.low_resolution_epochs) == (20, 6)


# --- test loss


RISING = [0.5, 0.4, 0.3, 0.25, 0.22, 0.2, 0.2, 0.2, 0.2, 0.21, 0.22, 0.23, 0.24, 0.25, 0.26, 0.27, 0.28]


def test_test_loss_rising_while_accuracy_holds() -> None:
    note = evaluation_notes.rising_test_loss(evaluations([90.0] * 17, RISING))
    assert note is not None and note.level == "warning"
    assert note.text == "Test loss has been rising since epoch 8 while accuracy holds."


def test_test_loss_rising_and_accuracy_falling() -> None:
    note = evaluation_notes.rising_test_loss(evaluations([90.0] * 10 + [89, 88, 87, 86, 85, 84, 83], RISING))
    assert note is not None and "accuracy is falling" in note.text


@pytest.mark.parametrize(
    "losses",
    [
        [0.5, 0.4, 0.3, 0.25, 0.22, 0.2, 0.19, 0.18, 0.17, 0.16, 0.15, 0.15],
        [0.2, 0.17, 0.23, 0.2, 0.19, 0.24, 0.21, 0.17, 0.19, 0.2, 0.23, 0.24, 0.21, 0.22],
        [0.5, 0.4, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3],
        [0.2, 0.3],
        [*[0.2] * 6, math.nan, *[0.3] * 8],
    ],
)
def test_a_falling_noisy_short_or_broken_test_loss_is_not_rising(losses: list[float]) -> None:
    assert evaluation_notes.rising_test_loss(evaluations([90.0] * len(losses), losses)) is None


# --- accuracy


def test_passing_the_reference_is_told_with_its_epoch() -> None:
    note = evaluation_notes.passed_reference(evaluations([90, 93.2, 93.3, 93.1, 94]), around(reference=93.2775))
    assert note is not None and note.level == "good"
    assert note.text == "Test accuracy passed the reference (93.28 %) in epoch 3."


def test_a_reference_not_passed_or_not_there_is_not() -> None:
    assert evaluation_notes.passed_reference(evaluations([90, 93.2]), around(reference=93.2775)) is None
    assert evaluation_notes.passed_reference(evaluations([90, 99]), AROUND) is None


def test_a_new_best_is_told_while_it_is_the_newest() -> None:
    note = evaluation_notes.new_best(evaluations([80, 85, 90, 91, 90, 90.5, 91.25]), AROUND)
    assert note is not None and note.text == "New best test accuracy: 91.25 % in epoch 7 (+0.25)."
    assert evaluation_notes.new_best(evaluations([80, 85, 90, 91, 90, 91.25, 91.0]), AROUND) is None
    assert evaluation_notes.new_best(evaluations([80, 85, 90]), AROUND) is None, "in the beginning each one is"
    assert evaluation_notes.new_best(evaluations([80, 85, 90, 91, 90, 90.5, 91.25]), around(ended=True)) is None


def test_a_plateau_says_when_the_rate_drops_next() -> None:
    accuracies = [80, 90, 93] + [92.5] * 24
    note = evaluation_notes.plateau(evaluations(accuracies), around(milestones=(60, 120)))
    assert note is not None
    assert note.text == (
        "No better test accuracy for 24 epochs (best 93.00 % in epoch 3); the learning rate drops in epoch 60."
    )


def test_a_small_gain_does_not_end_a_plateau_and_a_real_one_does() -> None:
    assert evaluation_notes.plateau(evaluations([80, 90, 93] + [93.02] * 24), AROUND) is not None
    assert evaluation_notes.plateau(evaluations([80, 90, 93] + [92.5] * 22 + [93.4, 93.1]), AROUND) is None
    assert evaluation_notes.plateau(evaluations([80, 90, 93] + [92.5] * 10), AROUND) is None
    assert evaluation_notes.plateau(evaluations([80, 90, 93] + [92.5] * 24), around(ended=True)) is None


def test_ahead_of_and_behind_the_ghost_at_the_same_epoch() -> None:
    steady = [90, 90.1, 90.2, 90.1, 90.2, 90.3]
    ghost = Ghost("the best wrn run", evaluations([*steady, 99, 99]))
    ahead = evaluation_notes.against_ghost(evaluations([value + 1 for value in steady]), around(ghost=ghost))
    assert ahead is not None and ahead.text == "1.00 points ahead of the best wrn run at the same epoch."
    behind = evaluation_notes.against_ghost(evaluations([value - 1 for value in steady]), around(ghost=ghost))
    assert behind is not None and behind.text == "1.00 points behind the best wrn run at the same epoch."


def test_a_difference_within_the_noise_is_a_tie() -> None:
    noisy = [90, 92, 89.5, 91.5, 90, 92]
    ghost = Ghost("the best wrn run", evaluations(noisy))
    assert evaluation_notes.against_ghost(evaluations([value + 1 for value in noisy]), around(ghost=ghost)) is None


def test_a_tie_or_a_ghost_that_was_shorter_is_not_compared() -> None:
    ghost = Ghost("the best wrn run", evaluations([90.0] * 8))
    assert evaluation_notes.against_ghost(evaluations([90.1] * 8), around(ghost=ghost)) is None
    assert evaluation_notes.against_ghost(evaluations([95.0] * 8), around(ghost=ghost)) is not None
    assert evaluation_notes.against_ghost(evaluations([95.0] * 9), around(ghost=ghost)) is None
    assert evaluation_notes.against_ghost(evaluations([95.0] * 8), AROUND) is None
