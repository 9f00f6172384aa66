"""Held-out training images: which they are, what is refused, and that they are no row beside the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_tui.analysis.predictions import TestSet, load_test_set
from fmnist_tui.cli import main
from fmnist_tui.config import ConfigError, DataConfig
from fmnist_tui.data.source import Images
from fmnist_tui.data.split import split, split_of
from fmnist_tui.fields import notes, with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.report import render
from fmnist_tui.report.rows import collect
from fmnist_tui.runs.store import load_run
from fmnist_tui.tui import standings
from fmnist_tui.tui.notes import surroundings
from tests.predictions_maker import save_twice
from tests.unit.report_runs import finish, preset, read_markdown


def numbered(train: int = 60, test: int = 20) -> Images:
    """Images that hold their number: training ones from 0, test ones from 1000."""
    numbers = np.arange(train, dtype=np.int64), np.arange(1000, 1000 + test, dtype=np.int64)
    images = [np.repeat(each, 4).reshape(-1, 2, 2) for each in numbers]
    return Images(images[0], numbers[0], images[1], numbers[1], "sample", Path(), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "whole"), [("custom", 30), ("standard", 60)])
def test_every_training_image_is_held_out_once_and_no_test_image_is_seen(name: str, whole: int) -> None:
    held = list[int]()
    for fold in range(whole // 10):
        data = DataConfig(source="sample", split=name, hold_out=10, fold=fold)  # type: ignore[arg-type]
        parts = split_of(numbered(), data)
        assert parts.test_labels.tolist() == list(range(whole - 10 * (fold + 1), whole - 10 * fold))
        assert parts.train_labels.tolist() == [n for n in range(whole) if n not in parts.test_labels]
        for labels, images in ((parts.train_labels, parts.train_images), (parts.test_labels, parts.test_images)):
            assert (images == labels[:, None, None]).all()
        held += parts.test_labels.tolist()
    assert sorted(held) == list(range(whole))


def test_without_holding_out_it_is_the_split() -> None:
    whole, parts = split(numbered(), "custom"), split_of(numbered(), DataConfig())
    assert parts.train_labels.tolist() == whole.train_labels.tolist()
    assert parts.test_labels.tolist() == whole.test_labels.tolist()


def test_sizes_and_where_images_come_from() -> None:
    data = DataConfig(hold_out=5_000, fold=1)
    assert data.sizes == (25_000, 5_000)
    assert DataConfig(split="standard", hold_out=10_000).sizes == (50_000, 10_000)
    assert DataConfig(source="sample", hold_out=500).sizes == (2_500, 500)
    origin = TestSet(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8), data, {}).origin
    assert (origin(0), origin(4_999)) == ("train 20000", "train 24999")
    assert data.words == "5,000 held-out training images (fold 1) of the custom split of the full data"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"data.hold_out": 30_000},
            "data.hold_out = 30000: must be below the 30,000 training images of the custom split",
        ),
        ({"data.source": "sample", "data.hold_out": 3_000}, "must be below the 3,000 training images"),
        ({"data.fold": 1}, "data.fold = 1: needs data.hold_out"),
        ({"data.hold_out": 5_000, "data.fold": 6}, "data.fold = 6: must be below 6: 30,000 images have so many parts"),
        ({"data.hold_out": -1}, "data.hold_out = -1"),
    ],
)
def test_what_can_not_be_held_out(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        with_changes(load_preset("wrn"), changes)
    assert said in str(refused.value)


def test_a_run_says_that_no_test_image_is_looked_at() -> None:
    assert any("no test image is looked at" in note for note in notes(preset("turbo", data__hold_out=5_000)))
    assert not any("held-out" in note for note in notes(preset("turbo")))


def test_the_report_keeps_it_apart_and_folds_share_a_row(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn"), test_accuracy=93.5, best_accuracy=93.6)
    for fold, accuracy in ((0, 94.0), (1, 95.0)):
        held: dict[str, Any] = {"hold_out": 5_000, "fold": fold, "train_images": 25_000, "test_images": 5_000}
        config = preset("wrn", data__hold_out=5_000, data__fold=fold)
        finish(runs_dir, config, test_accuracy=accuracy, best_accuracy=95.5, **held)
    tables = read_markdown(render(runs_dir))
    (custom,) = tables["Full data, custom split"]
    assert custom["Accuracy (Prec@1)"] == "93.50"
    (row,) = tables["Held-out training images"]
    assert row["Accuracy (Prec@1)"] == "94.50 ± 0.71"
    assert not any("reference" in column.lower() for column in row), "nothing to compare with"
    assert "full, custom, held out (25,000 / 5,000)" in {
        each["Data and split"] for each in tables["Held-out training images"]
    }
    assert '"hold_out": 5000' in render(runs_dir, "json") and "hold_out" in render(runs_dir, "csv").splitlines()[0]


def test_the_app_keeps_it_apart(runs_dir: Path) -> None:
    held: dict[str, Any] = {"hold_out": 5_000, "train_images": 25_000, "test_images": 5_000}
    run = load_run(finish(runs_dir, preset("wrn", data__hold_out=5_000), **held))
    lines = standings.lines(collect(runs_dir))
    assert lines[-2].cells["model"].startswith("Held-out training images") and lines[-1].kind != "section"
    assert run.config is not None and run.config.reference is not None
    assert run.config.measured_against is None and surroundings(run, None).reference is None


@pytest.mark.parametrize("changes", [{"data__source": "sample"}, {"data__split": "standard"}])
def test_the_reference_is_for_its_own_images_alone(changes: dict[str, str]) -> None:
    assert preset("wrn").measured_against is not None
    assert preset("wrn", **changes).measured_against is None


def test_evaluate_says_what_the_images_are_for(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for held, said, other in (
        (500, "held-out training images, to choose by", "These are the test images"),
        (0, "", ""),
    ):
        run = finish(runs_dir, preset("quick", data__hold_out=held))
        labels = load_test_set(DataConfig(source="sample", split="standard", hold_out=held)).labels
        save_twice(run.predictions, labels, np.eye(10, dtype=np.float32)[labels], 1)
        assert main(["evaluate", run.id, "--saved"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert said in text and (not other or other not in text)
        assert held or "These are the test images" in text
        assert f"{held or 2000:,}" in text
