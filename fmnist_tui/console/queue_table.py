"""`runs queue` as a table and as JSON objects, and which queued run a user means. Called by `commands_queue`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fmnist_tui.console import words
from fmnist_tui.console.fitted import Column, FittedTable
from fmnist_tui.runs import store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import actual_state
from fmnist_tui.runs.queue import DeviceQueue, Entry, snapshot

COLUMNS = (
    Column("device", 2),
    Column("place", 1),
    Column("run"),
    Column("time", 3),
    Column("runs directory", 4, folds=True),
)


def queue_table(devices: Sequence[DeviceQueue]) -> FittedTable:
    """Each device with its run at work, those beside it, and those that wait, in order."""
    rows = []
    for queue in devices:
        device = queue.device
        for entry in [*queue.on, *queue.waiting]:
            rows.append([device, _place(entry), entry.run_id, _time(entry), str(entry.directory.parent)])
            device = ""
    return FittedTable(COLUMNS, rows)


def _place(entry: Entry) -> str:
    if entry.standing is not None:
        return str(entry.standing.place)
    return "beside" if entry.beside else "on it"


def _time(entry: Entry) -> str:
    if entry.standing is not None:
        return words.starts(entry.standing.seconds) or words.NOTHING
    left = entry.status.eta_seconds if entry.status else None
    return words.NOTHING if left is None else f"{words.duration(left)} left"


def queue_objects(devices: Sequence[DeviceQueue]) -> Iterator[dict[str, Any]]:
    """One JSON object for each run on a device or waiting for it; `place` is null for one that is on it."""
    for queue in devices:
        for entry in [*queue.on, *queue.waiting]:
            standing, status = entry.standing, entry.status
            yield {
                "device": queue.device,
                "device_key": queue.key,
                "id": entry.run_id,
                "directory": str(entry.directory),
                "state": str(actual_state(status)) if status else None,
                "place": standing.place if standing else None,
                "behind": standing.behind if standing else None,
                "starts_in_seconds": standing.seconds if standing else None,
                "eta_seconds": status.eta_seconds if status else None,
                "beside": entry.beside,
                "pid": entry.pid,
                "arrived": entry.arrived,
            }


def find_queued(runs_dir: Path, text: str) -> RunDirectory:
    """The run a user means: a queued one of any runs directory, else one of this directory.

    Raises RunError where nothing or several match.
    """
    waiting = [entry for queue in snapshot() for entry in queue.waiting]
    queued = {entry.run_id: entry.directory for entry in waiting if text and text in entry.run_id}
    if len(queued) == 1:
        return RunDirectory(queued.popitem()[1])
    if len(queued) > 1:
        raise RunError(f"RUN = {text!r}: matches {len(queued)} queued runs ({', '.join(sorted(queued))})")
    return store.find_run(runs_dir, text).directory
