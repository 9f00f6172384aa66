"""What the feed's thread reads and how it reads little: the list of runs, a run's metrics, a run's log.

No threads and no Textual here; each class is used by one thread.
"""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_tui.runs import store
from fmnist_tui.runs.files import Tail
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.left_out import left_out_runs
from fmnist_tui.runs.store import Run
from fmnist_tui.wording import without_controls

if TYPE_CHECKING:
    from fmnist_tui.tui.metric_lines import MetricRecord

CLOCK_GRAIN_NS = 100_000_000
"""A directory changed less than this before it was read may change again without a new time: file systems
count in ticks of several milliseconds, network ones are coarser."""
READ_BYTES = 1 << 21
"""Of metrics in one message, about 14,000 lines: 200,000 records at once would take 200 MB."""
LOG_LINES = 5_000
"""Lines of a log that are kept."""
STILL_SECONDS = 1.0
"""Without a byte more, after which a log's last line is shown as it is, without its end."""
HALF_LINE = 65_536
"""Bytes of such a line at the most."""


class RunList:
    """Every run of a directory, loaded again only where something changed."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._runs: dict[str, Run] = {}
        self._seen: dict[str, tuple[int, bool]] = {}
        """By id: the directory's modification time when it was read, and whether that can be relied on."""
        self._refreshed = False
        """Whether `refresh` saw what no scan has told yet: the list is another then, though a scan finds no change."""
        self._directory_time: int | None = None
        self.left_out = ""
        """In words, the runs that are no part of the list, and why."""

    def directory_changed(self) -> bool:
        """Whether a run came or went since the last scan (one stat)."""
        try:
            return os.stat(self.runs_dir).st_mtime_ns != self._directory_time  # noqa: PTH116 - 5 times a second
        except OSError:
            return self._directory_time is not None

    def scan(self) -> bool:
        """Look at every run; True where anything changed. Raises RunError where the directory can't be read."""
        try:
            self._directory_time = os.stat(self.runs_dir).st_mtime_ns  # noqa: PTH116
            with os.scandir(self.runs_dir) as entries:
                times = {
                    entry.name: entry.stat(follow_symlinks=False).st_mtime_ns
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                }
        except OSError:
            self._directory_time, times = None, {}
            store.run_directories(self.runs_dir)  # says in words what is wrong; a missing directory is not
        unfit = [name for name in times if not store.may_be_run(name)]
        for name in unfit:
            del times[name]
        gone = [run_id for run_id in self._runs if run_id not in times]
        for run_id in gone:
            del self._runs[run_id], self._seen[run_id]
        changed = [self._look(run_id, modified, liveness=True) for run_id, modified in times.items()]
        hidden = unfit or any(name not in self._runs for name in times)
        left_out, self.left_out = self.left_out, left_out_runs(self.runs_dir) if hidden else ""
        refreshed, self._refreshed = self._refreshed, False
        return refreshed or bool(gone) or any(changed) or left_out != self.left_out

    def _look(self, run_id: str, modified: int, liveness: bool) -> bool:
        """Load a run where its directory changed, else only see (`liveness`) whether its process lives.

        True where it differs from before.
        """
        before = self._runs.get(run_id)
        seen = self._seen.get(run_id)
        if before is not None and seen == (modified, True):
            if not liveness or before.status is None or not before.status.state.alive:
                return False
            state = store.state_of(before.status, before.result)
            if state is before.state:
                return False
            self._runs[run_id] = replace(before, state=state)
            return True
        directory = self.run_directory(run_id)
        if before is None and not store.is_run(directory):
            return False
        read_at = time.time_ns()
        run = store.load_run(directory, before.config if before else None)
        self._seen[run_id] = (modified, read_at - modified > CLOCK_GRAIN_NS)
        if run == before:
            return False
        self._runs[run_id] = run
        return True

    def refresh(self, run_id: str) -> Run | None:
        """One run as it stands, the same object where nothing changed; None where it is gone.

        Called five times a second for a run on screen: whether a process died without a word is left to `scan`.
        """
        try:
            modified = os.stat(self.run_directory(run_id).path).st_mtime_ns  # noqa: PTH116
        except OSError:
            return None
        self._refreshed |= self._look(run_id, modified, liveness=False)
        return self._runs.get(run_id)

    def run_directory(self, run_id: str) -> RunDirectory:
        """The directory of a run of this id, whether it is there or not."""
        return RunDirectory(self.runs_dir / run_id)

    def newest_first(self) -> list[Run]:
        """Every run last seen."""
        return [self._runs[run_id] for run_id in sorted(self._runs, reverse=True)]


class MetricsReader:
    """A run's metric records as they are written, from the beginning; damaged lines are passed over."""

    def __init__(self, directory: RunDirectory) -> None:
        self._path = directory.metrics
        self._tail = Tail(directory.metrics)
        self._stat: tuple[int, int, int] | None = None
        self._first = True
        self.more = False
        """Whether there was more to read than one call reads."""

    def read(self) -> tuple[list[MetricRecord], bool]:
        """The new records, and whether they begin at the file's start (the first time, or after it was replaced)."""
        try:
            now = os.stat(self._path)  # noqa: PTH116
            stat = (now.st_ino, now.st_size, now.st_mtime_ns)
        except OSError:
            stat = None
        first, self._first = self._first, False
        if stat is None or (stat == self._stat and not self.more):
            return [], first
        self._stat = stat
        lines = self._tail.read(READ_BYTES)
        from fmnist_tui.tui.metric_lines import parse_lines  # NumPy: not on the way to the first frame

        self.more = sum(map(len, lines)) + len(lines) > READ_BYTES - 65_536
        return parse_lines(lines), first or self._tail.restarted


class LogReader:
    """A run's worker.log as it is written, beginning with the last LOG_LINES lines there are.

    A last line without its end comes when nothing was written for STILL_SECONDS: a worker that was killed or hangs in
    the middle of one leaves it so. Where the line goes on after all, the log is read anew.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._path = directory.worker_log
        self._tail = Tail(self._path)
        self._first = True
        self._size, self._since = -1, 0.0
        """Bytes of the log, and since when (monotonic) it has that many."""
        self._looked = False
        """Whether a line without its end was looked for in these bytes."""
        self._half = False
        """Whether one was given."""

    def read(self) -> tuple[list[str], bool]:
        """The new lines as plain text, and whether to forget the earlier ones."""
        self._look_at_size()
        first, self._first = self._first, False
        restarted = first
        kept: deque[bytes] = deque(maxlen=LOG_LINES)
        while lines := self._tail.read():
            restarted |= self._tail.restarted
            kept.extend(lines)
        if not self._looked and time.monotonic() - self._since >= STILL_SECONDS:
            self._looked = True
            if half := self._without_end():
                self._half = True
                kept.append(half)
        return [plain(line) for line in kept], restarted

    def _look_at_size(self) -> None:
        """See whether the log has grown; where it was given without its end, everything is to be read again."""
        try:
            stat = os.stat(self._path)  # noqa: PTH116 - 5 times a second
        except OSError:
            return
        if stat.st_size == self._size:
            return
        # The first time, how old it is tells whether somebody writes.
        age = time.time() - stat.st_mtime if self._size < 0 else 0.0
        self._size, self._since, self._looked = stat.st_size, time.monotonic() - max(0.0, age), False
        if self._half:
            self._tail, self._first, self._half = Tail(self._path), True, False

    def _without_end(self) -> bytes:
        """What stands after the last line's end; nothing where the log has grown meanwhile."""
        try:
            with self._path.open("rb") as log:
                log.seek(max(0, self._size - HALF_LINE))
                data = log.read(HALF_LINE + 1)
        except OSError:
            return b""
        return data.rpartition(b"\n")[2] if len(data) == min(self._size, HALF_LINE) else b""


def plain(line: bytes) -> str:
    """A log line without colours and other control characters; of a redrawn line its last state."""
    return without_controls(line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]).expandtabs(4)
