"""The report grouped by preset, seed or device: mean, deviation, number; what differs within a group is not told."""

from __future__ import annotations

import csv
import io
import json
import statistics
from pathlib import Path

import pytest

from fmnist_tui.cli import main
from fmnist_tui.report import collect, render
from fmnist_tui.report.rows import GROUPINGS, Grouping
from fmnist_tui.tui import standings
from tests.unit.report_runs import finish, preset, read_markdown

CUSTOM = "Full data, custom split"


@pytest.fixture
def runs(runs_dir: Path) -> Path:
    """Four runs of wrn: two seeds, two devices, one with another learning rate; one of densenet, one cut short."""
    finish(runs_dir, preset("wrn", seed=1), test_accuracy=94.0)
    finish(runs_dir, preset("wrn", seed=2), test_accuracy=94.4, device_name="NVIDIA H100")
    finish(runs_dir, preset("wrn", seed=1), test_accuracy=94.2, device_name="NVIDIA H100")
    finish(runs_dir, preset("wrn", seed=2, optimizer__lr=0.05, training__epochs=100), test_accuracy=95.0, epochs=100)
    finish(runs_dir, preset("densenet"), test_accuracy=93.9)
    finish(runs_dir, preset("wrn", seed=2, training__max_steps=5), test_accuracy=10.0, complete=False)
    return runs_dir


def rows_of(runs: Path, by: Grouping) -> list[dict[str, str]]:
    return read_markdown(render(runs, "markdown", group_by=by))[CUSTOM]


def test_by_preset(runs: Path) -> None:
    wrn, densenet, cut = rows_of(runs, "preset")
    sd = statistics.stdev([94.0, 94.4, 94.2, 95.0])
    assert wrn["Accuracy (Prec@1)"] == f"94.40 ± {sd:.2f} (4)" and wrn["Runs"] == "4 (2 seeds)"
    assert (wrn["Device"], wrn["# of Epochs"], wrn["Notes"]) == ("various", "100-200", "2 different settings")
    assert wrn["# of Parameters"] == "36,478,906" and wrn["Preset"] == "wrn"
    assert wrn["Best (epoch)"] == "94.93 ± 0.00 (187)"
    assert densenet["Accuracy (Prec@1)"] == "93.90 (1)"
    assert cut["Accuracy (Prec@1)"] == "10.00 (1)" and "stopped at" in cut["Notes"], "a cut run is never averaged"


def test_cut_runs_of_different_settings_are_said_to_be_cut(runs: Path) -> None:
    for lr, steps in ((0.1, 15), (0.05, 2000)):
        config = preset("dpn", optimizer__lr=lr, training__max_steps=steps)
        finish(runs, config, complete=False, steps=steps, test_accuracy=20.0)
    (cut,) = [row for row in rows_of(runs, "preset") if row["Preset"] == "dpn"]
    assert cut["Notes"] == "stopped at 15 to 2,000 steps; 2 different settings"


def test_by_seed_and_by_device(runs: Path) -> None:
    by_seed = {row["Notes"].split(";")[0]: row["Accuracy (Prec@1)"] for row in rows_of(runs, "seed")[:3]}
    assert by_seed["seed 1"] == f"94.10 ± {statistics.stdev([94.0, 94.2]):.2f} (2)"
    assert by_seed["seed 2"] == f"94.70 ± {statistics.stdev([94.4, 95.0]):.2f} (2)"
    by_device = [(row["Device"], row["Accuracy (Prec@1)"]) for row in rows_of(runs, "device") if row["Preset"] == "wrn"]
    assert ("NVIDIA H100", f"94.30 ± {statistics.stdev([94.4, 94.2]):.2f} (2)") in by_device
    assert ("NVIDIA H200", f"94.50 ± {statistics.stdev([94.0, 95.0]):.2f} (2)") in by_device


def test_data_and_split_are_never_mixed(runs: Path) -> None:
    finish(runs, preset("wrn", data__split="standard"), test_accuracy=96.0)
    finish(runs, preset("wrn", data__source="sample"), test_accuracy=80.0)
    tables = read_markdown(render(runs, "markdown", group_by="preset"))
    assert tables["Full data, standard split"][0]["Accuracy (Prec@1)"] == "96.00 (1)"
    assert tables["Sample data"][0]["Accuracy (Prec@1)"] == "80.00 (1)"


def test_the_usual_grouping_is_as_it_was(runs: Path) -> None:
    assert render(runs) == render(runs, "markdown", group_by="settings")
    assert all("(" not in row["Accuracy (Prec@1)"] for row in rows_of(runs, "settings"))
    for by, said in GROUPINGS.items():
        assert said in render(runs, "markdown", group_by=by)


def test_every_seed_of_a_group_stands_in_the_hyperparameters(runs: Path) -> None:
    told = read_markdown(render(runs, "markdown", group_by="preset"))["Hyperparameters"]
    assert {(row["Learning rate"], row["Epochs"], row["Seeds"]) for row in told if row["Preset"] == "wrn"} >= {
        ("0.1", "200", "1, 2"), ("0.05", "100", "2"),
    }  # fmt: skip


def test_numbers_for_programs(runs: Path) -> None:
    row = json.loads(render(runs, "json", group_by="preset"))["rows"][0]
    assert (row["grouped_by"], row["n"], row["settings"], row["device"]) == ("preset", 4, 2, None)
    assert row["test_accuracy"]["mean"] == pytest.approx(94.4) and row["hyperparameters"] is None
    lines = list(csv.DictReader(io.StringIO(render(runs, "csv", group_by="device"))))
    h100 = next(line for line in lines if line["device"] == "NVIDIA H100")
    assert (h100["n"], h100["label"], float(h100["test_accuracy_mean"])) == ("2", "wrn", pytest.approx(94.3))
    assert float(h100["test_accuracy_sd"]) == pytest.approx(statistics.stdev([94.4, 94.2]))
    assert len(list(csv.DictReader(io.StringIO(render(runs, "csv"))))) == 6, "a line a run where nothing is grouped"


def test_the_option(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--group-by", "preset", "--runs-dir", str(runs)]) == 0
    assert capsys.readouterr().out == render(runs, "markdown", group_by="preset")
    assert main(["report", "--group-by", "presets", "--runs-dir", str(runs)]) == 2
    said = capsys.readouterr().err
    assert "'presets' is not one of" in said and "did you mean preset?" in said


def test_lines_sorted_by_a_column(runs: Path) -> None:
    finish(runs, preset("dpn"), test_accuracy=93.0, energy_joules=3_600_000.0, total_seconds=99.0)
    found = collect(runs)

    def shown(sort: str, reverse: bool = False, cell: str = "last") -> list[str]:
        lines = standings.lines(found, sort, reverse)
        return [line.cells[cell] for line in lines if line.kind == "row"]

    assert shown("last")[0] == "95.00" and shown("last", reverse=True)[0] == "10.00"
    assert shown("time", cell="time")[0] == "1 m 39 s"
    assert shown("energy", cell="energy")[0] == "1.00 kWh" and shown("energy", True, "energy")[0] == "1.00 kWh"
    assert [line.kind for line in standings.lines(found, "model")][-6:] == ["section", *["reference"] * 5]
    for sort in standings.SORT_KEYS:
        assert sorted(shown(sort)) == sorted(shown("last")), "no row is lost"


def test_a_row_of_several_runs_stands_for_the_most_accurate(runs_dir: Path) -> None:
    last = finish(runs_dir, preset("wrn", seed=1), test_accuracy=95.0, best_accuracy=95.1)
    best = finish(runs_dir, preset("wrn", seed=2), test_accuracy=94.0, best_accuracy=95.2)
    finish(runs_dir, preset("wrn", seed=3), test_accuracy=93.0, best_accuracy=93.1)
    found = collect(runs_dir)

    def opened(sort: str) -> str:
        (line,) = [line for line in standings.lines(found, sort) if line.kind == "row"]
        return line.run_id

    assert opened("last") == opened("time") == last.path.name
    assert opened("best") == opened("ahead") == best.path.name
