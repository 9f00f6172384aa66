"""Slurm jobs as seen from outside: whether one waits, runs or is gone, why, and how to end it.

Asks Slurm's own programs (squeue, sacct, scontrol, scancel), seldom and for all jobs at once, so that a screen full of
runs is no burden to a cluster. Where they are missing or don't answer nothing is known, and a run's files are
believed. Called by `process.actual_state`, `lost`, `stopping` and, within a job, by `slurm_job`.
"""

from __future__ import annotations

import getpass
import re
import subprocess
import threading
import time
from typing import NamedTuple

from fmnist_tui.runs.status import SlurmJob, Status

ASK_SECONDS = 10.0
"""Between two questions about the same job."""
REST_SECONDS = 60.0
"""Before Slurm is asked again where it did not answer."""
ANSWER_SECONDS = 10.0
"""A controller that is slower than this is taken for one that does not answer."""
GONE = "GONE"
"""The state of a job that Slurm does not know (any more)."""

_ENDED = {
    "BOOT_FAIL": "was lost: its node did not start",
    "CANCELLED": "was cancelled",
    "COMPLETED": "has ended",
    "DEADLINE": "could not end before its deadline",
    "FAILED": "failed",
    "NODE_FAIL": "was lost: its node failed",
    "OUT_OF_MEMORY": "was killed for lack of memory; ask for more (slurm.mem)",
    "PREEMPTED": "was preempted, and not requeued",
    "REVOKED": "was taken back",
    "TIMEOUT": "was killed at its time limit, before a checkpoint was written",
    GONE: "is not known to Slurm any more",
}
"""The states in which nothing more comes from a job, in words."""

_REASONS = {
    "BeginTime": "Slurm starts it again in about two minutes",
    "Dependency": "waits for another job",
    "JobHeldAdmin": "held by an administrator",
    "JobHeldUser": "held by its user",
    "Licenses": "waits for a licence",
    "PartitionNodeLimit": "asks for more nodes than the partition has",
    "PartitionTimeLimit": "asks for more time than the partition allows",
    "Priority": "others go first",
    "ReqNodeNotAvail": "its nodes are not available",
    "Resources": "waits for free nodes",
}
"""Slurm's reasons for what most people don't know by heart; any other is shown as it is."""


class JobView(NamedTuple):
    """What Slurm says of a job."""

    state: str
    """Slurm's word: PENDING, RUNNING, COMPLETING, CANCELLED, ..., or GONE."""
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes from it."""
        return self.state in _ENDED

    @property
    def waits(self) -> bool:
        """Whether it has no nodes."""
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT")

    @property
    def words(self) -> str:
        """'pending (others go first)', 'was cancelled'."""
        if self.state in _ENDED:
            return _ENDED[self.state]
        why = "" if self.reason in ("", "None") else f" ({_REASONS.get(self.reason, self.reason)})"
        return self.state.lower().replace("_", " ") + why


class _Known:
    """What was asked for and answered, for all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked_at: dict[str, float] = {}
        """By user; when an answer came, or is not to be asked for before."""
        self.answers: dict[str, dict[str, JobView] | None] = {}
        """By user and job."""
        self.views: dict[str, JobView] = {}
        """By job, what was said last."""


_known = _Known()


def look(job: SlurmJob, now: bool = False) -> JobView | None:
    """What Slurm says of a job, ASK_SECONDS old at most (0 with `now`); None where it can't be asked.

    One question is for all jobs of a user. Other people's jobs are asked about too, but one that is not shown is not
    taken for gone.
    """
    user = job.user or _user()
    with _known.lock:
        old = _known.views.get(job.id)
        if old is not None and old.ended and not now:
            return old
        at = time.monotonic()
        if now or user not in _known.asked_at or at - _known.asked_at[user] >= ASK_SECONDS:
            answer = _known.answers[user] = _ask(user)
            _known.asked_at[user] = at if answer is not None else at + REST_SECONDS
        answer = _known.answers[user]
        if answer is None or (job.id not in answer and user != _user()):
            return None
        view = _known.views[job.id] = answer.get(job.id) or _ended_view(job.id)
        return view


def last_seen(job: SlurmJob) -> JobView | None:
    """What `look` was last told; asks nobody, so that it may be called while a screen is drawn."""
    return _known.views.get(job.id)


def in_words(status: Status) -> str:
    """Where a run stands that waits for Slurm: 'Slurm job 12, pending (others go first)'."""
    assert status.job is not None
    view = last_seen(status.job)
    known = f", {view.words}" if view is not None else ""
    return f"Slurm job {status.job.id}{known}" + (f", {status.phase}" if status.phase else "")


def own_job(job_id: str) -> SlurmJob:
    """A job of this user's."""
    return SlurmJob(id=job_id, user=_user())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return ""


def _ask(user: str) -> dict[str, JobView] | None:
    """squeue's answer for a user's jobs; ended ones are in it for some minutes. None where there is none."""
    done = _run(["squeue", "--noheader", "--states=all", "--format=%i|%T|%r", f"--user={user}"])
    if done is None or done.returncode != 0:
        return None
    rows = [line.strip().split("|", 2) for line in done.stdout.splitlines()]
    return {row[0]: JobView(row[1], row[2]) for row in rows if len(row) == 3}


def _ended_view(job_id: str) -> JobView:
    """How a job ended that squeue does not list any more, where the cluster keeps accounts."""
    done = _run(["sacct", "--noheader", "--parsable2", "--allocations", "--format=State", f"--jobs={job_id}"])
    lines = done.stdout.split() if done is not None and done.returncode == 0 else []
    return JobView(lines[0] if lines and lines[0] in _ENDED else GONE)  # of 'CANCELLED by 1000' the first word


def _run(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    """A program of Slurm's, run to its end; None where it is missing or too slow."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_SECONDS, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def requeued_since(job_id: str, restarts: int) -> bool | None:
    """From within a job that was told to end: whether Slurm puts it back into its queue by itself.

    False where it runs on and only has a time of grace; None where it ends for good, or nothing is known. `restarts`
    is how often it had been requeued when it began.
    """
    done = _run(["scontrol", "show", "job", job_id])
    if done is None or done.returncode != 0:
        return None
    count, state = re.search(r"\bRestarts=(\d+)", done.stdout), re.search(r"\bJobState=(\w+)", done.stdout)
    if count is not None and int(count[1]) > restarts:
        return True
    return False if state is not None and state[1] == "RUNNING" else None


def cancel_pending(job: SlurmJob) -> bool:
    """Take a job out of Slurm's queue; False where it is not there (any more), or Slurm can't be asked."""
    _run(["scancel", "--state=PENDING", job.id])
    view = look(job, now=True)
    return view is not None and view.ended


def cancel(job: SlurmJob) -> bool:
    """End a job wherever it stands; False where Slurm refuses.

    Slurm gives it KillWait (30 s where the cluster does not say otherwise) before it kills.
    """
    done = _run(["scancel", job.id])
    return done is not None and done.returncode == 0
