"""What a worker tells the world: status, heartbeat, metric lines and samples of the machine.

The training loop calls it; a thread of its own renews status.json and the heartbeat every second and
samples GPU and host, also while the loop compiles or evaluates. Losses stay on the device until a whole
line of them is there. A full disk never stops training: lines wait in memory, one warning is kept when the trouble
begins and a word when it is over.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

import psutil
from pydantic import ValidationError

from fmnist_tui.monitor import Monitor
from fmnist_tui.remedies import Remedy
from fmnist_tui.runs.files import LineWriter, replace_bytes, replace_if_other, with_unwritten
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, TrainRecord, parse_metric
from fmnist_tui.runs.process import HEARTBEAT_SECONDS
from fmnist_tui.runs.records import Record, utc_now
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import ended_as
from fmnist_tui.training.patience import keep_trying

STATUS_SECONDS = 0.5
SAMPLE_SECONDS = 5.0
MAX_WAITING_LINES = 100_000
OVER_SECONDS = 3.0
"""A disk is well again when nothing has failed for this long: on a nearly full one every other write may succeed."""


class Reporter:
    """One run's files while its worker lives; every method may be called from any thread."""

    def __init__(self, run: RunDirectory, status: Status, own_process: bool = True) -> None:
        """`own_process`: the run is known by this process; else by the one the status names, its launcher."""
        self.run = run
        if own_process:
            process = {"pid": os.getpid(), "pid_started": psutil.Process().create_time(), "host": socket.gethostname()}
            status = status.model_copy(update=process)
        self.status = status
        self._lock = threading.RLock()
        self._changed = True
        self._waiting: list[str] = []
        self._writer: LineWriter | None = None
        self._unwritten: set[str] = set()
        """Which files could not be written at the last try."""
        self._in_trouble = False
        self._failed_at = 0.0
        self._done = threading.Event()
        self._status_due = self._samples_due = 0.0
        self._write_status()
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin the heartbeat and the samples."""
        self._thread.start()

    def update(self, now: bool = False, **values: Any) -> None:
        """Change fields of the status; written within half a second, or at once."""
        with self._lock:
            self.status = self.status.model_copy(update=values)
            self._changed = True
            if now:
                self._write_status()

    def write(self, record: Record) -> None:
        """Append one metric line. Lines that do not fit on the disk are kept and tried again."""
        self._append(record.to_json() + "\n")

    def event(self, event: str, message: str, *, remedy: Remedy | None = None, **data: Any) -> None:
        """Append an event at the current step, and say it in worker.log, which every room shows: without a remedy."""
        self._append(self._event_line(event, message, remedy, **data))

    def _append(self, line: str) -> None:
        with self._lock:
            self._waiting.append(line)
            del self._waiting[:-MAX_WAITING_LINES]
            self._flush_lines()

    def sync(self) -> None:
        """Force every metric line to disk, so that a checkpoint never knows more than the metrics."""
        with self._lock:
            self._flush_lines()
            if self._writer is not None:
                try:
                    self._writer.sync()
                except OSError as error:
                    self._note_unwritten("metrics", error)

    def close(self, state: State, error: str | None, exit_code: int, remedy: Remedy | None = None) -> None:
        """The last word: the final status. Stops the thread.

        A finished run that was to go on and could not begin to is what it was: its result is still there.
        """
        state, error = ended_as(self.run, state, error)
        remedy = remedy if error else None
        self._last_word(state=state, phase="", error=error, remedy=remedy, exit_code=exit_code, ended=utc_now())

    def leave_to_slurm(self) -> None:
        """The last word of a start that Slurm has ended: the run waits for another one. Stops the thread."""
        assert self.status.job is not None
        self.event("queue", f"Slurm has ended this start of job {self.status.job.id}; the next one goes on from here")
        self._last_word(state=State.QUEUED, phase="to go on from its checkpoint", pid=None, pid_started=None)

    def _last_word(self, **values: Any) -> None:
        self.abandon()
        self.update(eta_seconds=None, **values)
        self.sync()
        keep_trying(lambda: self._write_status(durable=True))  # a watcher waits for this word

    def abandon(self) -> None:
        """Stop without a last word: the directory is gone, or this process begins anew."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def hand_over(self) -> None:
        """Let another process write the run's files until `take_back`."""
        self.abandon()
        with self._lock:
            self._write_status()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def take_back(self) -> None:
        """Go on from what the other process wrote last; only for the last word, there is no heartbeat any more."""
        with self._lock, contextlib.suppress(OSError, ValidationError):
            self.status = Status.model_validate_json(self.run.status.read_bytes())

    def unwritten(self) -> list[str]:
        """The lines that a full disk has not taken: a checkpoint that it takes shall hold them, for `keep_until`."""
        with self._lock:
            return list(self._waiting)

    def keep_until(self, step: int, evaluated_epoch: int, unwritten: Iterable[str] = ()) -> None:
        """Drop the training lines after `step` and the evaluations after that epoch: a resumed run writes them again.

        A checkpoint may be of the last step of an epoch and know nothing of its evaluation yet. Events stay: they
        tell what happened. Lines that were `unwritten` then come back. Raises OSError where the file can't be replaced.
        """
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            kept = []
            for line in with_unwritten(self.run.metrics, unwritten):
                record = parse_metric(line)
                if record is None or (isinstance(record, TrainRecord) and record.step > step):
                    continue
                if isinstance(record, EvalRecord) and record.epoch > evaluated_epoch:
                    continue
                kept.append(line + b"\n")
            replace_if_other(self.run.metrics, b"".join(kept))

    def _flush_lines(self) -> None:
        if not self._waiting:
            return
        try:
            if self._writer is None:
                self._writer = LineWriter(self.run.metrics)
            self._writer.write("".join(self._waiting))
        except OSError as error:
            self._note_unwritten("metrics", error)
        else:
            self._waiting.clear()
            self._note_written("metrics")

    def _write_status(self, durable: bool = False) -> bool:
        with self._lock:
            self.status = self.status.model_copy(update={"heartbeat": utc_now()})
            try:
                replace_bytes(self.run.status, self.status.to_json().encode(), durable)
            except OSError as error:
                self._note_unwritten("status", error)
                return False
            self._changed = False
            self._note_written("status")
            return True

    def _note_unwritten(self, what: str, error: OSError) -> None:
        """Say that something could not be written, once for each trouble however many writes fail in it."""
        with self._lock:
            self._unwritten.add(what)
            self._failed_at = time.monotonic()
            if self._in_trouble:
                return
            self._in_trouble = True
            message = f"the run's files cannot be written: {error.strerror or error}; training goes on, metrics wait"
            line = self._event_line("warning", f"{message} in memory", trouble="disk")
            self._waiting.append(line)

    def _note_written(self, what: str) -> None:
        """Say that the trouble is over, where it is."""
        with self._lock:
            self._unwritten.discard(what)
            over = self._in_trouble and not self._unwritten and time.monotonic() - self._failed_at >= OVER_SECONDS
            if over:
                self._in_trouble = False
                self.event("warning", "the run's files can be written again", trouble="disk", over=True)

    def _event_line(self, event: str, message: str, remedy: Remedy | None = None, **data: Any) -> str:
        """Say an event in worker.log; returns its metric line."""
        print(f"{utc_now()} {event}: {message}", file=sys.stderr, flush=True)
        with self._lock:
            step, epoch = self.status.step, self.status.epoch
        values = {"step": step, "epoch": epoch, "message": message, "remedy": remedy, "data": data}
        return EventRecord(event=event, **values).to_json() + "\n"

    def _work(self) -> None:
        monitor = Monitor(self.run.path, os.getpid())
        while not self._done.wait(STATUS_SECONDS):
            now = time.monotonic()
            if self._changed or now >= self._status_due:
                self._status_due = now + HEARTBEAT_SECONDS
                self._write_status()
            if now >= self._samples_due:
                self._samples_due = now + SAMPLE_SECONDS
                self.write(monitor.sample())
