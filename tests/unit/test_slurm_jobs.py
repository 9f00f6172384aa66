"""What Slurm answers about jobs, what that makes of their runs and how they end, with small programs in its place."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fmnist_tui.runs import jobs, stopping, store
from fmnist_tui.runs.lost import why_lost
from fmnist_tui.runs.process import actual_state
from fmnist_tui.runs.queue import place_in_words
from fmnist_tui.runs.requests import read_control
from fmnist_tui.runs.status import State
from fmnist_tui.tui import launching
from fmnist_tui.tui.outcome import outcome
from tests.unit.slurm_programs import Program, job, made, waiting

pytestmark = pytest.mark.usefixtures("nothing_known")


# --- what Slurm says


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("echo '12|PENDING|Priority'", State.QUEUED),
        ("echo '12|CONFIGURING|None'", State.QUEUED),
        ("echo '12|COMPLETING|None'", State.QUEUED),
        ("echo '12|CANCELLED|None'", State.LOST),
        ("echo '12|TIMEOUT|TimeLimit'", State.LOST),
        ("echo '13|RUNNING|None'", State.LOST),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", State.QUEUED),
    ],
)
def test_a_run_that_waits_is_lost_only_where_slurm_says_so(answer: str, state: State, program: Program) -> None:
    program("squeue", answer)
    assert actual_state(waiting()) is state


def test_without_slurms_programs_the_file_is_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert actual_state(waiting()) is State.QUEUED
    assert place_in_words(waiting()) == "Slurm job 12"


def test_a_job_that_others_may_not_see_is_not_taken_for_gone(program: Program) -> None:
    program("squeue", "exit 0")
    assert actual_state(waiting(job=job(user="somebody-else"))) is State.QUEUED
    assert actual_state(waiting(job=job("13"))) is State.LOST


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("PENDING|BeginTime", State.QUEUED),
        ("RUNNING|None", State.RUNNING),
        ("NODE_FAIL|None", State.LOST),
    ],
)
def test_a_silent_worker_is_lost_unless_slurm_still_has_its_job(answer: str, state: State, program: Program) -> None:
    """Its node has failed, and Slurm requeues the job by itself; or only the file system is slow."""
    program("squeue", f"echo '12|{answer}'")
    assert actual_state(waiting(state=State.RUNNING, pid=77, pid_started=1.0, host="node7")) is state


def test_slurm_is_asked_seldom_and_for_all_at_once(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = program("squeue", "echo '12|PENDING|Priority'; echo '13|RUNNING|None'")
    for _ in range(5):
        assert jobs.look(job("12")) == jobs.JobView("PENDING", "Priority")
        assert jobs.look(job("13")) == jobs.JobView("RUNNING", "None")
    (asked,) = calls.read_text().splitlines()
    assert asked.endswith(f"--user={getpass.getuser()}")
    monkeypatch.setattr(jobs, "ASK_SECONDS", 0.0)
    jobs.look(job("12"))
    assert len(calls.read_text().splitlines()) == 2


def test_a_controller_that_does_not_answer_is_left_alone_for_a_while(program: Program) -> None:
    calls = program("squeue", "exit 1")
    for _ in range(3):
        assert jobs.look(job()) is None
    assert len(calls.read_text().splitlines()) == 1


def test_old_jobs_are_looked_up_in_the_accounts_once(program: Program) -> None:
    program("squeue", "exit 0")
    calls = program("sacct", "echo 'CANCELLED by 1000'")
    assert [jobs.look(job()) for _ in range(3)] == [jobs.JobView("CANCELLED")] * 3
    assert len(calls.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("shown", "answer"),
    [("RUNNING Restarts=1", False), ("COMPLETING Restarts=2", True), ("COMPLETING Restarts=1", None)],
)
def test_what_a_signal_meant(shown: str, answer: bool | None, program: Program) -> None:
    """A time of grace, a requeue of Slurm's own, or the end; the words are those of Slurm 22.05."""
    program("scontrol", f"echo '   JobState={shown} BatchFlag=1'")
    assert jobs.requeued_since("12", restarts=1) is answer


# --- in words


def test_where_a_run_stands_in_words(program: Program, runs_dir: Path) -> None:
    program("squeue", "echo '12|PENDING|QOSMaxGRESPerUser'; echo '13|PENDING|Priority'")
    actual_state(waiting())
    actual_state(waiting(job=job("13")))
    assert place_in_words(waiting()) == "Slurm job 12, pending (QOSMaxGRESPerUser)"
    preempted = waiting(job=job("13"), phase="to go on from its checkpoint")
    assert place_in_words(preempted) == "Slurm job 13, pending (others go first), to go on from its checkpoint"
    run = made(runs_dir, job=job("13"))
    assert outcome(run, datetime.now(UTC))[0].text == "Queued: Slurm job 13, pending (others go first)."


def test_why_a_run_was_lost(program: Program, runs_dir: Path) -> None:
    program("squeue", "echo '12|FAILED|NonZeroExitCode'; echo '13|TIMEOUT|TimeLimit'")
    run = made(runs_dir, job=job())
    run.directory.slurm.mkdir()
    log = run.directory.slurm / "12_0_log.err"
    log.touch()
    assert run.state is State.LOST and why_lost(run) == f"its Slurm job 12 failed; its log is {log}"
    at_work = made(runs_dir, job=job("13"), state=State.RUNNING, pid=7, host="node7", heartbeat="2026-01-01T00:00:00Z")
    assert why_lost(at_work).startswith(
        "its Slurm job 13 was killed at its time limit, before a checkpoint was written;"
    )
    assert "its process (pid 7 on node7) is gone without a word" in why_lost(at_work)


# --- stopping


def test_a_pending_job_is_taken_out(program: Program, runs_dir: Path) -> None:
    program("squeue", '[ -e "$0.cancelled" ] && echo "12|CANCELLED|None" || echo "12|PENDING|Priority"')
    calls = program("scancel", 'touch "${0%scancel}squeue.cancelled"')
    run = made(runs_dir, job=job())
    assert launching.ask_to_stop(run.directory, False).how == "left"
    assert calls.read_text() == "--state=PENDING 12\n" and not run.directory.control.exists()
    stopped = store.load_run(run.directory)
    assert stopped.state is State.STOPPED and stopped.status is not None and stopped.status.exit_code == 130
    assert "Slurm job 12 was taken out of the queue" in run.directory.metrics.read_text()


@pytest.mark.parametrize("answer", ["echo '12|RUNNING|None'", "exit 1"])
def test_a_job_that_begins_at_this_moment_meets_a_request(answer: str, program: Program, runs_dir: Path) -> None:
    """As does one that can't be asked about."""
    program("squeue", answer)
    run = made(runs_dir, job=job())
    assert stopping.ask(run).how == "asked"
    assert [request.request for request in read_control(run.directory).requests] == ["stop"]
