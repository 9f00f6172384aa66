"""Ask a run to stop, or kill it, whoever has started its worker. For the command line and the app."""

from __future__ import annotations

import time
from typing import Literal, NamedTuple

from fmnist_tui.runs import jobs, process, requests, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run

JOB_SECONDS = 45.0
"""How long a cancelled Slurm job is waited for: Slurm kills it after 30 s (KillWait) at the latest, as a rule."""
LOOK_SECONDS = 0.5


class Answer(NamedTuple):
    """What became of a wish to stop."""

    how: Literal["asked", "signalled", "left"]
    """A request is written; a signal was sent; the run waited for Slurm, and does no more."""
    why: str = ""
    """Why no request could be written."""
    sooner: bool = False
    """Whether it was to be after the epoch, and an earlier wish to stop at once holds: of two the sooner does."""

    @property
    def signal_words(self) -> str:
        """What to know where a signal was sent."""
        return (
            f"its request could not be written ({self.why}), so its worker was told by a signal to stop with a "
            "checkpoint. Don't stop it again: a second signal ends it without one"
        )


_signalled: dict[tuple[int | None, float | None], Answer] = {}
"""The workers this process has signalled, and what was said: a second signal would cost the checkpoint."""


def ask(run: Run, after_epoch: bool = False) -> Answer:
    """Ask a run to stop with a checkpoint, at once or after its epoch.

    A job that begins at this moment meets the request. Where it can't be written (a full disk) a worker on this host
    that is to stop at once is sent a signal; else raises RunError.
    """
    status = run.status
    if status is not None and status.job is not None and run.state is State.QUEUED and jobs.cancel_pending(status.job):
        store.mark_stopped(run.directory, f"Slurm job {status.job.id} was taken out of the queue")
        return Answer("left")
    asked = {request.request for request in requests.read_control(run.directory).requests}
    signalled = run.state is State.STOPPING and "stop_after_epoch" not in asked
    try:
        requests.send_request(run.directory, "stop_after_epoch" if after_epoch else "stop")
    except requests.CannotWrite as error:
        if status is None:
            raise
        if after_epoch:
            raise RunError(f"{error}, or stop it at once, by a signal") from None
        worker = (status.pid, status.pid_started)
        if worker not in _signalled:
            if not process.signal_stop(status):
                raise
            _signalled[worker] = Answer("signalled", error.why)
        return _signalled[worker]
    return Answer("asked", sooner=after_epoch and ("stop" in asked or signalled))


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
