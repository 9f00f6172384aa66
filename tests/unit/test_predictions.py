"""A run's predictions with their labels: aligned to the run's split, and what is said where they can't be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from fmnist_tui.analysis.predictions import PredictionsError, TestSet, Which, load_predictions, load_test_set
from fmnist_tui.config import DataConfig
from fmnist_tui.data import source
from fmnist_tui.data.files import DataError
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.result import Provenance, Result
from fmnist_tui.runs.store import Run
from tests.predictions_maker import save_arrays
from tests.results import result_of

RNG = np.random.default_rng(5)
SAMPLE = load_test_set(DataConfig(source="sample", split="custom"))


def make_run(runs_dir: Path, split: Literal["custom", "standard"] = "custom") -> Run:
    config = load_preset("quick")
    config = config.model_copy(update={"data": DataConfig(source="sample", split=split)})
    return store.load_run(starting.create_run(runs_dir, config))


def arrays(images: int = 5_000) -> dict[str, np.ndarray]:
    """What a trainer writes, of random numbers."""
    found: dict[str, np.ndarray] = {}
    for which, epoch in (("last", 4), ("best", 3)):
        probabilities = RNG.dirichlet(np.ones(10), images).astype(np.float16)
        found[f"{which}_classes"] = probabilities.argmax(1).astype(np.uint8)
        found[f"{which}_probabilities"] = probabilities
        found[f"{which}_epoch"] = np.asarray(epoch)
    return found


def test_the_test_set_is_the_official_test_images_and_then_the_second_half_of_the_training_images() -> None:
    sample = source.load_sample()
    assert SAMPLE.images.shape == (5_000, 28, 28)
    assert (SAMPLE.images[1_999] == sample.test_images[1_999]).all()
    assert (SAMPLE.labels[2_000:] == sample.train_labels[3_000:]).all()
    assert (SAMPLE.origin(1_999), SAMPLE.origin(2_000), SAMPLE.origin(4_999)) == (
        "test 1999", "train 3000", "train 5999",
    )  # fmt: skip


def test_predictions_come_with_the_labels_of_the_runs_split(runs_dir: Path) -> None:
    run = make_run(runs_dir)
    written = arrays()
    save_arrays(run.directory.predictions, written)
    epochs: dict[Which, int] = {"last": 4, "best": 3}
    for which, epoch in epochs.items():
        found = load_predictions(run, which)
        assert (found.run_id, found.which, found.epoch, found.data.split, len(found)) == (
            run.id, which, epoch, "custom", 5_000,
        )  # fmt: skip
        assert (found.labels == SAMPLE.labels).all() and found.labels.dtype == np.uint8
        assert (found.classes == written[f"{which}_classes"]).all()
        assert found.probabilities.dtype == np.float32
        assert (found.probabilities == written[f"{which}_probabilities"]).all()
        expected = 100 * sum(int(a) == int(b) for a, b in zip(found.classes, SAMPLE.labels, strict=True)) / 5_000
        assert found.accuracy == pytest.approx(expected)
        assert found.previous_classes is None


def test_the_evaluation_before_the_last_comes_along_where_it_was_kept(runs_dir: Path) -> None:
    run = make_run(runs_dir)
    before = RNG.integers(0, 10, 5_000).astype(np.uint8)
    previous = {"previous_classes": before, "previous_epoch": np.asarray(2)}
    save_arrays(run.directory.predictions, arrays() | previous)
    found = load_predictions(run, test=SAMPLE)
    assert found.previous_classes is not None
    assert (found.previous_classes == before).all()
    assert found.previous_epoch == 2
    assert load_predictions(run, "best", SAMPLE).previous_classes is None


def test_a_run_without_predictions_says_so_in_words_that_hold_before_its_first_evaluation_and_after_its_end(
    runs_dir: Path,
) -> None:
    with pytest.raises(PredictionsError, match=r"has no predictions: predictions\.npz, which every evaluation writes"):
        load_predictions(make_run(runs_dir), test=SAMPLE)


@pytest.mark.parametrize("damage", ["empty", "torn", "other", "no best", "shape", "class 10", "text"])
def test_damaged_predictions_are_said_to_be_damaged(runs_dir: Path, damage: str) -> None:
    run = make_run(runs_dir)
    path = run.directory.predictions
    written = arrays()
    if damage == "no best":
        del written["best_classes"]
    if damage == "shape":
        written["best_probabilities"] = written["best_probabilities"][:, :9]
    if damage == "class 10":
        written["best_classes"][17] = 10
    if damage == "text":
        written["best_epoch"] = np.asarray("three")
    save_arrays(path, written)
    if damage == "empty":
        path.write_bytes(b"")
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-200])
    if damage == "other":
        path.write_bytes(b"not an archive at all")
    with pytest.raises(PredictionsError, match=r"predictions\.npz: is damaged \("):
        load_predictions(run, "best", SAMPLE)


def test_predictions_of_another_split_are_refused_with_both_numbers(runs_dir: Path) -> None:
    run = make_run(runs_dir)
    save_arrays(run.directory.predictions, arrays(2_000))
    with pytest.raises(PredictionsError, match=r"holds 2,000 images, the custom split of the sample data has 5,000"):
        load_predictions(run, test=SAMPLE)


def test_labels_of_another_split_are_refused(runs_dir: Path) -> None:
    run = make_run(runs_dir, "standard")
    save_arrays(run.directory.predictions, arrays(2_000))
    with pytest.raises(PredictionsError, match="tested on the standard split of the sample data, not on the custom"):
        load_predictions(run, test=SAMPLE)
    assert len(load_predictions(run)) == 2_000


def test_a_sample_of_another_version_is_refused(runs_dir: Path, finished_result: Result) -> None:
    run = replace(make_run(runs_dir), result=finished_result)
    save_arrays(run.directory.predictions, arrays())
    with pytest.raises(PredictionsError, match=r"tested on other files than are here now \(t10k-labels-idx1-ubyte"):
        load_predictions(run, test=SAMPLE)


def test_without_the_full_data_the_data_rooms_error_comes_through(runs_dir: Path, tmp_path: Path) -> None:
    run = make_run(runs_dir)
    assert run.config is not None
    run = replace(run, config=run.config.model_copy(update={"data": DataConfig(source="full", split="custom")}))
    save_arrays(run.directory.predictions, arrays(40_000))
    with pytest.raises(DataError, match="was not found in the directory named"):
        load_predictions(run, data_dir=tmp_path / "nowhere")


@pytest.fixture
def finished_result() -> Result:
    """A result whose test labels were other ones."""
    provenance = Provenance(
        fmnist_tui="0", python="3", torch="2", platform="", data_sha256={"t10k-labels-idx1-ubyte": "0" * 64}
    )
    return result_of(load_preset("quick"), "finished", provenance=provenance)


def test_the_type_is_not_collected_as_tests() -> None:
    assert TestSet.__test__ is False
