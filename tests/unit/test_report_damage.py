"""report: what has no row, and why: runs that have not finished, damage, impossible numbers."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.report import FORMATS, collect, render
from fmnist_tui.report.rows import GROUPINGS
from fmnist_tui.runs import starting
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import load_run
from tests.unit.report_runs import finish, preset, read_markdown


def test_only_finished_runs(runs_dir: Path) -> None:
    starting.create_run(runs_dir, preset("wrn"))
    for state in (State.STOPPED, State.FAILED, State.RUNNING):
        finish(runs_dir, preset("wrn"), state=state)
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


def test_a_copied_run_directory_is_no_further_seed(runs_dir: Path) -> None:
    run = finish(runs_dir, preset("wrn"))
    shutil.copytree(run.path, runs_dir / f"{run.id}-backup")
    shutil.copytree(run.path, runs_dir / "19990101-000000-older")
    found = collect(runs_dir)
    assert [one.id for one in found.runs] == [run.id] and [len(row.runs) for row in found.rows] == [1]
    assert dict(found.skipped) == {
        f"{run.id}-backup": f"is a copy of {run.id}",
        "19990101-000000-older": f"is a copy of {run.id}",
    }
    assert f"{run.id}-backup: is a copy of {run.id}" in render(runs_dir)
    shutil.rmtree(run.path)
    found = collect(runs_dir)
    assert [one.id for one in found.runs] == ["19990101-000000-older"], "the oldest stands for the one that is gone"
    assert [one.id for one in collect(runs_dir, {f"{run.id}-backup"}).runs] == [f"{run.id}-backup"]


def test_a_copy_that_was_trained_on_is_a_run_of_its_own(runs_dir: Path) -> None:
    run = finish(runs_dir, preset("wrn"))
    shutil.copytree(run.path, runs_dir / f"{run.id}-longer")
    _rewrite(RunDirectory(runs_dir / f"{run.id}-longer"), test_accuracy=95.0)
    assert len(collect(runs_dir).runs) == 2 and collect(runs_dir).skipped == []
