"""The process that measures one preset for `fmnist-tui bench`: start it, show its phases, take its record.

Its whole process group is ended with it, the plain loop's process and its workers included. Called by `bench`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any, NoReturn

from fmnist_tui.config import RunConfig
from fmnist_tui.console.output import console, say
from fmnist_tui.remedies import Remedy, with_remedy
from fmnist_tui.report.bench import BenchRecord
from fmnist_tui.runs.process import worker_environment
from fmnist_tui.runs.status import ExitCode

COMMAND = (sys.executable, "-m", "fmnist_tui.training.bench")


class MeasuringFailed(Exception):
    """A process that gave no record: the text says why, `code` is the exit code for it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def measured(
    config: RunConfig, options: Sequence[str], label: str, command: Sequence[str] | None = None
) -> BenchRecord:
    """The record of one configuration; what the process is doing stands on stderr meanwhile, after `label`.

    Raises MeasuringFailed. An interrupt ends the process and goes on to the caller.
    """
    stderr = console(stderr=True)
    if not stderr.is_terminal:
        say(f"measuring {label}")
    typed = ["fmnist-tui", *sys.argv[1:]]
    with (
        tempfile.TemporaryFile() as errors,
        _child([*(command or COMMAND), *options, "--command", *typed], config, errors) as child,
        stderr.status(label) as status,  # shown on a terminal only
    ):
        assert child.stdout
        last: dict[str, Any] = {}
        for line in child.stdout:
            last = json.loads(line)
            if phase := last.get("phase"):
                status.update(f"{label}: {phase} ...")
        code = child.wait()
        if "record" in last and code == 0:
            return BenchRecord.model_validate(last["record"])
        if "error" in last:
            helps = str(Remedy.model_validate(last["remedy"])) if "remedy" in last else ""
            raise MeasuringFailed(with_remedy(last["error"], helps), code)
        raise MeasuringFailed(_reason(code, errors), ExitCode.FAILED)


@contextlib.contextmanager
def _child(command: Sequence[str], config: RunConfig, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, in a group of its own, with the configuration handed over; nothing of it is left afterwards."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=worker_environment(),  # as a run has it
        start_new_session=True,
    )
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        assert child.stdin
        with contextlib.suppress(BrokenPipeError):  # it died at once: its exit is reported instead
            child.stdin.write(config.model_dump_json().encode())
            child.stdin.close()
        yield child
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> NoReturn:
    """A signal that would end this process: the measuring one, in a session of its own, must not go on alone."""
    raise KeyboardInterrupt


def _reason(code: int, errors: IO[bytes]) -> str:
    """Why there was no record: the last line the process wrote to stderr."""
    errors.seek(0)
    lines = errors.read()[-4096:].decode(errors="replace").strip().splitlines()
    said = f": {lines[-1].strip()}" if lines else ""
    return f"the measuring process ended without a result (exit code {code}){said}"
