"""The table of `runs list` and its JSON objects, and what is not in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from fmnist_tui.console import words
from fmnist_tui.console.output import as_json
from fmnist_tui.console.states import state_text
from fmnist_tui.runs.queue import place_in_words
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run


class Column(NamedTuple):
    """A column of the list."""

    title: str
    cell: Callable[[Run], str | Text]
    right: bool = True


def _state(run: Run) -> Text:
    place = place_in_words(run.status) if run.state is State.QUEUED and run.status else ""
    short = place.partition(" on ")[0].partition(",")[0]
    return state_text(run.state) + Text(f", {short}" if short else "", style="dim")


def _epoch(run: Run) -> str:
    return f"{run.status.epoch}/{run.status.epochs}" if run.status else words.NOTHING


def _accuracy(value: float | None) -> str:
    return words.percent(value).removesuffix(" %")


def _time(run: Run) -> str:
    if run.status is None:
        return words.NOTHING
    if run.state is State.QUEUED:
        return words.starts(run.status.starts_in_seconds).removeprefix("starts ") or words.NOTHING
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
    Column("state", _state, right=False),
    Column("epoch", _epoch),
    Column("test %", lambda run: _accuracy(run.status.test_accuracy if run.status else None)),
    Column("best %", lambda run: _accuracy(run.status.best_accuracy if run.status else None)),
    Column("time", _time),
    Column("device", lambda run: run.status.device if run.status else words.NOTHING, right=False),
    Column("img/s", _speed),
    Column("group", lambda run: (run.config.group if run.config else None) or words.NOTHING, right=False),
)
"""The most wanted first: where the terminal is narrow, the last are left out. The group where a run has one."""
GAP = 2
SHORTEST = 13
"""Cells to which a wide one is cut before any column is left out: room for '1 h 12 m left' and '… queued, 2nd'."""


class _Fitted(NamedTuple):
    """What the width has room for: the columns, their cells by column, and their widths."""

    columns: Sequence[Column]
    cells: list[list[str | Text]]
    widths: list[int]
    left_out: Sequence[Column]


def runs_table(runs: Sequence[Run], width: int) -> Table:
    """The runs as a table of at most this width; `left_out` says what it had no room for.

    An id is never cut: it is what the other commands take.
    """
    fitted = _fit(runs, width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for column, cells in zip(fitted.columns, fitted.widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, no_wrap=True, overflow="ellipsis", max_width=cells)
    for row in zip(*fitted.cells, strict=True):
        table.add_row(*row)
    return table


def left_out(runs: Sequence[Run], width: int) -> list[str]:
    """The titles of the columns that `runs_table` has no room for at this width."""
    return [column.title for column in _fit(runs, width).left_out]


def _fit(runs: Sequence[Run], width: int) -> _Fitted:
    columns = COLUMNS if any(run.config and run.config.group for run in runs) else COLUMNS[:-1]
    cells = [[column.cell(run) for run in runs] for column in columns]
    needed = [
        max(cell_len(column.title), *(cell_len(str(cell)) for cell in column_cells))
        for column, column_cells in zip(columns, cells, strict=True)
    ]
    shown = len(columns)
    while (widths := _widths(needed[:shown], width)) is None and shown > 1:
        shown -= 1
    return _Fitted(columns[:shown], cells[:shown], widths or needed[:shown], columns[shown:])


def _widths(needed: Sequence[int], width: int) -> list[int] | None:
    """The columns' widths, all but the first (the id) cut as far as they must; None where that is not enough."""
    least = [needed[0], *(min(cells, SHORTEST) for cells in needed[1:])]
    widths = [needed[0], *(min(cells, max(width, SHORTEST)) for cells in needed[1:])]
    over = sum(widths) + GAP * (len(widths) - 1) - width
    for _ in range(over):
        widest = max(range(len(widths)), key=lambda at: widths[at] - least[at])
        if widths[widest] == least[widest]:
            return None
        widths[widest] -= 1
    return widths


def run_object(run: Run) -> dict[str, Any]:
    """A run as one JSON object: its status, and what names it."""
    return {
        "id": run.id,
        "name": run.name,
        "preset": run.config.preset if run.config else None,
        "group": run.config.group if run.config else None,
        "model": run.config.model.kind if run.config else None,
        "directory": str(run.directory.path),
        "problem": run.problem,
        "earlier_problem": run.earlier_problem,
        **(as_json(run.status) or {}),
        "state": str(run.state),
    }
