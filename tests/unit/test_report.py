"""report: which runs share a row, and what the row says."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui import paths, presets
from fmnist_tui.report import FORMATS, collect, render
from fmnist_tui.report.rows import GROUPINGS
from fmnist_tui.runs import starting
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import load_run
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
    for name in ("wrn", "densenet", "dpn", "shake-shake-96", "quick"):
        finish(runs_dir, preset(name))
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


def test_only_finished_runs(runs_dir: Path) -> None:
    starting.create_run(runs_dir, preset("wrn"))
    for state in (State.STOPPED, State.FAILED, State.RUNNING, State.QUEUED):
        finish(runs_dir, preset("wrn"), state=state)  # a resumed run keeps its old result.json until it ends
    benchmarks = collect(runs_dir)
    assert (benchmarks.rows, benchmarks.skipped) == ([], [])
    assert "No run has finished yet." in render(runs_dir) and "`fmnist-tui run preset quick`" in render(runs_dir)


def test_without_a_row_the_report_says_why(runs_dir: Path) -> None:
    stopped = [finish(runs_dir, preset("wrn"), state=State.STOPPED) for _ in range(2)]
    named = [load_run(run) for run in stopped]
    for only, why in (
        (named[:1], "The run named has not finished; the tables hold finished runs only."),
        (named, "None of the runs named has finished; the tables hold finished runs only."),
    ):
        for form in ("markdown", "html"):
            text = render(runs_dir, form, only)
            assert why in text and "No run has finished yet" not in text and "fmnist-tui run preset" not in text
    broken = finish(runs_dir, preset("wrn"))
    _rewrite(broken, test_accuracy=1e308)
    for only in ([], [load_run(broken)]):
        text = render(runs_dir, only=only)
        assert "No result can be shown: that of a run can't be read, for the reason below under Left out.\n" in text
        assert "No run has finished yet" not in text and f"Run {broken.id}" in text.partition("## Left out")[2]
    assert "under Left out. The others named have not finished." in render(runs_dir, only=[load_run(broken), *named])


def test_no_runs_directory(runs_dir: Path) -> None:
    text = render(runs_dir)
    assert "No run has finished yet." in text and list(read_markdown(text)) == ["The results to beat"]
    assert not runs_dir.exists()
    runs_dir.write_text("")
    with pytest.raises(RunError, match="is a file"):
        render(runs_dir)
    with pytest.raises(ValueError, match="must be one of markdown, csv, json, html"):
        render(runs_dir.parent / "none", "pdf")


def test_what_cannot_be_read_is_named(runs_dir: Path) -> None:
    good = finish(runs_dir, preset("wrn"))
    broken = {
        "cut": finish(runs_dir, preset("wrn")),
        "missing": finish(runs_dir, preset("wrn")),
        "newer": finish(runs_dir, preset("wrn"), schema_version=99),
        "infinite": finish(runs_dir, preset("wrn")),
        "config": finish(runs_dir, preset("wrn")),
        "status": finish(runs_dir, preset("wrn")),
    }
    broken["cut"].result.write_bytes(broken["cut"].result.read_bytes()[:100])
    broken["missing"].result.unlink()
    _rewrite(broken["infinite"], total_seconds="Infinity")
    broken["config"].config.write_text("{}")
    without_status = broken.pop("status")
    without_status.status.write_text("no JSON")
    benchmarks = collect(runs_dir)
    assert {run.id for run in benchmarks.runs} == {good.id, without_status.id}, "the result says all there is to know"
    why = dict(benchmarks.skipped)
    assert set(why) == {run.id for run in broken.values()}
    assert why[broken["cut"].id].startswith("result.json is damaged")
    assert why[broken["missing"].id] == "result.json is missing"
    assert "newer fmnist-tui (schema 99)" in why[broken["newer"].id]
    assert why[broken["infinite"].id].endswith("(total_seconds: must be a finite number)")
    assert "config.json" in why[broken["config"].id]
    for text in (render(runs_dir), render(runs_dir, "html"), render(runs_dir, "json")):
        assert all(run.id in text for run in broken.values())
    assert "infinite" not in render(runs_dir, "csv")


def _rewrite(run: RunDirectory, **values: Any) -> None:
    """Put numbers into a result.json that no trainer writes."""
    run.result.write_text(json.dumps(json.loads(run.result.read_bytes()) | values))


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("test_accuracy", 1e308, "must be at most 100"),
        ("best_accuracy", "NaN", "must be a finite number"),
        ("train_accuracy", -0.1, "must be at least 0"),
        ("total_seconds", 1e308, "must be at most 1e+11"),
        ("images_per_second", 1e308, "must be at most 1e+15"),
        ("energy_joules", 1e308, "must be at most 1e+15"),
        ("epochs", 0, "must be at least 1"),
        ("steps", 10**30, "must be at most 9007199254740992"),
    ],
)
def test_an_impossible_number_leaves_out_its_run_alone(runs_dir: Path, field: str, value: Any, why: str) -> None:
    good = finish(runs_dir, preset("wrn"))
    broken = [finish(runs_dir, preset("wrn", seed=seed)) for seed in (1, 2)]
    for run in broken:
        _rewrite(run, **{field: value})
    assert [run.id for run in collect(runs_dir).runs] == [good.id]
    for form in FORMATS:
        for by in GROUPINGS:
            assert render(runs_dir, form, group_by=by)
    left_out = render(runs_dir).partition("## Left out")[2]
    assert all(f"{run.id}: result.json is damaged" in left_out for run in broken) and why in left_out


def test_a_loss_that_is_not_finite_is_no_damage(runs_dir: Path) -> None:
    ids = [finish(runs_dir, preset("wrn"), test_loss=loss).id for loss in (math.nan, math.inf)]
    assert {run.id for run in collect(runs_dir).runs} == set(ids)


def test_report_imports_no_torch_and_no_textual() -> None:
    code = "import sys, fmnist_tui.report; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "textual", "numpy"} & set(done.stdout.split())
