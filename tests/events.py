"""The events a run has written, for tests."""

from __future__ import annotations

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EventRecord, read_metrics


def events(run: RunDirectory, kind: str) -> list[EventRecord]:
    """The events of a kind; none where nothing is written yet."""
    return [record for record in read_metrics(run).event if record.event == kind]


def messages(run: RunDirectory, kind: str) -> list[str]:
    """What the events of a kind say."""
    return [record.message for record in events(run, kind)]
