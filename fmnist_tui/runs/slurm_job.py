"""What runs inside a Slurm job: each node's task starts a worker and stands by it; the first one answers Slurm.

submitit pickles a `RunJob` at submission and calls it in every task. The worker is the one every launcher starts
(`python -m fmnist_tui.training RUN_DIR`); where there are several nodes they meet at the first one. Slurm's signals
mean a checkpoint: then the job is requeued, and goes on in the same run directory.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from fmnist_tui.runs import jobs, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.lost import death
from fmnist_tui.runs.mending import with_status
from fmnist_tui.runs.process import JOB, RENDEZVOUS, process_started, start_joining, start_worker
from fmnist_tui.runs.status import ExitCode, State

if TYPE_CHECKING:
    import subprocess

    from submitit.core.utils import DelayedSubmission

LOOK_SECONDS = 0.1
STATUS_SECONDS = 60.0
"""How long another node waits for a status that can be read: a shared file system may be behind."""
FIRST_PORT, PORTS = 20_000, 10_000
"""Where the nodes of a job meet: below the ports that systems give out by themselves (from 32,768 on Linux)."""


class RunJob:
    """One run, as submitit calls it in each task of the job."""

    def __init__(self, run: str) -> None:
        self.run = run
        """The run directory's absolute path, which every node must see."""
        self._worker: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"run": self.run, "_worker": None}

    def __call__(self) -> None:
        """Have the run trained and leave with the worker's exit code; a requeued job begins here again."""
        import submitit
        from submitit.core.utils import UncompletedJobError

        place = submitit.JobEnvironment()
        run = RunDirectory(Path(self.run))
        os.environ[JOB] = place.job_id
        if place.num_nodes > 1:
            os.environ[RENDEZVOUS] = rendezvous(place.job_id, place.hostnames[0])
        if place.global_rank > 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first task answers for all
            _await_status(run)
            with run.worker_log.open("ab") as log:
                code = start_joining(run, log).wait()
            sys.exit(0 if code == ExitCode.STOPPED else code)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        _mend_status(run, place.job_id)
        self._worker = start_worker(run)
        try:
            while self._worker.poll() is None:
                time.sleep(LOOK_SECONDS)
        except UncompletedJobError:  # submitit's handler has had the worker stopped, and will not requeue
            store.mark_stopped(run, f"job {place.job_id} was at its time limit once more than slurm.requeues allows")
            raise
        code = _noted(run, self._worker.returncode)
        if _awaits_slurm(run):
            _after_signal(run, place)
        sys.exit(0 if code == ExitCode.STOPPED else code)

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit on its signal, before it requeues the job: stop the worker with a checkpoint.

        Leaves instead where the run has ended by itself meanwhile.
        """
        from submitit.core.utils import DelayedSubmission

        assert self._worker is not None
        run = RunDirectory(Path(self.run))
        self._pass_on(signal.SIGTERM)
        while process_started(self._worker.pid) is not None:  # `__call__` waits for it too, and was interrupted
            time.sleep(LOOK_SECONDS)
        if not _awaits_slurm(run):
            status = store.read_status(run)
            code = status.exit_code if status is not None else None
            sys.exit(ExitCode.FAILED if code is None else 0 if code == ExitCode.STOPPED else code)
        return DelayedSubmission(self)

    def _pass_on(self, number: int, frame: FrameType | None = None) -> None:
        """Ask the worker to stop as this process was asked; Slurm signals a job's first process alone, or all."""
        if self._worker is not None and process_started(self._worker.pid) is not None:
            self._worker.send_signal(number)


def rendezvous(job_id: str, first_host: str) -> str:
    """HOST:PORT on the job's first node. Its address is the one Slurm itself uses, where Slurm tells."""
    host = os.environ.get("SLURM_LAUNCH_NODE_IPADDR") or first_host
    number = int(job_id.partition("_")[0])
    return f"{f'[{host}]' if ':' in host else host}:{FIRST_PORT + number % PORTS}"


def _mend_status(run: RunDirectory, job_id: str) -> None:
    """Make a status that can't be read anew, as a resume does: a node that lost its power may have left it empty.

    Where it can't be mended the worker says what is wrong.
    """
    values = {"state": State.STARTING, "job": jobs.own_job(job_id), "ended": None, "exit_code": None}
    try:
        with_status(store.load_run(run), **values)
    except (OSError, RunError) as error:
        print(f"{run.id}: its status could not be made anew: {error}", file=sys.stderr)


def _await_status(run: RunDirectory) -> None:
    """On the other nodes, wait until the first one has a status that can be read."""
    until = time.monotonic() + STATUS_SECONDS
    while store.read_status(run) is None and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)


def _noted(run: RunDirectory, code: int) -> int:
    """The exit code of a worker that has ended; a death without a word is written into the run."""
    if not _awaits_slurm(run):
        store.mark_failed(run, death(run, code), ExitCode.FAILED)  # only where nothing is written yet
    return ExitCode.FAILED if code < 0 else code


def _awaits_slurm(run: RunDirectory) -> bool:
    """Whether the worker has left because Slurm told it to, and the run is to go on in another start of the job."""
    status = store.read_status(run)
    return status is not None and status.state is State.QUEUED and status.pid is None


def _after_signal(run: RunDirectory, place: Any) -> None:
    """After SIGTERM, which may mean three things: back in the queue already, a time of grace, or the end."""
    requeued = jobs.requeued_since(place.job_id, int(os.environ.get("SLURM_RESTART_COUNT") or 0))
    if requeued is False:  # Slurm requeues a preempted job only if it is still there when the grace is over
        os.kill(os.getpid(), place._usr_sig())  # submitit's handler requeues, and does not return
    elif requeued is None:
        store.mark_stopped(run, f"Slurm ended job {place.job_id}; the checkpoint is kept")
