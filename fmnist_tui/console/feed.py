"""What is new in a run since the last look: its state and the metric lines added. Called by `watch`.

Reads only new bytes of the metrics. No thread, no output.
"""

from __future__ import annotations

from typing import NamedTuple

from fmnist_tui.runs.files import Tail
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, SystemRecord, TrainRecord, parse_metric
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run, load_run

AnyRecord = TrainRecord | EvalRecord | SystemRecord | EventRecord


class Line(NamedTuple):
    """A metric line as it stands in the file, and what it says."""

    raw: bytes
    record: AnyRecord


class RunFeed:
    """Follows one run's directory."""

    def __init__(self, directory: RunDirectory, since: str = "") -> None:
        """Lines with a time before `since` (a record's timestamp) are passed over.

        A resumed run keeps its earlier lines, and its worker rewrites the file without those after the checkpoint.
        """
        self.directory = directory
        self._since = since
        self._tail = Tail(directory.metrics)
        self._last_time = ""

    def read(self) -> tuple[Run, list[Line]]:
        """The run as it stands, and the metric lines that were added since the last call.

        The state is read first: when it says that the run has ended, all its lines are there.
        """
        run = load_run(self.directory)
        if run.state is State.LOST:  # the worker may have ended between the reading of its status and of its pid
            run = load_run(self.directory)
        raw_lines = self._tail.read()
        if self._tail.restarted:
            self._since = max(self._since, self._last_time)
        lines = []
        for raw in raw_lines:
            record = parse_metric(raw)
            if record is None or record.time <= self._since:
                continue
            self._last_time = max(self._last_time, record.time)
            lines.append(Line(raw, record))
        return run, lines
