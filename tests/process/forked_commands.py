"""Commands forked with torch loaded, whose processes with torch are forked too: for tests of what they do together.

As `forked` for the command line. A command and each process it starts is a process of its own, with signals, pipes,
session and environment as ever; only the import of torch, most of the 5 s of processor time that `cli_helpers.run`
takes for a short run, is done once. What is imported when, and how a program begins, `cli_helpers` shows.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from tests.process.cli_helpers import SECONDS, environment
from tests.process.forked import LOADED, SERVER, become, fork_our_programs


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
    fork_our_programs()
    become(environment, directory, (-1, stdout.fileno(), stderr.fileno()))
    sys.argv = ["fmnist-tui", *arguments]
    from fmnist_tui.__main__ import main

    sys.exit(main())
