"""The table of `runs list` and its JSON objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from fmnist_tui.console import words
from fmnist_tui.console.output import as_json
from fmnist_tui.console.states import state_text
from fmnist_tui.runs.store import Run


class Column(NamedTuple):
    """A column of the list: what it shows, and from which terminal width on it is shown."""

    title: str
    cell: Callable[[Run], str | Text]
    from_width: int = 0
    right: bool = True


def _epoch(run: Run) -> str:
    return f"{run.status.epoch}/{run.status.epochs}" if run.status else words.NOTHING


def _accuracy(value: float | None) -> str:
    return words.percent(value).removesuffix(" %")


def _time(run: Run) -> str:
    if run.status is None:
        return words.NOTHING
    if run.state.alive:
        return f"{words.duration(run.status.eta_seconds)} left" if run.status.eta_seconds is not None else words.NOTHING
    return words.duration(run.status.active_seconds) if run.status.active_seconds else words.NOTHING


def _speed(run: Run) -> str:
    speed = run.status.images_per_second if run.status and run.state.alive else None
    if run.result is not None and not run.state.alive:
        speed = run.result.images_per_second
    return words.speed(speed).removesuffix(" img/s")


COLUMNS = (
    Column("run", lambda run: run.id, right=False),
    Column("state", lambda run: state_text(run.state), right=False),
    Column("epoch", _epoch),
    Column("test %", lambda run: _accuracy(run.status.test_accuracy if run.status else None)),
    Column("best %", lambda run: _accuracy(run.status.best_accuracy if run.status else None), from_width=72),
    Column("time", _time, from_width=90),
    Column("img/s", _speed, from_width=100),
    Column("device", lambda run: run.status.device if run.status else words.NOTHING, from_width=110, right=False),
)


def runs_table(runs: Sequence[Run], width: int | None) -> Table:
    """The runs as a table for a terminal of this width; every column where there is none.

    An id is never cut: it is what the other commands take.
    """
    columns = [column for column in COLUMNS if width is None or width >= column.from_width]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True, overflow="ignore")
    for run in runs:
        table.add_row(*(column.cell(run) for column in columns))
    return table


def run_object(run: Run) -> dict[str, Any]:
    """A run as one JSON object: its status, and what names it."""
    return {
        "id": run.id,
        "name": run.name,
        "preset": run.config.preset if run.config else None,
        "model": run.config.model.kind if run.config else None,
        "directory": str(run.directory.path),
        "problem": run.problem,
        **(as_json(run.status) or {}),
        "state": str(run.state),
    }
