"""Commands forked with torch loaded, whose processes with torch are forked too: for tests of what they do together.

As `forked` for the command line. A command and each process it starts is a process of its own, with signals, pipes,
session and environment as ever; only the import of torch, most of the 5 s of processor time that `cli_helpers.run`
takes for a short run, is done once. What is imported when, and how a program begins, `cli_helpers` shows.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, NoReturn

from tests.process.cli_helpers import SECONDS, environment
from tests.process.forked import LOADED, SERVER


class ForkedCommand:
    """The command's process, with what tests use of subprocess.Popen."""

    def __init__(self, arguments: Sequence[str]) -> None:
        SERVER.set_forkserver_preload(LOADED)
        (out, out_there), (err, err_there) = SERVER.Pipe(duplex=False), SERVER.Pipe(duplex=False)
        given = (arguments, environment(), str(Path.cwd()), out_there, err_there)
        self._process = SERVER.Process(target=run_command, args=given)
        self._process.start()
        self.stdout, self.stderr = _text(out), _text(err)
        for end in (out, err, out_there, err_there):
            end.close()

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal, or None."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the command has ended."""
        if self.returncode is None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Stdout and stderr to their ends; raises subprocess.TimeoutExpired."""
        said = ["", ""]

        def read(at: int, stream: IO[str]) -> None:
            said[at] = stream.read()
            stream.close()

        readers = [threading.Thread(target=read, args=each) for each in enumerate((self.stdout, self.stderr))]
        for reader in readers:
            reader.start()
        self._process.join(timeout)
        for reader in readers:
            reader.join(timeout)
        if self.returncode is None or any(reader.is_alive() for reader in readers):
            self._process.kill()
            raise subprocess.TimeoutExpired("fmnist-tui", timeout)
        return said[0], said[1]


def _text(end: Connection) -> IO[str]:
    return os.fdopen(os.dup(end.fileno()), encoding="utf-8")


def start(*arguments: str) -> ForkedCommand:
    """Start a command and leave it running."""
    return ForkedCommand(arguments)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = start(*arguments)
    stdout, stderr = command.communicate(SECONDS)
    assert command.returncode is not None
    return subprocess.CompletedProcess(list(arguments), command.returncode, stdout, stderr)


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], directory: str, stdout: Connection, stderr: Connection
) -> None:
    """What the forked process does: as `python -m fmnist_tui`."""
    subprocess.Popen._execute_child = _fork_or_execute  # type: ignore[attr-defined]
    _become(environment, directory, (-1, stdout.fileno(), stderr.fileno()))
    sys.argv = ["fmnist-tui", *arguments]
    from fmnist_tui.__main__ import main

    sys.exit(main())


def _become(environment: Mapping[str, str], directory: str | None, streams: Sequence[int]) -> None:
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
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


_execute = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def _fork_or_execute(popen: Any, args: Any, executable: Any, preexec_fn: Any, close_fds: bool, *rest: Any) -> None:
    """In the place of Popen's own: `python -m fmnist_tui.training...` is forked from this process, which has torch."""
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
        _become(environment, cwd, streams)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through=True)  # type: ignore[union-attr]
        sys.argv = list(words)
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
