"""The script that fills the benchmark table, run for real with steps few enough for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fmnist_tui import report
from fmnist_tui.runs import store
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, SystemRecord, TrainRecord, parse_metric
from tests.process.cli_helpers import SECONDS, environment

ROOT = Path(__file__).resolve().parents[2]


def campaign(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    where = [f"--runs-dir={tmp_path / 'work'}", f"--archive={tmp_path / 'archive'}", "--device=cpu"]
    smoke = ["--set=data.source=sample", "--set=training.max_steps=3", "--set=training.batch_size=32"]
    command = [sys.executable, str(ROOT / "benchmarks" / "campaign.py"), *where, *smoke, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=2 * SECONDS, env=environment() | {"PYTHONPATH": str(ROOT)}
    )


def test_a_campaign_archives_what_the_table_is_made_of_and_skips_what_is_done(tmp_path: Path) -> None:
    plan = ("--plan=turbo", "--only=turbo", "--seeds=1")
    done = campaign(tmp_path, *plan)
    assert done.returncode == 0, done.stderr
    (run,) = store.list_runs(tmp_path / "archive")
    (original,) = store.list_runs(tmp_path / "work")
    assert run.result is not None and run.result == original.result
    assert run.config == original.config and run.config is not None and run.config.seed == 40_000
    assert not run.directory.checkpoints.exists() and not run.directory.predictions.exists()
    kinds = {type(parse_metric(line)) for line in run.directory.metrics.read_bytes().splitlines()}
    assert kinds == {TrainRecord, EvalRecord, EventRecord} and SystemRecord not in kinds
    assert f"{run.result.test_accuracy:.2f}" in report.render(tmp_path / "archive")
    assert f"{run.result.test_accuracy:.2f}" in done.stdout

    again = campaign(tmp_path, *plan)
    assert again.returncode == 0, again.stderr
    assert [r.id for r in store.list_runs(tmp_path / "work")] == [run.id], "a finished job is not run again"


def test_a_slice_that_is_over_leaves_the_rest_for_the_next_call(tmp_path: Path) -> None:
    done = campaign(tmp_path, "--slice-seconds=0")
    assert done.returncode == 75 and not store.list_runs(tmp_path / "work")


def test_a_campaign_with_a_failed_job_is_not_complete(tmp_path: Path) -> None:
    plan = ("--plan=turbo", "--only=turbo", "--seeds=2", "--set=data.source=full", "--data-dir=nowhere")
    done = campaign(tmp_path, *plan)
    assert done.returncode == 1 and done.stdout.count("failed: The Fashion-MNIST data set was not found") == 2
    assert not store.list_runs(tmp_path / "archive")


def test_a_preset_outside_the_plan_is_refused(tmp_path: Path) -> None:
    done = campaign(tmp_path, "--plan=turbo", "--only=wrn")
    assert done.returncode == 2 and "--only wrn: not in the plan turbo" in done.stderr
