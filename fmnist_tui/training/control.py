"""What a worker is asked to do while it trains: requests in control.json, and signals.

Read by the training loop between steps. The requests are written by `runs.process.send_request`.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import read_control
from fmnist_tui.runs.records import ControlRequest

POLL_SECONDS = 0.2


class StopSignal:
    """SIGTERM and SIGINT ask the worker to stop with a checkpoint; a second one ends it at once."""

    def __init__(self) -> None:
        self.received: str | None = None

    def install(self) -> None:
        """Take over SIGTERM and SIGINT, and ignore SIGHUP: a closed terminal does not end a run."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name


class ControlReader:
    """The new requests in a run's control.json; looks at most every POLL_SECONDS, and only if it changed."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._seen: set[str] = set()
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
