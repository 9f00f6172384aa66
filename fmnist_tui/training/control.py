"""What a worker is asked to do while it trains: requests in control.json, and signals.

Read by the training loop between steps. The requests are written by `runs.requests.send_request`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import STOP_SIGNALS
from fmnist_tui.runs.requests import ControlRequest, read_control

POLL_SECONDS = 0.2


SECOND_SIGNAL_SECONDS = 2.0
"""A signal this soon after the first is the same one, sent to the whole job by two: no reason to drop a checkpoint."""


class CutShort(BaseException):
    """The work at hand is given up half-way, because the worker was asked to stop. No Exception: nobody retries it."""


class StopSignal:
    """SIGTERM and SIGINT ask the worker to stop with a checkpoint; a second one ends it at once.

    A cluster kills whoever has not left some seconds after the signal. So work that may take longer than that and
    can be done again (loading, compiling, a slow step, an evaluation) is cut short: see `may_cut`.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._received_at = 0.0
        self._cuts = False

    def install(self) -> None:
        """Take over SIGTERM and SIGINT, and ignore SIGHUP: a closed terminal does not end a run."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # held since `process.start_worker`

    @contextmanager
    def may_cut(self) -> Iterator[None]:
        """Within, a signal to stop raises CutShort at once, wherever Python is; so does one that came before."""
        self._cuts = True
        try:
            if self.received:
                raise CutShort
            yield
        finally:
            self._cuts = False

    def no_cut(self, *_: Any) -> None:
        """From here to the end of `may_cut` the work is finished first; also an optimizer's hook."""
        self._cuts = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if time.monotonic() - self._received_at > SECOND_SIGNAL_SECONDS:
                raise KeyboardInterrupt
            return
        self.received, self._received_at = signal.Signals(number).name, time.monotonic()
        if self._cuts:
            self._cuts = False
            raise CutShort


class ControlReader:
    """The new requests in a run's control.json; looks at most every POLL_SECONDS, and only if it changed."""

    def __init__(self, run: RunDirectory, answered: Iterable[str] = ()) -> None:
        """`answered` are the ids of requests that an earlier process of this start has answered."""
        self._run = run
        self._seen = set(answered)
        self._stamp: tuple[int, int] | None = None
        self._due = 0.0
        self.polled = False
        """Whether the last call looked at the disk."""

    def poll(self) -> list[ControlRequest]:
        """Requests that were not returned before, oldest first."""
        now = time.monotonic()
        self.polled = now >= self._due
        if not self.polled:
            return []
        self._due = now + POLL_SECONDS
        try:
            stat = self._run.control.stat()
        except OSError:
            return []
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp == self._stamp:
            return []
        self._stamp = stamp
        new = [request for request in read_control(self._run).requests if request.id not in self._seen]
        self._seen.update(request.id for request in new)
        return new

    def forget(self) -> None:
        """Remove the answered requests, so that a later start does not meet them again."""
        if all(request.id in self._seen for request in read_control(self._run).requests):
            self._run.control.unlink(missing_ok=True)
