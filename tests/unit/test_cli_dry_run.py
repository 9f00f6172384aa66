"""`--dry-run`: what a run or a sweep would be, said without making one; refused where starting it would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.cli import main
from fmnist_tui.console import launch
from fmnist_tui.data import source
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import process
from tests.printed import json_lines
from tests.unit.cli_runs import finished_run


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker or a download that is started after all fails the test. Lines are long enough for any path."""
    monkeypatch.setenv("COLUMNS", "200")

    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("started")

    monkeypatch.setattr(process, "start_worker", started)
    monkeypatch.setattr(source, "fetch", started)


def test_a_run_as_it_would_be(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "preset", "quick", "--epochs", "3", "--set", "training.max_steps=100", "--dry-run"]) == 0
    captured = capsys.readouterr()
    said = " ".join(captured.out.split())
    for fact in (
        "quick would be started", "wide_resnet, 303,418 parameters", "6,000 to train on, 2,000 to test on",
        "steps 100: 3 epochs of 47 (training.max_steps ends it)", "evaluations 3", "training.epochs 8 -> 3",
        "training.max_steps none -> 100", "time not known", f"runs directory {runs_dir}",
    ):  # fmt: skip
        assert fact in said
    assert captured.err.endswith("No run was made. Without --dry-run the command trains.\n")
    assert "note: data.source = sample" in captured.err
    assert not runs_dir.exists()


def test_as_json_with_the_time_of_an_earlier_run(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earlier = finished_run(runs_dir)
    changes = ["--set", "optimizer.lr=0.2", "--epochs", "16", "--seed", "7"]
    assert main(["run", "preset", "quick", *changes, "--device", "cpu", "--dry-run", "--json"]) == 0
    captured = capsys.readouterr()
    (record,) = json_lines(captured.out)
    assert captured.err == ""
    assert (record["name"], record["preset"], record["seed"], record["group"]) == ("quick", "quick", 7, None)
    assert record["changed"] == {
        "seed": [40000, 7], "optimizer.lr": [0.1, 0.2], "training.epochs": [8, 16],
    }  # fmt: skip
    assert record["config"]["training"]["epochs"] == 16
    assert (record["parameters"], record["steps"], record["steps_per_epoch"]) == (303_418, 752, 47)
    assert (record["train_images"], record["test_images"], record["evaluations"]) == (6_000, 2_000, 16)
    # at 960 images/s, with evaluations of 0.625 s and 2 s to start, as `finished_run` has them
    seconds = 16 * 6_000 / 960 + 16 * 5.0 / 8 + 2.0
    assert record["earlier"] == {
        "run": earlier.id, "same_settings": True, "images_per_second": 960.0, "seconds": pytest.approx(seconds),
    }  # fmt: skip
    assert record["queued_behind"] is None and record["data_directory"].endswith("sample")
    assert [path.name for path in runs_dir.iterdir()] == [earlier.id]


def test_a_sweep_is_a_row_each(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earlier = finished_run(runs_dir)
    sweep = [
        "run",
        "preset",
        "quick",
        "--sweep",
        "optimizer.lr=0.05,0.2",
        "--seeds",
        "2",
        "--device",
        "cpu",
        "--dry-run",
    ]
    assert main(sweep) == 0
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.splitlines()]
    assert lines[0] == ["run", "seed", "parameters", "steps", "time"]
    assert [line[:5] for line in lines[1:5]] == [
        ["quick", f"lr={lr}", seed, "303,418", "376"] for lr in ("0.05", "0.2") for seed in ("40000", "40001")
    ]
    assert lines[5] == ["4", "runs", "3", "m", "48", "s"]  # of 57 s each
    assert "None of these 4 runs was made." in captured.err
    assert main([*sweep, "--json"]) == 0
    records = json_lines(capsys.readouterr().out)
    assert [(record["seed"], record["changed"].get("optimizer.lr")) for record in records] == [
        (40000, [0.1, 0.05]), (40001, [0.1, 0.05]), (40000, [0.1, 0.2]), (40001, [0.1, 0.2]),
    ]  # fmt: skip
    assert len({record["group"] for record in records}) == 1
    assert [path.name for path in runs_dir.iterdir()] == [earlier.id]


def test_what_would_be_ahead_in_the_queue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(launch.queue, "would_wait", lambda devices, count: "20260101-000000-other-aaaa")
    assert main(["run", "preset", "quick", "--dry-run"]) == 0
    assert "It would wait for its device behind 20260101-000000-other-aaaa." in capsys.readouterr().err
    assert main(["run", "preset", "quick", "--dry-run", "--now", "--json"]) == 0
    assert json_lines(capsys.readouterr().out)[0]["queued_behind"] is None


def test_data_that_would_be_fetched_and_data_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(source, "search_dirs", lambda data_dir=None: [tmp_path / "nothing here"])
    assert main(["run", "preset", "wrn", "--dry-run"]) == 0
    assert "not here: it would be fetched" in capsys.readouterr().out
    assert main(["run", "preset", "wrn", "--dry-run", "--data-dir", str(tmp_path / "nothing here")]) == 3
    assert "nothing here: no such directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "optimizer.lr=fast"], "optimizer.lr"),
        (["--device", "cuda:7"], "cuda:7"),
        (["--sweep", "optimizer.lr=0.1,0.2", "--now"], "--now"),
        (["--runs-dir", "/dev/null"], "/dev/null"),
    ],
)
def test_what_is_refused_is_refused_here_too(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "preset", "quick", "--dry-run", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == ""


def test_a_file_of_ones_own_that_is_of_no_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fmnist_tui.presets import to_toml

    (tmp_path / "mine.toml").write_text(to_toml(load_preset("quick").model_copy(update={"preset": None})))
    assert main(["run", "config", str(tmp_path / "mine.toml"), "--name", "mine", "--dry-run", "--json"]) == 0
    (record,) = json_lines(capsys.readouterr().out)
    assert (record["name"], record["preset"], record["changed"]) == ("mine", None, {})
