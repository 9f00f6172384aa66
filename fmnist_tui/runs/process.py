"""The worker as a process: start it detached, know it again by pid and start time, signal it, kill it.

Called by the command line and the app. The worker itself is `python -m fmnist_tui.training RUN_DIR`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
from filelock import FileLock, Timeout
from pydantic import ValidationError

from fmnist_tui.runs import jobs
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import seconds_since, utc_now
from fmnist_tui.runs.status import State, Status

HEARTBEAT_SECONDS = 2.0
"""How often a worker renews its heartbeat."""
HEARTBEAT_LIMIT = 60.0
"""A worker that no pid can be asked about is taken for lost after this many seconds without a heartbeat."""
STARTING_LIMIT = 30.0
"""A started worker that has not yet written its pid after this many seconds is taken for lost."""


STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""They ask a worker to stop with a checkpoint."""
JOB = "FMNIST_TUI_JOB"
"""Set for the workers of a Slurm job: its id."""
RENDEZVOUS = "FMNIST_TUI_RENDEZVOUS"
"""Set for the workers of a Slurm job on several nodes: where they meet, HOST:PORT."""
ADDED = "FMNIST_TUI_ADDED"
"""Set for workers: names, with commas, of the variables they have and the user's shell has not."""
SPIN_COUNT = "1000"
"""Turns of the loop in which GNU's OpenMP waits before it puts a thread to sleep; 300,000 by its own choice."""


def process_started(pid: int) -> float | None:
    """A process's start time (seconds since the epoch, psutil's clock); None where it is gone or a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_process(pid: int, started: float | None) -> bool:
    """Whether this very process still lives: the pid alone may have been given to another."""
    now = process_started(pid)
    return now is not None and (started is None or abs(now - started) < 1.0)


def actual_state(status: Status | None, alive: Callable[[int, float | None], bool] = is_process) -> State:
    """The state every view shows: the file's, or LOST where it says alive and the process is dead.

    LOST, too, without a status: where status.json is missing or damaged nobody can tell how the run ended.

    On this host pid and start time decide; for a worker on another host the heartbeat does. A system clock
    that was set moves the start times psutil tells of all processes, so a start time that does not fit (or is
    not known) counts only together with an old heartbeat.

    Of a run in a Slurm job, Slurm is asked before it is called lost: it is queued while the job waits (again).
    """
    if status is None:
        return State.LOST
    if not status.state.alive:
        return status.state
    if status.job is not None and status.pid is None:
        view = jobs.look(status.job)
        return State.LOST if view is not None and view.ended else status.state
    state = _state_by_process(status, alive)
    if state is State.LOST and status.job is not None:
        view = jobs.look(status.job)
        if view is not None and not view.ended:
            return State.QUEUED if view.waits else status.state
    return state


def _state_by_process(status: Status, alive: Callable[[int, float | None], bool]) -> State:
    """`actual_state` of a run that has, or had, a worker."""
    limit = HEARTBEAT_LIMIT
    if status.host == socket.gethostname():
        if status.pid is None:
            limit = STARTING_LIMIT
        elif status.pid_started is not None and alive(status.pid, status.pid_started):
            return status.state
        elif not alive(status.pid, None):
            return State.LOST
    return status.state if abs(seconds_since(status.heartbeat)) < limit else State.LOST


def start_worker(run: RunDirectory) -> subprocess.Popen[bytes]:
    """Start the run's worker in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it.

    The run directory must hold config.json and launch.json (`starting.create_run`, `starting.prepare_resume`). A worker
    that dies before its first word shows as lost at once, because its pid is written down here; one that is asked to
    stop by a signal answers it as soon as it can.
    """
    with run.worker_log.open("ab") as log, status_noted(run) as write_down, stop_signals_held():
        worker = subprocess.Popen(
            [sys.executable, "-m", "fmnist_tui.training", str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=worker_environment(),
            start_new_session=True,
            close_fds=True,
        )
        write_down(pid=worker.pid, pid_started=process_started(worker.pid))
        return worker


@contextmanager
def stop_signals_held() -> Iterator[None]:
    """Signals that stop a worker wait while a new program begins, which inherits this, until it listens to them.

    Else SIGTERM would kill a worker that has not come to its own handler yet (0.3 s, mostly imports). SIGUSR2 waits
    for ever: by it Slurm announces the end of a job, sometimes to all of its processes, and `slurm_job` answers.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*STOP_SIGNALS, signal.SIGUSR2))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def status_noted(run: RunDirectory) -> Iterator[Callable[..., None]]:
    """Holds the run's lock, which a worker takes before its first word, while the launcher writes down who it is.

    What it yields takes fields of the status. Where another worker has the run, or nothing can be written, nothing is
    written down: the worker will say why.
    """

    def write_down(**values: Any) -> None:
        try:
            status = Status.model_validate_json(run.status.read_bytes())
            update = {"host": socket.gethostname(), "heartbeat": utc_now(), **values}
            replace_bytes(run.status, status.model_copy(update=update).to_json().encode())
        except (OSError, ValidationError):
            return

    def write_nothing(**values: Any) -> None:
        return

    lock = FileLock(run.lock, timeout=0)
    try:
        lock.acquire()
    except OSError:  # also filelock's Timeout
        yield write_nothing
        return
    try:
        yield write_down
    finally:
        lock.release()


def start_joining(run: RunDirectory, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start this machine's part of a run of another machine's; it ends with this process.

    It says all on stderr, or in `log`.
    """
    with stop_signals_held():
        return subprocess.Popen(
            [sys.executable, "-m", "fmnist_tui.training", str(run.path), "--join"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=worker_environment(),
            start_new_session=True,  # Ctrl-C reaches the run as a request
            close_fds=True,
        )


def worker_environment() -> dict[str, str]:
    """This process's environment and what one that trains has besides; `users_environment` takes that out again."""
    environment = os.environ | {"PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}
    environment["PYTHONSAFEPATH"] = "1"  # "-m" would import a user's ./random.py in place of Python's own
    # OpenMP's threads hardly spin at a barrier before they sleep; docs/trainer.md has what it brings. Not at all would
    # make each of a network's many short operations wait for the system to wake them.
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        environment |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": SPIN_COUNT}
    before = os.environ.get(ADDED, "").split(",")
    environment[ADDED] = ",".join(sorted({*before, *(environment.keys() - os.environ.keys())} - {""}))
    return environment


def users_environment() -> dict[str, str]:
    """This process's environment without what `worker_environment` has added to the user's own."""
    added = {ADDED, *os.environ.get(ADDED, "").split(",")}
    return {name: value for name, value in os.environ.items() if name not in added}


def is_locked(run: RunDirectory) -> bool:
    """Whether a worker holds the run at this moment (the lock ends with its process, however that ends)."""
    return is_held(run.lock)


def is_held(lock: Path) -> bool:
    """Whether some process holds a lock file at this moment."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # another user's: what the caller goes on to do will fail, and say why
        return False


def worker_here(status: Status) -> psutil.Process | None:
    """A run's worker; None where it is not on this host or gone.

    So it is without a start time that fits: the pid may have been given to another process.
    """
    if status.pid is None or status.pid_started is None or status.host != socket.gethostname():
        return None
    if not is_process(status.pid, status.pid_started):
        return None
    try:
        return psutil.Process(status.pid)
    except psutil.Error:
        return None


def signal_stop(status: Status) -> bool:
    """Tell a run's worker by a signal to stop with a checkpoint; False where there was none to tell on this host.

    In a Slurm job SIGTERM means that Slurm ends this start of the run, and SIGINT that somebody does. A second signal
    ends the worker at once.
    """
    worker = worker_here(status)
    if worker is None:
        return False
    try:
        worker.send_signal(signal.SIGTERM if status.job is None else signal.SIGINT)
    except psutil.Error:  # another user's
        return False
    return True


def kill_worker(status: Status) -> bool:
    """Kill a run's worker and its children at once; True where there was one to kill on this host."""
    worker = worker_here(status)
    if worker is None:
        return False
    try:
        family = [worker, *worker.children(recursive=True)]
    except psutil.Error:
        return False
    for process in family:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    # psutil's own wait would take the exit status from the launcher, which then sees a worker that ended well.
    end = time.monotonic() + 5.0
    while any(process_started(process.pid) is not None for process in family) and time.monotonic() < end:
        time.sleep(0.02)
    return True
