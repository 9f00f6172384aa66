"""Confident mistakes, flips, and images that every run gets wrong, each against plain searching."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_tui.analysis import mistakes
from fmnist_tui.analysis.predictions import Predictions
from fmnist_tui.config import DataConfig


def predictions(seed: int, images: int = 60, labels: np.ndarray | None = None) -> Predictions:
    """Random ones: about a third wrong, probabilities in float16 steps so that some are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 10, images).astype(np.uint8) if labels is None else labels
    raw = rng.dirichlet(np.full(10, 0.3), len(truth))
    flip = rng.random(len(truth)) < 0.7
    best = raw.argmax(1)
    raw[flip, best[flip]], raw[flip, truth[flip]] = raw[flip, truth[flip]], raw[flip, best[flip]]
    probabilities = (np.round(raw * 20) / 20).astype(np.float32)
    return Predictions(
        f"run-{seed}", "last", 3, raw.argmax(1).astype(np.uint8), probabilities, truth,
        DataConfig(source="sample", split="standard"),
    )  # fmt: skip


SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS)
def test_all_mistakes_the_most_confident_first(seed: int) -> None:
    found = predictions(seed)
    indices = mistakes.confident_mistakes(found).tolist()
    by_hand = [i for i in range(60) if found.classes[i] != found.labels[i]]
    by_hand.sort(key=lambda i: (-found.probabilities[i][found.classes[i]], i))
    assert indices == by_hand


@given(SEEDS)
def test_the_cells_hold_every_image_once_mistakes_by_falling_and_right_ones_by_rising_confidence(seed: int) -> None:
    found = predictions(seed)
    seen: list[int] = []
    for true in range(10):
        for predicted in range(10):
            cell = mistakes.images_in_cell(found, true, predicted).tolist()
            assert all(found.labels[i] == true and found.classes[i] == predicted for i in cell)
            sure = [float(found.probabilities[i][predicted]) for i in cell]
            assert sure == sorted(sure, reverse=true != predicted)
            seen += cell
    assert sorted(seen) == list(range(60))


@given(SEEDS)
def test_the_first_guess_is_the_prediction_and_the_others_follow_by_probability(seed: int) -> None:
    found = predictions(seed)
    for index in range(5):
        guesses = mistakes.top_guesses(found, index, 10)
        assert guesses[0] == (
            int(found.classes[index]),
            pytest.approx(found.probabilities[index][found.classes[index]]),
        )
        assert sorted(guess.class_number for guess in guesses) == list(range(10))
        rest = [guess.probability for guess in guesses[1:]]
        assert rest == sorted(rest, reverse=True)
        assert mistakes.top_guesses(found, index) == guesses[:3]


@given(SEEDS)
def test_flips(seed: int) -> None:
    before = predictions(seed)
    after = predictions(seed + 1, labels=before.labels)
    found = mistakes.flips(before.classes, after.classes, before.labels)
    kinds: dict[str, list[int]] = {"learned": [], "forgotten": [], "changed": []}
    for index, (was, now, true) in enumerate(zip(before.classes, after.classes, before.labels, strict=True)):
        if was != true and now == true:
            kinds["learned"].append(index)
        elif was == true and now != true:
            kinds["forgotten"].append(index)
        elif was != now:
            kinds["changed"].append(index)
    assert {kind: getattr(found, kind).tolist() for kind in kinds} == kinds


def test_flips_between_different_test_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="evaluations of 60 and 59 images, 60 labels"):
        mistakes.flips(predictions(1).classes, predictions(1).classes[1:], predictions(1).labels)


@given(st.lists(SEEDS, min_size=1, max_size=5, unique=True))
def test_images_that_every_run_gets_wrong(seeds: list[int]) -> None:
    labels = predictions(0).labels
    runs = [predictions(seed, labels=labels) for seed in seeds]
    found = mistakes.always_wrong(iter(runs))
    assert found.runs == tuple(f"run-{seed}" for seed in seeds)
    assert sorted(found.indices.tolist()) == [i for i in range(60) if all(r.classes[i] != labels[i] for r in runs)]
    for index, said, agreeing, probability in zip(
        found.indices, found.said, found.agreeing, found.probability, strict=True
    ):
        votes = [int(run.classes[index]) for run in runs]
        sums = [sum(float(run.probabilities[index][k]) for run in runs) for k in range(10)]
        most = max(votes.count(k) for k in range(10))
        assert (votes.count(said), agreeing) == (most, most)
        assert sums[said] == pytest.approx(max(sums[k] for k in range(10) if votes.count(k) == most), abs=1e-4)
        assert probability == pytest.approx(sums[said] / len(runs), abs=1e-5)
    order = list(zip((-found.agreeing).tolist(), (-found.probability).tolist(), strict=True))
    assert order == sorted(order)


def test_runs_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="run-2: was tested on other images than run-1"):
        mistakes.always_wrong([predictions(1), predictions(2)])


def test_of_no_runs_no_images() -> None:
    nothing = mistakes.always_wrong([])
    assert (nothing.runs, len(nothing.indices), len(nothing.said)) == ((), 0, 0)
