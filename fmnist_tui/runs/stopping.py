"""Ask a run to stop, or kill it, whoever has started its worker. For the command line and the app."""

from __future__ import annotations

import time

from fmnist_tui.runs import jobs, process, store
from fmnist_tui.runs.records import State
from fmnist_tui.runs.store import Run

JOB_SECONDS = 45.0
"""How long a cancelled Slurm job is waited for: Slurm kills it after 30 s (KillWait) at the latest, as a rule."""
LOOK_SECONDS = 0.5


def ask(run: Run, after_epoch: bool = False) -> bool:
    """Ask a run to stop with a checkpoint; True where it has ended by that: it waited for Slurm, and does no more.

    A job that begins at this moment meets the request. Raises ValueError where it can't be written.
    """
    status = run.status
    if status is not None and status.job is not None and run.state is State.QUEUED and jobs.cancel_pending(status.job):
        store.mark_stopped(run.directory, f"Slurm job {status.job.id} was taken out of the queue")
        return True
    process.send_request(run.directory, "stop_after_epoch" if after_epoch else "stop")
    return False


def killable(run: Run, host: str) -> bool:
    """Whether `kill` can reach the run's worker from this host."""
    return run.status is not None and (run.status.job is not None or run.status.host == host)


def kill(run: Run) -> bool:
    """Kill a run's worker; False where there was none to kill.

    A Slurm job is cancelled, and waited for: its worker may have the time to write a checkpoint and say so.
    """
    assert run.status is not None
    job = run.status.job
    if job is None:
        return process.kill_worker(run.status)
    if not jobs.cancel(job):
        return False
    until = time.monotonic() + JOB_SECONDS
    while time.monotonic() < until:
        view = jobs.look(job, now=True)
        if view is None or view.ended:
            break
        time.sleep(LOOK_SECONDS)
    return True
