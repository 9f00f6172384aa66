"""Workers forked with torch loaded, for tests and the soak, whose claims begin when a worker is at work: a cheap start.

They are what `process.start_worker` starts, from `training.__main__.main` on: processes of their own with a session,
an environment and a log of their own. A whole start takes 3.5 s of processor time, most of it the import of torch;
tests of what happens while a worker starts ask for whole ones.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from fmnist_tui.runs import process
from fmnist_tui.runs.layout import RunDirectory

SERVER = multiprocessing.get_context("forkserver")
"""One process for each pytest process, which has no threads, imports the following once and forks whenever asked."""
LOADED = ["torch", "fmnist_tui.training.__main__", "fmnist_tui.training.attempt"]


class ForkedWorker:
    """A worker's process, with what tests use of subprocess.Popen."""

    def __init__(self, run: RunDirectory) -> None:
        SERVER.set_forkserver_preload(LOADED)
        umask = os.umask(0)
        os.umask(umask)
        given = (str(run.path), process.worker_environment(), str(Path.cwd()), umask)
        with process.status_noted(run) as write_down, process.stop_signals_held():
            self._process = SERVER.Process(target=work, args=given)
            self._process.start()
            assert self._process.pid is not None
            self.pid = self._process.pid
            write_down(pid=self.pid, pid_started=process.process_started(self.pid))

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the worker has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def work(path: str, environment: Mapping[str, str], directory: str, umask: int) -> None:
    """What the forked process does: as `python -m fmnist_tui.training RUN_DIR`."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    os.umask(umask)
    run = RunDirectory(Path(path))
    log = os.open(run.worker_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from fmnist_tui.training.__main__ import main
    from fmnist_tui.training.worker_log import forgive_full_disks

    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    forgive_full_disks()
    sys.exit(main([path]))
