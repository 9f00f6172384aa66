"""A stop that can't be asked for is a signal: to the right worker, on this machine, once."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable

import psutil
import pytest

from fmnist_tui.runs import process, stopping
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import SlurmJob, State, Status
from fmnist_tui.runs.store import Run
from tests.full_disk import disk_full


def a_worker(children: Callable[..., subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """One that says which signals it got."""
    code = (
        "import signal, sys\n"
        "for n in (signal.SIGTERM, signal.SIGINT):\n"
        "    signal.signal(n, lambda n, _: print(signal.Signals(n).name, flush=True))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    return children(code)


@pytest.mark.parametrize(("job", "name"), [(None, "SIGTERM"), (SlurmJob(id="12"), "SIGINT")])
def test_a_stop_that_cannot_be_written_is_a_signal_and_only_one(
    job: SlurmJob | None,
    name: str,
    empty_run: RunDirectory,
    children: Callable[..., subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To a worker in a Slurm job SIGTERM would mean that Slurm ends this start, and the run would wait for the next."""
    disk_full(monkeypatch)
    worker = a_worker(children)
    status = {"pid": worker.pid, "pid_started": process.process_started(worker.pid), "host": socket.gethostname()}
    at_work = Run(empty_run, None, Status(state=State.RUNNING, job=job, **status), None, State.RUNNING)
    with pytest.raises(ValueError, match="or stop it at once, by a signal"):
        stopping.ask(at_work, after_epoch=True)
    answer = stopping.ask(at_work)
    assert answer.how == "signalled" and "could not be written (No space left on device)" in answer.signal_words
    assert stopping.ask(at_work) == answer
    assert worker.stdout is not None and worker.stdout.readline() == name + "\n"
    assert worker.communicate("", timeout=20) == ("", None), "a second signal did not come"


def test_no_signal_goes_to_another_machine(empty_run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_full(monkeypatch)
    status = Status(state=State.RUNNING, pid=os.getpid(), pid_started=psutil.Process().create_time(), host="elsewhere")
    with pytest.raises(ValueError, match="cannot be asked: No space left on device"):
        stopping.ask(Run(empty_run, None, status, None, State.RUNNING))
