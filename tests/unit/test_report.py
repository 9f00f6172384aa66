"""report: which runs share a row, and what the row says."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui import paths, presets
from fmnist_tui.report import collect, render
from tests.unit.report_runs import finish, only_row, preset, read_markdown


def test_one_run_in_the_references_words(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn"))
    row = only_row(runs_dir)
    assert list(row)[:5] == ["Model Name", "# of Parameters", "Accuracy (Prec@1)", "time", "# of Epochs"]
    assert row == {
        "Model Name": "WideResNet",
        "# of Parameters": "36,478,906",
        "Accuracy (Prec@1)": "94.81",
        "time": "1 h 12 m",
        "# of Epochs": "200",
        "Best (epoch)": "94.93 (187)",
        "Images/s": "9,870",
        "Device": "NVIDIA H200",
        "Precision": "bf16",
        "Data and split": "full, custom (30,000 / 40,000)",
        "Runs": "1",
        "Reference": "93.28",
        "Best - reference": "+1.65",
        "Final - reference": "+1.53",  # 94.8125 - 93.2775 = 1.535, as binary fractions just below
        "Preset": "wrn",
        "Notes": "-",
    }


def test_several_seeds_share_a_row(runs_dir: Path) -> None:
    finals, bests = [94.80, 94.95, 94.70], [94.90, 95.00, 94.85]
    for seed, (final, best) in enumerate(zip(finals, bests, strict=True), start=1):
        finish(
            runs_dir,
            preset("densenet", seed=seed, name=f"try {seed}"),
            test_accuracy=final,
            best_accuracy=best,
            best_epoch=200 + seed,
            total_seconds=100.0 * seed,
            images_per_second=1000.0 * seed,
        )
    row = only_row(runs_dir)
    assert row["Runs"] == "3"
    assert row["Accuracy (Prec@1)"] == "94.82 ± 0.13"
    assert f"{statistics.stdev(finals):.2f}" == "0.13"
    assert row["Best (epoch)"] == "94.92 ± 0.08 (201-203)"
    assert (row["time"], row["Images/s"]) == ("3 m 20 s", "2,000")
    assert (row["Best - reference"], row["Final - reference"]) == ("+1.15", "+1.05")
    (recipe,) = read_markdown(render(runs_dir))["Hyperparameters"]
    assert recipe["Seeds"] == "1, 2, 3"
    (found,) = collect(runs_dir).rows
    assert found.spread("test_accuracy").mean == pytest.approx(94.81666, abs=1e-4)
    assert found.spread("test_accuracy").sd == pytest.approx(0.125831, abs=1e-5)


def test_the_same_seed_twice_is_said(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn"))
    finish(runs_dir, preset("wrn"), test_accuracy=94.0)
    finish(runs_dir, preset("wrn", seed=7))
    assert only_row(runs_dir)["Runs"] == "3 (2 seeds)"


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({"optimizer__lr": 0.05}, {}),
        ({"training__epochs": 20}, {}),
        ({"augment__flip": False}, {}),
        ({"model__drop_rate": 0.3}, {}),
        ({"data__split": "standard"}, {}),
        ({"data__source": "sample"}, {}),
        ({"training__eval_every": 10}, {}),
        ({}, {"precision": "fp32"}),
        ({}, {"device_name": "NVIDIA A100"}),
        ({}, {"devices": 2}),
        ({}, {"compile": "default"}),
        ({}, {"micro_batch": 64}),
        ({}, {"deterministic": True}),
        ({}, {"complete": False, "steps": 50}),
        ({}, {"epochs": 210}),
    ],
)
def test_anything_but_the_seed_makes_another_row(
    runs_dir: Path, changes: dict[str, Any], values: dict[str, Any]
) -> None:
    finish(runs_dir, preset("wrn", seed=1))
    finish(runs_dir, preset("wrn", seed=2, **changes), **values)
    tables = read_markdown(render(runs_dir))
    found = [row for heading, rows in tables.items() if heading.split()[0] in ("Full", "Sample") for row in rows]
    assert [row["Runs"] for row in found] == ["1", "1"]
    texts = [{key: row[key] for key in row if key != "Data and split"} for row in found]
    assert texts[0] != texts[1] or found[0]["Data and split"] != found[1]["Data and split"]  # and one can see why


def test_what_is_no_other_experiment_is_not_changed(runs_dir: Path) -> None:
    same = preset(
        "wrn",
        seed=5,
        training__precision="bf16",
        training__memory_format="contiguous",
        training__compile="off",
        training__deterministic=True,
        training__micro_batch="auto",
        training__max_steps=1_000_000,
    )
    finish(runs_dir, same)
    finish(runs_dir, preset("wrn"))
    row = only_row(runs_dir)
    assert (row["Runs"], row["Notes"]) == ("2", "-")


def test_changed_hyperparameters_are_said(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn", training__epochs=20, schedule__milestones=[6, 12, 16], optimizer__nesterov=False))
    row = only_row(runs_dir)
    assert row["Notes"] == (
        "changed: optimizer.nesterov true -> false, schedule.milestones [60, 120, 160] -> [6, 12, 16], "
        "training.epochs 200 -> 20"
    )
    assert row["Best - reference"] == "+1.65"


def test_another_family_under_a_presets_name(runs_dir: Path) -> None:
    config = preset("wrn", model__kind="densenet", model__drop_rate=0.2)
    finish(runs_dir, config, parameters=768_730)
    row = only_row(runs_dir)
    assert row["Model Name"] == "DenseNet-BC-100-12"
    assert row["Notes"].startswith("changed: model.kind wide_resnet -> densenet, model.depth 28 -> 100,")
    assert "widen_factor" not in row["Notes"]
    assert row["Reference"] == row["Best - reference"] == row["Final - reference"] == "-"


def test_a_smaller_network_is_not_the_references(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn", model__depth=16), parameters=17_116_634)
    row = only_row(runs_dir)
    assert (row["Model Name"], row["Reference"]) == ("WRN-16-10", "-")


def test_epochs_changed_on_the_way(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn"), epochs=37)  # an edit of the running run, or stop_at_accuracy
    row = only_row(runs_dir)
    assert (row["# of Epochs"], row["Notes"]) == ("37", "changed: training.epochs 200 -> 37")
    assert read_markdown(render(runs_dir))["Hyperparameters"][0]["Epochs"] == "37"


def test_incomplete_runs_are_labelled_and_last(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn", training__max_steps=50), complete=False, steps=50, epochs=1, test_accuracy=99.0)
    finish(runs_dir, preset("dpn"))
    finish(runs_dir, preset("densenet"), test_accuracy=95.0)
    densenet, dpn, wrn = read_markdown(render(runs_dir))["Full data, custom split"]
    assert [row["Preset"] for row in (densenet, dpn, wrn)] == ["densenet", "dpn", "wrn"]  # by final accuracy
    assert wrn["Notes"] == "stopped at 50 steps"
    assert wrn["Reference"] == wrn["Best - reference"] == wrn["Final - reference"] == "-"
    assert dpn["Reference"] == "93.21"


def test_sample_and_splits_have_tables_of_their_own(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn"))
    finish(runs_dir, preset("wrn", data__split="standard"), best_accuracy=96.2)
    finish(runs_dir, preset("wrn", data__source="sample"), best_accuracy=90.0)
    finish(runs_dir, preset("quick"), best_accuracy=88.5)
    tables = read_markdown(render(runs_dir))
    assert list(tables) == [
        "Full data, custom split",
        "Full data, standard split",
        "Sample data",
        "The results to beat",
        "Hyperparameters",
    ]
    assert [row["Data and split"] for row in tables["Full data, custom split"]] == ["full, custom (30,000 / 40,000)"]
    (standard,) = tables["Full data, standard split"]
    assert standard["Data and split"] == "full, standard (60,000 / 10,000)"
    assert {row["Preset"] for row in tables["Sample data"]} == {"wrn", "quick"}
    for heading in ("Full data, standard split", "Sample data"):
        assert not [column for column in tables[heading][0] if "eference" in column]
    assert [row.first.reference is not None for row in collect(runs_dir).rows].count(True) == 1


def test_the_results_to_beat(runs_dir: Path) -> None:
    rows = read_markdown(render(runs_dir))["The results to beat"]
    assert [tuple(row.values()) for row in rows] == [
        ("WideResNet", "36,478,906", "93.2775", "about 7 h", "200", "488"),
        ("DenseNet", "768,730", "93.77", "about 3-4 h", "300", "883"),
        ("DualPathNet", "47,751,450", "93.21", "about 6 h", "200", "418"),
        ("Shake-Shake 96d", "26,330,026", "93.7275", "about 40 h", "1,800", "-"),
        ("Shake-Shake 64d", "11,708,362", "93.725", "about 25 h", "1,800", "-"),
    ]


def test_hyperparameters_of_every_preset(runs_dir: Path) -> None:
    for name in ("wrn", "densenet", "dpn", "shake-shake-96"):
        finish(runs_dir, preset(name))
    finish(runs_dir, preset("quick", augment__cutmix_probability=0.5, augment__cutmix_share=0.75))
    finish(runs_dir, preset("wrn", seed=1), device_name="NVIDIA A100")  # another row, the same recipe
    rows = {row["Preset"]: row for row in read_markdown(render(runs_dir))["Hyperparameters"]}
    assert len(rows) == 5
    assert rows["wrn"] == {
        "Preset": "wrn",
        "Network": "depth 28, widen_factor 10, drop_rate 0",
        "Optimizer": "SGD, momentum 0.9, Nesterov",
        "Learning rate": "0.1",
        "Schedule": "x0.2 at epochs 60, 120, 160",
        "Weight decay": "0.0005",
        "Batch size": "256",
        "Epochs": "200",
        "Augmentation": "crop (pad 4), flip",
        "Seeds": "1, 40000",
    }
    assert rows["shake-shake-96"]["Augmentation"] == "crop (pad 4), flip, Cutout 16"
    assert rows["quick"]["Augmentation"].endswith(", CutMix (p 0.5) in the first 75% of the epochs")
    assert rows["shake-shake-96"]["Schedule"] == "cosine to 0"
    assert rows["dpn"]["Optimizer"] == "SGD, momentum 0.9"
    assert rows["dpn"]["Network"] == "blocks [4, 4, 4], filters [160, 320, 640], growth_rate [16, 32, 64]"
    assert rows["quick"]["Schedule"].startswith("one cycle to 0")


def test_a_preset_of_the_users_own(runs_dir: Path) -> None:
    config = preset("densenet", name="mine", optimizer__lr=0.2)
    assert config.reference is not None
    reference = config.reference.model_copy(update={"accuracy": 94.0, "model_name": "My Net", "parameters": 1})
    presets.save_preset(config.model_copy(update={"reference": reference}), "mine")
    finish(runs_dir, preset("mine"), best_accuracy=94.5, test_accuracy=94.25)
    row = only_row(runs_dir)
    assert (row["Preset"], row["Model Name"], row["Notes"]) == ("mine", "My Net", "own preset")
    assert (row["Reference"], row["Best - reference"], row["Final - reference"]) == ("94.00", "+0.50", "+0.25")

    (paths.user_presets_dir() / "mine.toml").unlink()  # the run still knows its own reference
    assert only_row(runs_dir) == row


def test_changes_to_a_preset_of_the_users_own(runs_dir: Path) -> None:
    presets.save_preset(preset("densenet"), "mine")
    finish(runs_dir, preset("mine", training__epochs=3))
    assert only_row(runs_dir)["Notes"] == "changed: training.epochs 300 -> 3; own preset"


def test_a_shadowed_preset_is_measured_against_the_shipped_one(runs_dir: Path) -> None:
    config = preset("wrn", optimizer__lr=0.2)
    assert config.reference is not None
    easy = config.model_copy(update={"reference": config.reference.model_copy(update={"accuracy": 10.0})})
    presets.save_preset(easy, "wrn")
    finish(runs_dir, preset("wrn"))
    row = only_row(runs_dir)
    assert (row["Reference"], row["Notes"]) == ("93.28", "changed: optimizer.lr 0.1 -> 0.2")


def test_a_configuration_file_is_no_preset(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn").model_copy(update={"preset": None, "name": "wrn", "reference": None}))
    finish(runs_dir, preset("wrn"))
    rows = read_markdown(render(runs_dir))["Full data, custom split"]
    assert {(row["Model Name"], row["Notes"], row["Reference"]) for row in rows} == {
        ("WRN-28-10", "own configuration", "-"),
        ("WideResNet", "-", "93.28"),
    }


def test_report_imports_no_torch_and_no_textual() -> None:
    code = "import sys, fmnist_tui.report; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "textual", "numpy"} & set(done.stdout.split())
