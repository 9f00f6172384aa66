"""Workers forked with torch loaded, for tests and the soak, whose claims begin when a worker is at work: a cheap start.

They are what `process.start_worker` starts, from `training.__main__.main` on: processes of their own with a session,
an environment and a log of their own. A whole start takes 3.5 s of processor time, most of it the import of torch;
tests of what happens while a worker starts ask for whole ones.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from fmnist_tui.runs import process
from fmnist_tui.runs.layout import RunDirectory

SERVER = multiprocessing.get_context("forkserver")
"""One process for each pytest process, which has no threads, imports the following once and forks whenever asked."""
CLONE_NEWNET = 0x40000000
LOADED = ["torch._dynamo", *(f"fmnist_tui.training.{name}" for name in ("__main__", "attempt", "launcher"))]


class Forked:
    """A process of SERVER's, with what tests use of subprocess.Popen."""

    def __init__(self, target: Callable[..., None], *given: Any) -> None:
        SERVER.set_forkserver_preload(LOADED)
        self._process = SERVER.Process(target=target, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

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


class ForkedWorker(Forked):
    """A worker that was started as `process.start_worker` starts it."""

    def __init__(self, run: RunDirectory) -> None:
        umask = os.umask(0)
        os.umask(umask)
        log = str(run.worker_log)
        with process.status_noted(run) as write_down, process.stop_signals_held():
            super().__init__(work, [str(run.path)], process.worker_environment(), str(Path.cwd()), umask, log)
            write_down(pid=self.pid, pid_started=process.process_started(self.pid))


def work(arguments: list[str], environment: Mapping[str, str], directory: str, umask: int, log: str) -> None:
    """What the forked process does: as `python -m fmnist_tui.training ARGUMENTS`."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    os.umask(umask)
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(written, 1)
    os.dup2(written, 2)
    from fmnist_tui.training.__main__ import main
    from fmnist_tui.training.worker_log import forgive_full_disks

    fork_our_programs()
    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    forgive_full_disks()
    sys.exit(main(arguments))


def work_on(machine: str, *given: Any) -> None:
    """`work` in this network namespace, as `ip netns exec` has a program begin."""
    with Path("/run/netns", machine).open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {machine}")
    work(*given)


def become(environment: Mapping[str, str], directory: str | None, streams: Sequence[int]) -> None:
    """What exec does for a new program: its streams and no other files, its environment, no handlers of signals."""
    for target, descriptor in enumerate(streams):
        if descriptor != -1:
            os.dup2(descriptor, target)
    os.closerange(3, 1024)
    # New ones, for those of before know of the files that were there.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    if directory is not None:
        os.chdir(directory)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def fork_our_programs() -> None:
    """From now on this process forks what it would start as `python -m fmnist_tui...`: it has torch."""
    subprocess.Popen._execute_child = _fork_or_execute  # type: ignore[attr-defined]


_execute = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def _fork_or_execute(popen: Any, args: Any, executable: Any, preexec_fn: Any, close_fds: bool, *rest: Any) -> None:
    """In the place of Popen's own."""
    _, cwd, env, _, _, _, *pipes, _, _, _, _, _, new_session, _ = rest
    if not isinstance(args, list | tuple) or args[:2] not in ([sys.executable, "-m"], (sys.executable, "-m")):
        _execute(popen, args, executable, preexec_fn, close_fds, *rest)
        return
    child_stdin, _, _, child_stdout, _, child_stderr = pipes
    sys.stdout.flush()
    sys.stderr.flush()
    popen.pid = os.fork()
    if popen.pid == 0:
        if new_session:
            os.setsid()
        _run_module(args[2:], env or dict(os.environ), cwd, (child_stdin, child_stdout, child_stderr))
    popen._child_created = True
    popen._close_pipe_fds(*pipes)


def _run_module(words: Sequence[str], environment: Mapping[str, str], cwd: Any, streams: Sequence[int]) -> NoReturn:
    """Never returns to what the parent was about, whatever happens."""
    code: object = 1
    try:
        become(environment, cwd, streams)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through=True)  # type: ignore[union-attr]
        sys.argv = list(words)
        for loaded in (words[0], f"{words[0]}.__main__"):  # as in a new program, it is not there yet
            sys.modules.pop(loaded, None)
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
