"""Work that needs torch, done by a module of `training` in a process of its own: the command line never imports it.

Called by `exporting`, `predicting` and others; each module writes its answer to stdout or to a file, and what is
wrong to stderr, with an exit code (`runs.status.ExitCode`).
"""

from __future__ import annotations

import signal
import subprocess
import sys

from fmnist_tui.console.output import UsageError
from fmnist_tui.runs.process import worker_environment
from fmnist_tui.runs.status import ExitCode


class TorchFailed(RuntimeError):
    """The process failed for no fault of the user's; the text says how (exit code 4)."""


def run_module(module: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run `python -m module` to its end and return its stdout; shows on a terminal that torch is at work.

    Raises UsageError with the module's own words where it exits with 2, else TorchFailed.
    """
    from fmnist_tui.console.output import console

    with console(stderr=True).status("working with torch ..."):
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], input=stdin, capture_output=True, env=worker_environment()
        )
    if done.returncode == ExitCode.DONE:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode == ExitCode.USAGE:
        raise UsageError(said)
    if done.returncode < 0:
        raise TorchFailed(f"{module} was ended by {signal.Signals(-done.returncode).name}")
    raise TorchFailed(f"{module} failed: {(said.splitlines() or ['no message'])[-1]}")
