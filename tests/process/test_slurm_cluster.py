"""Runs on a real Slurm: a controller and two nodes on this machine's loopback interface (`slurm_cluster`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fmnist_tui.runs import store
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State, Status
from tests.events import messages
from tests.process.cli_helpers import TINY, status, wait_for
from tests.process.slurm_cluster import CannotRun, Cluster, cluster

New = Callable[..., RunDirectory]
JOB = ("--launcher=slurm", "--set=slurm.cpus_per_task=1")
LONG = (*TINY, *JOB, "--epochs=500", "--set=training.checkpoint_seconds=0.2", "--detach")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests here; skipped, with the reason, where there can be none."""
    entered = cluster(tmp_path_factory.mktemp("slurm"))
    try:
        running = entered.__enter__()
    except CannotRun as reason:
        pytest.skip(str(reason))
    try:
        yield running
    finally:
        entered.__exit__(None, None, None)


@pytest.fixture
def new(slurm: Cluster, runs_dir: Path) -> New:
    """Submits a long run."""

    def submit(*options: str) -> RunDirectory:
        done = slurm.fmnist("run", "preset", "quick", *LONG, *options, "--runs-dir", str(runs_dir))
        assert done.returncode == 0, done.stderr
        run = RunDirectory(runs_dir / done.stdout.strip())
        assert f"Submitted as Slurm job {job_of(run)}." in done.stderr
        return run

    return submit


def job_of(run: RunDirectory) -> str:
    job = last_launch(run).job
    assert job is not None and job.user == "root"
    return job.id


def until(run: RunDirectory, what: str, condition: Callable[[Status], bool]) -> Status:
    found: Status = wait_for(what, lambda: s if condition(s := status(run)) else None)
    return found


def listed(slurm: Cluster, run: RunDirectory) -> str:
    """The state that 'runs list' shows."""
    lines = slurm.fmnist("runs", "list", "--json", "--runs-dir", str(run.path.parent)).stdout.splitlines()
    return next(str(line["state"]) for line in map(json.loads, lines) if line["id"] == run.id)


def test_two_nodes_train_one_run(slurm: Cluster, runs_dir: Path) -> None:
    """Each node's task starts its own ranks, and they meet where Slurm's first node is."""
    short = (*TINY, "--epochs=1", "--set=training.max_steps=2")
    done = slurm.fmnist("run", "preset", "quick", *short, *JOB, "--nodes=2", "--runs-dir", str(runs_dir))
    assert done.returncode == 0, done.stderr
    (run,) = store.list_runs(runs_dir)
    assert run.state is State.FINISHED and run.result is not None and run.result.devices == 2
    assert run.status is not None and run.status.job is not None and run.status.job.id == job_of(run.directory)
    log = run.directory.worker_log.read_text()
    assert "[rank 0]" in log and "[rank 1]" in log, "what is printed on the other nodes is there as well"
    assert "epoch 1/1" in done.stdout


def test_a_preempted_run_is_requeued_and_goes_on_and_a_cancelled_one_stops(slurm: Cluster, new: New) -> None:
    """With a time of grace, in which the run saves, asks for its requeue and leaves; Slurm alone would not requeue."""
    run = new("--set=slurm.partition=graced")
    until(run, "steps and a checkpoint", lambda s: s.step >= 3 and run.checkpoint("last").exists())
    rival = slurm.slurm("sbatch", "--parsable", "--partition=high", "--nodes=2", "--exclusive", "--wrap=sleep 1")
    waiting = until(run, "the preemption", lambda s: s.state is State.QUEUED)
    assert waiting.pid is None and waiting.error is None and waiting.ended is None
    assert listed(slurm, run) == "queued"
    squeue = ("squeue", "--noheader", "--format=%i %T")
    wait_for("the rival's end", lambda: rival not in slurm.slurm(*squeue))
    wait_for("the requeue", lambda: f"{job_of(run)} PENDING" in slurm.slurm(*squeue))
    again = until(run, "more steps", lambda s: s.state is State.RUNNING and s.step > waiting.step)
    assert again.job == waiting.job and len(messages(run, "resume")) == 1

    slurm.slurm("scancel", job_of(run))
    stopped = until(run, "the end", lambda s: not s.state.alive)
    assert stopped.state is State.STOPPED and stopped.exit_code == 130 and stopped.step >= again.step
    assert messages(run, "stop")[-1] == f"Slurm ended job {job_of(run)}; the checkpoint is kept"


def test_a_pending_job_is_queued_can_be_taken_back_and_is_missed_when_gone(
    slurm: Cluster, new: New, runs_dir: Path
) -> None:
    slurm.slurm("sbatch", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 60")
    where = ("--runs-dir", str(runs_dir))
    run = new()
    assert listed(slurm, run) == "queued"
    refused = slurm.fmnist("runs", "delete", run.id, "--yes", *where)
    assert refused.returncode == 2 and "is queued; nothing was deleted" in refused.stderr
    stopped = slurm.fmnist("runs", "stop", run.id, *where)
    assert stopped.returncode == 0 and "was taken out of the queue" in stopped.stderr
    assert status(run).state is State.STOPPED
    assert job_of(run) not in slurm.slurm("squeue", "--noheader", "--format=%i")

    first = job_of(run)
    resumed = slurm.fmnist("run", "resume", run.id, "--detach", "--set=slurm.partition=graced", *where)
    assert resumed.returncode == 0, resumed.stderr
    assert job_of(run) != first, "as it was started before: by Slurm"
    assert slurm.slurm("squeue", "--noheader", f"--jobs={job_of(run)}", "--format=%P %C") == "graced 1"
    slurm.slurm("scancel", job_of(run))
    assert listed(slurm, run) == "lost"
    watched = slurm.fmnist("runs", "watch", run.id, *where)
    assert watched.returncode == 4 and f"its Slurm job {job_of(run)} was cancelled" in watched.stderr


def test_what_slurm_refuses_leaves_nothing_behind(slurm: Cluster, runs_dir: Path) -> None:
    bad = (*LONG, "--set=slurm.partition=nowhere", "--runs-dir", str(runs_dir))
    done = slurm.fmnist("run", "preset", "quick", *bad)
    assert done.returncode == 2 and "Slurm refused the job: invalid partition specified: nowhere" in done.stderr
    assert done.stderr.count("nowhere") == 1 and store.list_runs(runs_dir) == []
