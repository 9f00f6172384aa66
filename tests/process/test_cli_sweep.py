"""A sweep by the command line: its runs train one after the other in the queue, and share a group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist_tui.runs import process
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import list_runs
from tests.printed import json_lines
from tests.process.cli_helpers import TINY, finish, wait_for
from tests.process.forked_commands import run, start


@pytest.fixture(autouse=True)
def no_worker_left(runs_dir: Path) -> Iterator[None]:
    """Whatever a test started is gone after it."""
    yield
    for left in list_runs(runs_dir):
        if left.status is not None:
            process.kill_worker(left.status)


SHORT = (*TINY, "--set=training.max_steps=2", "--epochs=1")


def test_a_sweep_trains_all_its_runs(runs_dir: Path) -> None:
    done = run("run", "preset", "quick", *SHORT, "--sweep=optimizer.lr=0.05,0.1", "--runs-dir", str(runs_dir))
    assert done.returncode == 0, done.stderr
    runs = list_runs(runs_dir)
    assert [r.state for r in runs] == [State.FINISHED] * 2
    groups = {r.config.group for r in runs if r.config}
    assert sorted(r.config.optimizer.lr for r in runs if r.config) == [0.05, 0.1] and len(groups) == 1
    (group,) = groups
    assert group is not None and group in done.stdout and "optimizer.lr = 0.05" in done.stdout
    listed = json_lines(run("runs", "list", "--group", group, "--json", "--runs-dir", str(runs_dir)).stdout)
    assert [line["group"] for line in listed] == [group] * 2
    assert "Groups of runs" in run("report", "--runs-dir", str(runs_dir)).stdout


def test_ctrl_c_stops_every_run_of_a_sweep(runs_dir: Path) -> None:
    sweep = start("run", "preset", "quick", *TINY, "--epochs=500", "--seeds=2", "--json", "--runs-dir", str(runs_dir))
    wait_for("a run at work", lambda: any(r.state is State.RUNNING for r in list_runs(runs_dir)))
    wait_for("the other in the queue", lambda: any(r.state is State.QUEUED for r in list_runs(runs_dir)))
    sweep.terminate()
    code, _, errors = finish(sweep)
    assert code == 130, errors
    assert [r.state for r in list_runs(runs_dir)] == [State.STOPPED] * 2
