"""Runs of one name are told apart by what differs, and by no more than is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.analysis.differences import apart, names_apart
from fmnist_tui.cli import main
from fmnist_tui.report import render
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import load_run
from tests.unit.compared_runs import make_run


def test_a_name_that_is_taken_once_stands_alone(runs_dir: Path) -> None:
    runs = [load_run(make_run(runs_dir, [80.0], name=name)) for name in ("one", "two")]
    assert list(names_apart(runs).values()) == ["one", "two"] and set(apart(runs).values()) == {""}


def test_the_seed_where_nothing_else_differs(runs_dir: Path) -> None:
    runs = [load_run(make_run(runs_dir, [80.0], seed=seed)) for seed in (1, 2)]
    other = load_run(make_run(runs_dir, [80.0], seed=3, name="other"))
    assert list(names_apart([*runs, other]).values()) == ["quick seed 1", "quick seed 2", "other"]


def test_settings_before_seeds_and_seeds_only_where_they_are_needed(runs_dir: Path) -> None:
    settings = ((0.05, 1), (0.1, 1), (0.1, 2))
    runs = [load_run(make_run(runs_dir, [80.0], optimizer__lr=lr, seed=seed)) for lr, seed in settings]
    assert list(apart(runs).values()) == ["lr 0.05", "lr 0.1 seed 1", "lr 0.1 seed 2"]


def test_a_setting_that_tells_all_apart_stands_alone(runs_dir: Path) -> None:
    """Of the earlier field, which tells one run apart, nothing needs to be said."""
    settings = ((0.1, 60), (0.1, 120), (0.05, 180))
    runs = [load_run(make_run(runs_dir, [80.0], optimizer__lr=lr, training__max_steps=steps)) for lr, steps in settings]
    assert list(apart(runs).values()) == ["max_steps 60", "max_steps 120", "max_steps 180"]


def test_what_is_not_set_says_nothing(runs_dir: Path) -> None:
    settings = ((70, 3), (None, 1), (None, 2))
    runs = [load_run(make_run(runs_dir, [80.0], training__max_steps=steps, seed=seed)) for steps, seed in settings]
    assert list(names_apart(runs).values()) == ["quick max_steps 70", "quick seed 1", "quick seed 2"]
    assert list(names_apart(runs[:2]).values()) == ["quick max_steps 70", "quick"]


def test_a_field_that_several_sections_have_is_named_in_full(runs_dir: Path) -> None:
    runs = [load_run(make_run(runs_dir, [80.0], schedule__kind=kind)) for kind in ("cosine", "linear")]
    assert list(apart(runs).values()) == ["schedule.kind cosine", "schedule.kind linear"]


def test_repeats_have_the_end_of_their_ids(runs_dir: Path) -> None:
    runs = [load_run(make_run(runs_dir, [80.0], seed=seed)) for seed in (1, 1, 2)]
    ends = [run.id[-4:] for run in runs]
    assert list(apart(runs).values()) == [f"seed 1 {ends[0]}", f"seed 1 {ends[1]}", "seed 2"]


def test_a_run_whose_configuration_cannot_be_read_is_its_id(runs_dir: Path) -> None:
    run = make_run(runs_dir, [80.0])
    run.config.write_text("{")
    found = load_run(run)
    assert names_apart([found, load_run(make_run(runs_dir, [80.0]))])[run.id] == run.id


def test_the_page_and_the_comparison_say_it(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run(runs_dir, [80.0, 81.0], seed=seed, state=State.STOPPED) for seed in (1, 2)]
    page = render(runs_dir, "html")
    for seed, run in enumerate(runs, 1):
        assert page.count(f"quick seed {seed} <small>{run.id}</small>") == 2
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main(["runs", "compare", runs[0].id, runs[1].id, "--runs-dir", str(runs_dir)]) == 0
        out = capsys.readouterr().out
        assert runs[0].id in out and runs[1].id in out
        if columns == 120:
            assert "quick seed 1" in out and "quick seed 2" in out
        else:  # the name takes two lines
            assert out.count("seed 1") == out.count("seed 2") == 1 and out.count("quick ") >= 2
