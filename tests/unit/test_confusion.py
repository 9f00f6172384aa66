"""Confusion matrices, scores by class and worst pairs against plain counting; the history file whatever its end."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_tui.analysis.confusion import (
    SHORT_CLASSES,
    Pair,
    accuracy,
    as_history,
    class_scores,
    confusion_matrix,
    read_history,
    worst_pairs,
)
from fmnist_tui.config import CLASSES
from fmnist_tui.runs.confusions import ConfusionRecord
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training.confusions import ConfusionLog

ANSWERS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60)
"""(true, predicted) of each image."""


@given(ANSWERS)
def test_the_matrix_and_the_scores_are_what_counting_by_hand_gives(answers: list[tuple[int, int]]) -> None:
    matrix = confusion_matrix([t for t, _ in answers], [p for _, p in answers])
    scores = class_scores(matrix)
    assert matrix.shape == (10, 10)
    for k in range(10):
        of_class = [p for t, p in answers if t == k]
        predicted = [t for t, p in answers if p == k]
        right = of_class.count(k)
        assert matrix[k].tolist() == [of_class.count(p) for p in range(10)]
        assert scores.images[k] == len(of_class)
        by_hand = [(scores.recall, right, len(of_class)), (scores.precision, right, len(predicted))]
        by_hand.append((scores.f1, 2 * right, len(of_class) + len(predicted)))
        for score, part, whole in by_hand:
            if whole:
                assert score[k] == pytest.approx(float(Fraction(100 * part, whole)))
            else:
                assert math.isnan(score[k])
    if answers:
        assert accuracy(matrix) == pytest.approx(100 * sum(t == p for t, p in answers) / len(answers))


@given(ANSWERS)
def test_pairs_are_the_mistakes_worst_first(answers: list[tuple[int, int]]) -> None:
    matrix = confusion_matrix([t for t, _ in answers], [p for _, p in answers])
    pairs = worst_pairs(matrix)
    assert sum(pair.count for pair in pairs) == sum(t != p for t, p in answers)
    for pair in pairs:
        of_class = [p for t, p in answers if t == pair.true]
        assert (pair.count, pair.share) == (
            of_class.count(pair.predicted),
            pytest.approx(100 * pair.count / len(of_class)),
        )
    assert [pair.share for pair in pairs] == sorted((pair.share for pair in pairs), reverse=True)
    assert worst_pairs(matrix, 2) == pairs[:2]


def test_f1_is_the_harmonic_mean_and_a_stack_is_scored_matrix_by_matrix() -> None:
    stack = np.random.default_rng(3).integers(1, 50, (4, 10, 10))
    together = class_scores(stack)
    assert together.f1.shape == (4, 10)
    for k in range(4):
        alone = class_scores(stack[k])
        assert together.recall[k] == pytest.approx(alone.recall)
        harmonic = 2 / (1 / alone.precision + 1 / alone.recall)
        assert alone.f1 == pytest.approx(harmonic)


def test_a_pair_in_words() -> None:
    assert Pair(6, 0, 560, 14.0).words == "Shirt taken for T-shirt/top: 14 %"
    assert Pair(4, 2, 398, 9.96).words == "Coat taken for Pullover: 10 %"
    assert Pair(4, 2, 396, 9.94).words == "Coat taken for Pullover: 9.9 %"
    assert Pair(6, 0, 25, 12.5).words.endswith(": 13 %"), "a half goes up, also from an even number"
    assert Pair(7, 5, 181, 90.5).words.endswith(": 91 %") and Pair(7, 5, 97, 48.5).words.endswith(": 49 %")
    assert Pair(9, 7, 1, 0.025).words == "Ankle boot taken for Sneaker: 0.0 %"


def test_short_names_are_of_the_same_classes() -> None:
    assert len(SHORT_CLASSES) == len(CLASSES) == len(set(SHORT_CLASSES))
    assert max(map(len, SHORT_CLASSES)) == 8
    for short, name in zip(SHORT_CLASSES, CLASSES, strict=True):
        assert short.lower() in name.lower()


# --- the history


def record(epoch: int, step: int | None = None, seed: int = 0) -> ConfusionRecord:
    counts = np.random.default_rng(epoch + 1000 * seed).integers(0, 4_000, 100)
    return ConfusionRecord(epoch=epoch, step=step or 118 * epoch, counts=counts.tolist())


def write(run: RunDirectory, *records: ConfusionRecord) -> None:
    log = ConfusionLog(run)
    for one in records:
        log.add(one.epoch, one.step, np.asarray(one.counts).reshape(10, 10))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


def test_what_was_written_is_read(run: RunDirectory) -> None:
    write(run, record(1), record(2), record(5))
    history = read_history(run)
    assert history.epochs.tolist() == [1, 2, 5]
    assert history.steps.tolist() == [118, 236, 590]
    assert history.matrices[2].ravel().tolist() == record(5).counts


def test_a_run_without_the_file_has_an_empty_history(run: RunDirectory) -> None:
    history = read_history(run)
    assert (len(history), history.matrices.shape) == (0, (0, 10, 10))


def test_a_torn_end_is_read_over_by_readers_and_cut_off_by_the_next_writer(run: RunDirectory) -> None:
    write(run, record(1), record(2))
    whole = run.confusions.read_bytes()
    run.confusions.write_bytes(whole + whole[:150])
    assert read_history(run).epochs.tolist() == [1, 2]
    write(run, record(3))
    assert read_history(run).epochs.tolist() == [1, 2, 3]
    assert run.confusions.read_bytes().startswith(whole + b'{"epoch":3')


def test_damaged_lines_are_passed_over(run: RunDirectory) -> None:
    write(run, record(1), record(2))
    first, second = run.confusions.read_bytes().splitlines(keepends=True)
    few, negative = first.replace(b"[", b"[7,"), first.replace(b"[", b"[-")
    run.confusions.write_bytes(b"\n\0\0\0\n" + few + b"[]\n" + negative + second)
    assert read_history(run).epochs.tolist() == [2]


def test_cutting_back_drops_the_evaluations_after_the_checkpoint(run: RunDirectory) -> None:
    write(run, record(1), record(2), record(3))
    log = ConfusionLog(run)
    log.keep_until(2)
    assert read_history(run).epochs.tolist() == [1, 2]
    log.add(3, 354, np.zeros((10, 10), dtype=np.int64))
    history = read_history(run)
    assert history.epochs.tolist() == [1, 2, 3]
    assert history.matrices[2].sum() == 0
    log.keep_until(0)
    assert len(read_history(run)) == 0


def test_a_line_that_did_not_fit_is_written_with_the_next(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ConfusionLog(run)
    matrix = np.ones((10, 10), dtype=np.int64)
    log.add(1, 118, matrix)
    with monkeypatch.context() as full:
        full.setattr("os.pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            log.add(2, 236, matrix)
    assert read_history(run).epochs.tolist() == [1]
    log.add(3, 354, matrix)
    assert read_history(run).epochs.tolist() == [1, 2, 3]


@given(st.lists(st.integers(1, 30), max_size=30))
def test_a_history_is_always_in_the_order_of_its_steps(steps: list[int]) -> None:
    """Even where a file could not be cut back: what was written later holds."""
    history = as_history(record(step, step, seed=at) for at, step in enumerate(steps))
    assert history.steps.tolist() == sorted(set(history.steps.tolist()))
    if steps:
        assert history.matrices[-1].ravel().tolist() == record(steps[-1], steps[-1], seed=len(steps) - 1).counts


def test_1800_evaluations_of_40000_images_stay_small(run: RunDirectory) -> None:
    line = ConfusionRecord(epoch=1800, step=212_400, counts=[400] * 100).to_json() + "\n"
    assert len(line) * 1_800 < 1_000_000
