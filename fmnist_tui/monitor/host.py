"""The machine and the worker's process as psutil sees them. Called by `sample`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from fmnist_tui.runs.metrics import HostSample

T = TypeVar("T")
TICK_SECONDS = 0.02
"""The kernel counts CPU time in ticks of 10 ms: a share over less than two is noise."""


class Host:
    """Samples of the host, and of one process where `pid` is given.

    Shares of CPU time are those between two samples, so the first sample has none: psutil's own functions
    would answer 0 there, and again whenever another thread asks.
    """

    def __init__(self, disk_path: Path, pid: int | None) -> None:
        self._disk_path = disk_path
        self._process: psutil.Process | None = None
        if pid is not None:
            with contextlib.suppress(psutil.Error):
                self._process = psutil.Process(pid)
        self._machine_before: tuple[float, float] | None = None
        self._process_before: tuple[float, float] | None = None

    def sample(self) -> HostSample:
        """The host now. What the system does not tell is None."""
        memory = psutil.virtual_memory()
        share, self._machine_before = _share(self._machine_before, _machine_seconds())
        process_share, rss = self._sample_process()
        return HostSample(
            cpu_percent=share,
            load=_or_none(lambda: psutil.getloadavg()[0]),
            cores=psutil.cpu_count(),
            ram_used=memory.total - memory.available,
            ram_total=memory.total,
            disk_free=_or_none(lambda: psutil.disk_usage(str(self._disk_path)).free),
            process_cpu_percent=process_share,
            process_rss=rss,
        )

    def _sample_process(self) -> tuple[float | None, int | None]:
        """Share of CPU time (100 is one core) and resident bytes; None, None where the process is gone."""
        if self._process is None:
            return None, None
        try:
            with self._process.oneshot():
                times, rss = self._process.cpu_times(), self._process.memory_info().rss
                zombie = self._process.status() == psutil.STATUS_ZOMBIE
            gone = zombie or not self._process.is_running()
        except psutil.Error:
            gone = True
        if gone:  # for good: the pid may by now be another's
            self._process = None
            return None, None
        busy = times.user + times.system
        share, self._process_before = _share(self._process_before, (busy, time.monotonic()))
        return share, rss


def _share(before: tuple[float, float] | None, now: tuple[float, float]) -> tuple[float | None, tuple[float, float]]:
    """Per cent of the time since `before` that was busy, both (busy, elapsed) in seconds, and what to keep.

    None where there is nothing before, or less than a clock tick lies between: then `before` is kept.
    """
    if before is None:
        return None, now
    busy, elapsed = now[0] - before[0], now[1] - before[1]
    if elapsed < TICK_SECONDS:
        return None, before
    return max(0.0, 100 * busy / elapsed), now


def _machine_seconds() -> tuple[float, float]:
    """Busy and elapsed CPU seconds of all cores since the machine started."""
    return busy_and_elapsed(psutil.cpu_times())


def busy_and_elapsed(times: Any) -> tuple[float, float]:
    """Busy and elapsed seconds in psutil's CPU times of a core or of all."""
    fields = times._asdict()
    # Linux counts a guest's time in user time too.
    total = sum(times) - fields.get("guest", 0.0) - fields.get("guest_nice", 0.0)
    return total - times.idle - fields.get("iowait", 0.0), total


def _or_none(question: Callable[[], T]) -> T | None:
    """The answer, None where the system refuses it."""
    try:
        return question()
    except OSError:
        return None
