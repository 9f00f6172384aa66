"""A short measured calibration in a child process: how fast a configuration trains on a device, and its memory.

The New run screen runs `Calibration.run` in a thread worker. The child is `python -m
fmnist_tui.training.calibrate`: it reads a RunConfig as JSON on stdin and prints JSON lines, each with what it
knows by then. The child and all its own children are killed when the calibration is cancelled, when it says
nothing for too long, and when `run` ends in any other way.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from fmnist_tui.analysis.outlook import Speed
from fmnist_tui.config import RunConfig
from fmnist_tui.remedies import Remedy, with_remedy
from fmnist_tui.runs.process import worker_environment
from fmnist_tui.runs.status import ExitCode
from fmnist_tui.tui.remedies import FORM

COMMAND = (sys.executable, "-m", "fmnist_tui.training.calibrate")
MEASURE_SECONDS = 5.0
"""Time the child is asked to train for, after it started and warmed up."""
SILENCE_SECONDS = 600.0
"""A child that says nothing for so long is killed; compiling, or two steps of WRN-28-10 on a CPU, take minutes."""
DOCTOR = "`fmnist-tui doctor` says what this machine lacks"
_POLL_SECONDS = 0.1
_EXIT_SECONDS = 5.0
"""Time a child that closed its output has to exit before it is killed."""
_MAX_LINE_BYTES = 1 << 20


class CalibrationError(ValueError):
    """A calibration that gave no speed; the text says why."""


class CalibrationCancelled(Exception):
    """The user left or asked for it to end."""


@dataclass(frozen=True)
class Measurement:
    """What the child has said so far; None is not known yet."""

    images_per_second: float | None = None
    eval_images_per_second: float | None = None
    peak_memory_bytes: int | None = None
    startup_seconds: float | None = None
    device_name: str = ""
    precision: str = ""
    phase: str = ""
    """What the child is doing, where it says so."""
    error: str = ""
    remedy: Remedy | None = None
    """What helps, where it is known."""
    measured: datetime = field(default_factory=datetime.now)

    def speed(self, device: str) -> Speed:
        """As the basis of a forecast; `images_per_second` must be known."""
        assert self.images_per_second
        return Speed(
            images_per_second=self.images_per_second,
            eval_images_per_second=self.eval_images_per_second,
            startup_seconds=self.startup_seconds or 0.0,
            peak_memory_bytes=self.peak_memory_bytes,
            device=device,
            device_name=self.device_name,
            precision=self.precision,
        )


def updated(so_far: Measurement, line: bytes) -> Measurement:
    """What is known after a line of the child's output; a line that is no JSON object changes nothing."""
    try:
        data = json.loads(line)
    except ValueError:
        return so_far
    if not isinstance(data, dict):
        return so_far
    known: dict[str, Any] = {}
    for name in ("images_per_second", "eval_images_per_second", "peak_memory_bytes", "startup_seconds"):
        value = data.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
            known[name] = value or None if name.endswith("per_second") else value
    for name in ("device_name", "precision", "phase", "error"):
        if isinstance(data.get(name), str):
            known[name] = data[name]
    with contextlib.suppress(ValidationError):
        known["remedy"] = Remedy.model_validate(data["remedy"]) if "remedy" in data else None
    return replace(so_far, **known, measured=datetime.now())


class Calibration:
    """One calibration: `run` in a thread, `cancel` from any other."""

    def __init__(
        self,
        config: RunConfig,
        device: str,
        data_dir: Path | None = None,
        *,
        command: Sequence[str] = COMMAND,
        seconds: float = MEASURE_SECONDS,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        """Measure `config` on `device` for about `seconds`; the options are added to `command`, the child's program."""
        self.config = config
        self.device = device
        options = ["--device", device, "--seconds", f"{seconds:g}"]
        self._command = [*command, *options, *(["--data-dir", str(data_dir)] if data_dir else [])]
        self._silence = silence
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End it at once; returns without waiting."""
        self._cancelled.set()
        with self._lock:
            if self._child is not None:
                _kill_group(self._child)

    def run(self, report: Callable[[Measurement], None]) -> Measurement:
        """Run the child to its end and return what it measured; `report` hears of every line of it.

        A child that falls silent after it told a speed has measured that. Raises CalibrationError with the reason
        and a remedy where there is no speed, CalibrationCancelled after `cancel`.
        """
        with tempfile.TemporaryFile() as errors:
            self._start(errors)
            child = self._child
            assert child and child.stdout
            so_far, silent = Measurement(), False
            try:
                for line in self._lines(child):
                    so_far = updated(so_far, line)
                    report(so_far)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(0 if self.cancelled else _EXIT_SECONDS)
            except TimeoutError:
                silent = True
            finally:
                with self._lock:
                    _kill_group(child)
                    child.wait()
                    self._child = None
                child.stdout.close()
            if self.cancelled:
                raise CalibrationCancelled
            if so_far.error:
                raise CalibrationError(_told(so_far, child.returncode))
            if silent and so_far.images_per_second is None:
                raise CalibrationError(
                    f"nothing was heard of the worker process for {self._silence:g} s, so it was ended; "
                    "a smaller training.batch_size makes shorter steps"
                )
            if so_far.images_per_second is None or (child.returncode != 0 and not silent):
                raise CalibrationError(_reason(child.returncode, errors))
            return so_far

    def _start(self, errors: IO[bytes]) -> None:
        """Start the child in a process group of its own and hand it the configuration."""
        with self._lock:
            if self._cancelled.is_set():
                raise CalibrationCancelled
            try:
                self._child = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=worker_environment(),  # as a run has it
                    start_new_session=True,
                )
            except OSError as error:
                raise CalibrationError(f"the worker process cannot be started: {error.strerror}; {DOCTOR}") from None
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):  # a child that died at once: its exit is reported instead
            self._child.stdin.write(self.config.model_dump_json().encode())
            self._child.stdin.close()

    def _lines(self, child: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """The child's lines as they come, until its output ends or the calibration is cancelled.

        Raises TimeoutError after a silence.
        """
        assert child.stdout
        end = time.monotonic() + self._silence
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while not self.cancelled:
                if time.monotonic() > end:
                    raise TimeoutError
                if not selector.select(_POLL_SECONDS):
                    continue
                chunk = os.read(child.stdout.fileno(), 1 << 16)
                if not chunk:
                    return
                end = time.monotonic() + self._silence
                *lines, pending = (pending + chunk).split(b"\n")
                pending = pending[-_MAX_LINE_BYTES:]
                yield from lines


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and the processes it started; its session is its own, so nothing else is in the group."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _told(so_far: Measurement, returncode: int) -> str:
    """What the child said is wrong. Of wrong settings, missing data and full memory it says itself what helps."""
    error = so_far.error
    if so_far.remedy is not None:
        return with_remedy(error, so_far.remedy.worded(FORM))
    if returncode != ExitCode.FAILED or "memory" in error:
        return error
    return f"{error.rstrip('.')}; choose another device below, or ask `fmnist-tui doctor`"


def _reason(returncode: int, errors: IO[bytes]) -> str:
    """Why there was no speed, by how the child ended and the last line it wrote to stderr, and what may help."""
    if returncode == -signal.SIGKILL:
        less = "a smaller training.batch_size or training.micro_batch needs less"
        return f"the worker process was killed, perhaps because memory ran out; {less}"
    errors.seek(0)
    lines = errors.read()[-4096:].decode(errors="replace").strip().splitlines()
    said = f": {lines[-1].strip()}" if lines else ""
    return f"the worker process ended without a result (exit code {returncode}){said}; {DOCTOR}"
