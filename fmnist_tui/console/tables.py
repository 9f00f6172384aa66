"""The table of `runs list` and its JSON objects, and what is not in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from fmnist_tui.console import words
from fmnist_tui.console.fitted import Column, FittedTable
from fmnist_tui.console.output import console, say, status_values
from fmnist_tui.console.states import state_text
from fmnist_tui.runs.queue import place_in_words
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run


class _Column(NamedTuple):
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
    _Column("run", lambda run: run.id, right=False),
    _Column("state", _state, right=False),
    _Column("epoch", _epoch),
    _Column("test %", lambda run: _accuracy(run.status.test_accuracy if run.status else None)),
    _Column("best %", lambda run: _accuracy(run.status.best_accuracy if run.status else None)),
    _Column("time", _time),
    _Column("device", lambda run: run.status.device if run.status else words.NOTHING, right=False),
    _Column("img/s", _speed),
    _Column("group", lambda run: (run.config.group if run.config else None) or words.NOTHING, right=False),
    _Column("comment", lambda run: run.comment, right=False),
)
"""The most wanted first: where the terminal is narrow, the last are left out. Group and comment where a run has one."""


def runs_table(runs: Sequence[Run]) -> FittedTable:
    """The runs as a table. An id is never cut: it is what the other commands take."""
    unused = set[str]()
    if not any(run.config and run.config.group for run in runs):
        unused.add("group")
    if not any(run.comment for run in runs):
        unused.add("comment")
    columns = [column for column in COLUMNS if column.title not in unused]
    titles = [Column(column.title, rank, column.right) for rank, column in enumerate(columns)]
    return FittedTable(titles, [[column.cell(run) for column in columns] for run in runs], says=False)


def print_runs(runs: Sequence[Run]) -> None:
    """The table on stdout; beside it what has no room and what can't be read."""
    stdout, table = console(), runs_table(runs)
    stdout.print(table)
    if not stdout.is_terminal and (missing := table.left_out(stdout.width)):  # whoever sees a terminal knows it
        say(f"Left out for want of room: {', '.join(missing)}. A wider terminal shows more, --json all.")
    for run in runs:
        for problem in (run.problem, run.earlier_problem):
            if problem:
                say(f"{run.id}: {problem}")


def run_object(run: Run) -> dict[str, Any]:
    """A run as one JSON object: its status, and what names it."""
    return {
        "id": run.id,
        "name": run.name,
        "preset": run.config.preset if run.config else None,
        "group": run.config.group if run.config else None,
        "model": run.config.model.kind if run.config else None,
        "comment": run.comment,
        "directory": str(run.directory.path),
        "problem": run.problem,
        "earlier_problem": run.earlier_problem,
        **status_values(run),
    }
