"""The worker as a process: start it detached, know it again by pid and start time, ask it to stop, kill it.

Called by the command line and the app. The worker itself is `python -m fmnist_tui.training RUN_DIR`.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

import psutil
from filelock import FileLock, Timeout
from pydantic import ValidationError

from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import Control, ControlRequest, State, Status, seconds_since

HEARTBEAT_SECONDS = 2.0
"""How often a worker renews its heartbeat."""
HEARTBEAT_LIMIT = 60.0
"""A worker on another machine is taken for lost after this many seconds without a heartbeat."""
STARTING_LIMIT = 30.0
"""A started worker that has not yet written its pid after this many seconds is taken for lost."""


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


def actual_state(status: Status, alive: Callable[[int, float | None], bool] = is_process) -> State:
    """The state every view shows: the file's, or LOST where it says alive and the process is dead.

    On this host pid and start time decide; for a worker on another host the heartbeat does.
    """
    if not status.state.alive:
        return status.state
    if status.host == socket.gethostname():
        if status.pid is not None:
            return status.state if alive(status.pid, status.pid_started) else State.LOST
        limit = STARTING_LIMIT
    else:
        limit = HEARTBEAT_LIMIT
    return status.state if abs(seconds_since(status.heartbeat)) < limit else State.LOST


def start_worker(run: RunDirectory) -> subprocess.Popen[bytes]:
    """Start the run's worker in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it.

    The run directory must hold config.json and launch.json (`store.create_run`, `store.prepare_resume`).
    """
    environment = os.environ | {"PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}
    with run.worker_log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "fmnist_tui.training", str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            close_fds=True,
        )


def is_locked(run: RunDirectory) -> bool:
    """Whether a worker holds the run at this moment (the lock ends with its process, however that ends)."""
    if not run.lock.exists():
        return False
    try:
        with FileLock(run.lock, timeout=0):
            return False
    except Timeout:
        return True


def read_control(run: RunDirectory) -> Control:
    """The requests to a run's worker; none where the file is missing or not ours."""
    try:
        return Control.model_validate_json(run.control.read_bytes())
    except (OSError, ValidationError):
        return Control()


def send_request(
    run: RunDirectory, request: Literal["stop", "stop_after_epoch", "checkpoint", "edit"], **values: Any
) -> ControlRequest:
    """Ask a run's worker for something; it answers with an event in the metrics. Raises ValueError for bad values.

    Two that ask at once do not lose each other's request.
    """
    try:
        made = ControlRequest(id=secrets.token_hex(6), request=request, **values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}") from None
    with FileLock(run.control.with_suffix(".lock"), timeout=10):
        control = read_control(run)
        control.requests.append(made)
        replace_bytes(run.control, control.to_json().encode())
    return made


def kill_worker(status: Status) -> bool:
    """Kill a run's worker and its children at once; True where there was one to kill on this host."""
    if status.pid is None or status.host != socket.gethostname() or not is_process(status.pid, status.pid_started):
        return False
    try:
        worker = psutil.Process(status.pid)
        family = [worker, *worker.children(recursive=True)]
    except psutil.Error:
        return False
    for process in family:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    psutil.wait_procs(family, timeout=5)
    return True
