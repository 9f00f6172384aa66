"""A screen that knows a run: its metrics as the feed tells them, its log and the run to compare it with, as read.

The base of the Run screen. Worker threads read the log and the other run's evaluations and post them.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import on, work
from textual.message import Message
from textual.worker import WorkerState

from fmnist_tui.analysis.epochs import epoch_steps
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.ghost import find_ghost, load_ghost
from fmnist_tui.tui.metric_lines import MetricRecord
from fmnist_tui.tui.reading import LogReader
from fmnist_tui.tui.run_charts import GhostCurves
from fmnist_tui.tui.run_data import RunData
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.widgets.run_panels import LogTail


class RunReading(FeedScreen):
    """What is known of the run; `changed` is called when there is more."""

    class GhostLoaded(Message):
        """The evaluations of the ghost, read by a worker thread."""

        def __init__(self, run_id: str, ghost: GhostCurves) -> None:
            self.run_id, self.ghost = run_id, ghost
            super().__init__()

    class LogRead(Message):
        """New lines of the worker's log, read by a worker thread."""

        def __init__(self, lines: list[str], restarted: bool) -> None:
            self.lines, self.restarted = lines, restarted
            super().__init__()

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.watched_run = run_id
        self.run: Run | None = None
        self.data = RunData()
        self.ghost: GhostCurves | None = None
        self.vanished = False
        """Whether the run's directory is no more; what is known stays."""
        self.log_tail = LogTail()
        self._ghost_id = ""
        self._log_reader: LogReader | None = None

    # --- to be overridden

    @property
    def shows_log(self) -> bool:
        """Whether the log is on screen, so that it must be read on."""
        raise NotImplementedError

    def changed(self) -> None:
        """Something more is known."""
        raise NotImplementedError

    # --- what the feed says

    def runs_listed(self, runs: list[Run]) -> None:
        """Look for the ghost again."""
        if self.run is None:
            self.run = next((run for run in runs if run.id == self.watched_run), None)
            self.changed()
        self._look_for_ghost(runs)

    def run_advanced(self, run: Run, records: Sequence[MetricRecord], restarted: bool) -> None:
        """Take in what is new; drawn soon after."""
        self.run, self.vanished = run, False
        if restarted:
            self.data = RunData()
        self.data.device = run.status.device if run.status else ""
        self.data.extend(records)
        self._look_for_ghost(getattr(self.app, "runs", []))
        self.changed()

    def run_vanished(self, run_id: str) -> None:
        """Say that the run is gone and keep showing what is known."""
        self.vanished = True
        self.changed()

    # --- what worker threads read

    def _look_for_ghost(self, runs: list[Run]) -> None:
        other = find_ghost(self.run, runs) if self.run is not None else None
        if other is not None and other.id != self._ghost_id:
            self._ghost_id = other.id
            self._load_ghost(other)

    @work(thread=True, exclusive=True, group="ghost")
    def _load_ghost(self, run: Run) -> None:
        name = f"best {run.config.preset}" if run.config else "best earlier"
        curves = GhostCurves.of(name, load_ghost(run.directory), epoch_steps(run.status, run.config))
        self.post_message(self.GhostLoaded(run.id, curves))

    @on(GhostLoaded)
    def _ghost_loaded(self, message: GhostLoaded) -> None:
        if message.run_id == self._ghost_id:
            self.ghost = message.ghost
            self.changed()

    def read_log_soon(self) -> None:
        """Have the log read on while it is on screen; one reader at a time."""
        if self.run is None or not self.shows_log or self.vanished:
            return
        if any(w.group == "log" and w.state in (WorkerState.PENDING, WorkerState.RUNNING) for w in self.workers):
            return
        self._log_reader = self._log_reader or LogReader(self.run.directory)
        self._read_log(self._log_reader)

    @work(thread=True, group="log")
    def _read_log(self, reader: LogReader) -> None:
        lines, restarted = reader.read()
        if lines or restarted:
            self.post_message(self.LogRead(lines, restarted))

    @on(LogRead)
    def _log_read(self, message: LogRead) -> None:
        self.log_tail.extend(message.lines, message.restarted)
        self.changed()
