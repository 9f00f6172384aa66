"""A sweep: which configurations it makes, what it refuses, and how the report shows its group."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.console import sweep
from fmnist_tui.console.launch import Start
from fmnist_tui.console.output import UsageError
from fmnist_tui.console.sweep import MOST_RUNS, start_sweep, sweep_configs
from fmnist_tui.data.files import DataError
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.report import render
from fmnist_tui.report.sweeps import group_text
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.filter import parse_filter
from tests.unit.report_runs import finish


@pytest.fixture
def quick() -> RunConfig:
    return load_preset("quick")


def test_each_combination_with_each_seed(quick: RunConfig) -> None:
    configs, _ = sweep_configs(quick, ["optimizer.lr=0.05,0.1", "training.batch_size=64,128"], 2)
    found = [(c.optimizer.lr, c.training.batch_size, c.seed - quick.seed) for c in configs]
    assert found == [(lr, size, seed) for lr in (0.05, 0.1) for size in (64, 128) for seed in (0, 1)]
    assert {config.group for config in configs} == {configs[0].group} and configs[0].group
    assert configs[0].name == configs[1].name == "quick lr=0.05 batch_size=64"
    assert with_changes(configs[0], {"name": "quick", "group": None}) == with_changes(
        quick, {"optimizer.lr": 0.05, "training.batch_size": 64}
    )


def test_seeds_alone_and_a_group_of_ones_own(quick: RunConfig) -> None:
    configs, _ = sweep_configs(with_changes(quick, {"group": "mine"}), [], 3)
    assert [config.seed - quick.seed for config in configs] == [0, 1, 2]
    assert {(config.group, config.name) for config in configs} == {("mine", "quick")}


def test_a_list_in_brackets_is_one_value(quick: RunConfig) -> None:
    base = with_changes(quick, {"schedule.kind": "step", "schedule.milestones": [2]})
    configs, _ = sweep_configs(base, ["schedule.milestones=[2,3],[3]"], None)
    assert [config.schedule.milestones for config in configs] == [(2, 3), (3,)]


def test_each_run_has_its_own_notes_and_what_all_have_is_said_once(quick: RunConfig) -> None:
    base = with_changes(quick, {"schedule.kind": "step", "schedule.milestones": [6]})
    configs, notes = sweep_configs(base, ["training.epochs=4,8", "optimizer.lr=0.05,0.1"], 2)
    assert len(configs) == 8
    of_all = [note for note in notes if note.startswith("data.source = sample")]
    assert len(of_all) == 1 and len(notes) == 2
    (own,) = set(notes) - set(of_all)
    assert own.startswith("quick epochs=4 lr=0.05, quick epochs=4 lr=0.1: schedule.milestones: milestone 6 will never")
    assert "in 4 epochs" in own


def test_a_note_of_the_base_alone_is_not_said(quick: RunConfig) -> None:
    base = with_changes(quick, {"schedule.kind": "step", "schedule.milestones": [9]})
    assert not [note for note in sweep_configs(base, ["training.epochs=9,10"], None)[1] if "milestone" in note]


def test_the_options_hold_for_each_run_as_if_it_were_alone(quick: RunConfig) -> None:
    base = with_changes(quick, {"schedule.warmup_epochs": 4})
    configs, notes = sweep_configs(base, ["training.epochs=4,16"], None)
    assert [config.schedule.warmup_epochs for config in configs] == [2, 4]
    assert [note for note in notes if "warmup" in note] == [
        "quick epochs=4: schedule.warmup_epochs: 4 do not fit into 4; moved in proportion, to 2"
    ]
    scaled, notes = sweep_configs(base, ["training.epochs=4,16"], None, scale=True)
    assert [config.schedule.warmup_epochs for config in scaled] == [2, 8] and not [n for n in notes if "warmup" in n]


@pytest.mark.parametrize(
    ("sweeps", "seeds", "words"),
    [
        (["optimizer.lr"], None, "must be KEY=V1,V2"),
        (["optimizer.lr="], None, "must be KEY=V1,V2"),
        (["optimizer.lr=0.1,0.1"], None, "names a value twice"),
        (["optimizer.lr=1,0.5,1.0"], 2, "--sweep optimizer.lr: 1 and 1.0 make the same run; give one of them"),
        (["description=a,b"], None, "'a' and 'b' make the same run"),
        (["optimizer.lr=0.1", "optimizer.lr=0.2"], None, "--sweep names this field too"),
        (["training.epochs=1,2"], None, "--set names this field too"),
        (["seed=1,2"], 2, "--sweep names seeds of its own"),
        (["data.split=custom,standard"], None, "--sweep data.split: --split names this field too"),
        (["slurm.time=5,10"], None, "with --set slurm.time=VALUE"),
        (["name=a,b"], None, "names by what differs"),
        ([], 0, "--seeds 0: must be 1 or more"),
        (["optimizer.lr=0.1,0.2"], MOST_RUNS, f"{2 * MOST_RUNS} runs; {MOST_RUNS} is the most"),
    ],
)
def test_what_is_refused(quick: RunConfig, sweeps: list[str], seeds: int | None, words: str) -> None:
    with pytest.raises(UsageError, match="--") as caught:
        sweep_configs(quick, sweeps, seeds, ["training.epochs=2"], {"data.split": "custom", "seed": None})
    assert words in str(caught.value)


def test_a_wrong_value_is_refused_before_any_run_is_made(quick: RunConfig) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr = -1"):
        sweep_configs(quick, ["optimizer.lr=0.1,-1"], None)
    with pytest.raises(ConfigError, match=r"did you mean optimizer\.lr"):
        sweep_configs(quick, ["optimiser.lr=0.1"], None)


def test_now_is_refused(quick: RunConfig, runs_dir: Path) -> None:
    start = Start(runs_dir, None, "cpu", 1, now=True, retries=0, detach=True, json=False)
    with pytest.raises(UsageError, match="--now"):
        start_sweep(*sweep_configs(quick, [], 2), start)
    assert not runs_dir.exists()


@pytest.mark.parametrize("values", ["sample,full", "full,sample"])
def test_the_data_of_every_run_is_checked_before_any_is_made(
    quick: RunConfig, runs_dir: Path, tmp_path: Path, values: str
) -> None:
    start = Start(runs_dir, tmp_path, "cpu", detach=True)
    with pytest.raises(DataError) as caught:
        start_sweep(*sweep_configs(quick, [f"data.source={values}"], 2), start)
    words = str(caught.value)
    assert words.startswith("The run 'quick source=full', data.source = full: ")
    assert str(tmp_path) in words and "--data-dir" in words and words.endswith("No run was started.")
    assert not runs_dir.exists()


def test_what_is_left_to_itself_is_found_by_the_command_that_is_told(
    quick: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "_start", lambda made, as_json: ([None] * len(made), None))
    group, place = "Ann's", tmp_path / "else where"
    configs, notes = sweep_configs(with_changes(quick, {"group": group}), [], 2)
    assert start_sweep(configs, notes, Start(place, None, "cpu", detach=True)) == 0
    told = capsys.readouterr().err.splitlines()[-1].partition("See them: ")[2]
    assert shlex.split(told) == ["fmnist-tui", "runs", "list", "--group", group, "--runs-dir", str(place)]


def test_the_report_shows_mean_deviation_and_the_best(runs_dir: Path, quick: RunConfig) -> None:
    accuracies: dict[tuple[float, int], float] = {(0.05, 0): 80.0, (0.05, 1): 82.0, (0.1, 0): 85.0, (0.1, 1): 87.0}
    configs, _ = sweep_configs(with_changes(quick, {"group": "lr|test"}), ["optimizer.lr=0.05,0.1"], 2)
    for config in configs:
        accuracy = accuracies[config.optimizer.lr, config.seed - quick.seed]
        finish(runs_dir, config, test_accuracy=accuracy, best_accuracy=accuracy)
    text = group_text(runs_dir, "lr|test")
    first, second = [line for line in text.splitlines() if "optimizer.lr" in line]
    assert "optimizer.lr = 0.1" in first and "86.00 ± 1.41" in first and first.rstrip(" |").endswith("best")
    assert "optimizer.lr = 0.05" in second and "81.00 ± 1.41" in second and "best" not in second
    report = render(runs_dir)
    assert "## Groups of runs" in report and "86.00 ± 1.41" in report.split("## Groups of runs")[1]
    assert group_text(runs_dir, "other") == ""


def test_runs_cut_short_are_not_the_best_and_say_why(runs_dir: Path, quick: RunConfig) -> None:
    configs, _ = sweep_configs(with_changes(quick, {"group": "cut"}), ["optimizer.lr=0.05,0.1"], None)
    for config in configs:
        finish(runs_dir, with_changes(config, {"training.max_steps": 40}), complete=False, steps=40)
    lines = [line for line in group_text(runs_dir, "cut").splitlines() if "optimizer.lr" in line]
    assert [line.rstrip(" |").endswith("stopped at 40 steps") for line in lines] == [True, True]


def test_the_app_filters_by_group(runs_dir: Path, quick: RunConfig) -> None:
    for group in ("lr-test", None):
        starting.create_run(runs_dir, with_changes(quick, {"group": group}), device="cpu")
    wanted = parse_filter("group:lr-test")
    assert [wanted.matches(run) for run in store.list_runs(runs_dir)].count(True) == 1 and not wanted.problems
