"""What the process tests of the command line share: a tiny network, subprocesses, waiting with a bound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import Status

Found = TypeVar("Found")
SECONDS = 90.0
"""Far longer than anything here takes on a busy machine."""

TINY = (
    "--device=cpu",
    "--set=model.kind=dual_path_net",
    "--set=model.blocks=[1]",
    "--set=model.filters=[4]",
    "--set=model.growth_rate=[1]",
    "--set=training.batch_size=64",
    "--set=training.precision=fp32",
    "--set=augment.crop_padding=0",
)
"""A network that takes a few milliseconds for a step, 94 steps an epoch."""


class Started(Protocol):
    """A command at work: a subprocess.Popen, or a `ForkedCommand`."""

    @property
    def returncode(self) -> int | None: ...

    def communicate(self, *, timeout: float) -> tuple[str, str]: ...


def command(*arguments: str) -> list[str]:
    """The console script with these arguments, as this interpreter runs it."""
    return [sys.executable, "-m", "fmnist_tui", *arguments]


def environment() -> dict[str, str]:
    """One thread for each worker: the tests share the machine."""
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment(),
        stdin=subprocess.DEVNULL,
    )


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a command and leave it running, with a terminal's SIGHUP even where the tests run under nohup."""
    return subprocess.Popen(
        command(*arguments),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def finish(process: Started) -> tuple[int | None, str, str]:
    """Wait for a started command: exit code, stdout, stderr."""
    stdout, stderr = process.communicate(timeout=SECONDS)
    return process.returncode, stdout, stderr


def wait_for(what: str, condition: Callable[[], Found | None]) -> Found:
    """The first true value of the condition; fails after SECONDS."""
    until = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.05)
    return value


def only_run(runs_dir: Path) -> RunDirectory:
    """The one run of a directory, once it is there."""

    def found() -> list[Path]:
        return [path for path in runs_dir.glob("2*") if (path / "status.json").is_file()]

    (path,) = wait_for("a run directory", found)
    return RunDirectory(path)


def status(directory: RunDirectory) -> Status:
    """What status.json says."""
    return Status.model_validate_json(directory.status.read_bytes())


def wait_for_step(directory: RunDirectory, step: int) -> Status:
    """The status once the run has done this many steps."""
    return wait_for(f"step {step}", lambda: s if (s := status(directory)).step >= step else None)
