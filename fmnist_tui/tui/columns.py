"""The columns of the Runs table: which fit a width, what stands in each cell, and the order of the runs.

Pure functions, called by `widgets.runs_table`. A cell is text and the name of a theme colour, so the table
alone knows colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from rich.cells import cell_len

from fmnist_tui.monitor.devices import cuda_indices
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import format as words
from fmnist_tui.tui.format import Glyphs
from fmnist_tui.tui.remedies import no_checkpoint_is_left


class Cell(NamedTuple):
    """A cell: pieces of text, each with the name of a theme colour ('' is the foreground)."""

    pieces: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The cell without its colours."""
        return "".join(text for text, _ in self.pieces)


@dataclass(frozen=True)
class Column:
    """A column as it may be chosen; widths in cells."""

    key: str
    title: str
    width: int
    """The least it needs."""
    widest: int
    """The most that helps it."""
    rank: int
    """The lower, the sooner it is chosen."""
    align: Literal["left", "right"] = "left"


COLUMNS = (
    Column("glyph", "", 1, 1, 0),
    Column("state", "state", 10, 10, 4),
    Column("name", "name", 14, 40, 1),
    Column("preset", "preset", 14, 14, 13),
    Column("bar", "done", 6, 20, 5),
    Column("epoch", "epoch", 9, 9, 2, "right"),
    Column("loss", "loss", 7, 7, 8, "right"),
    Column("test", "test %", 6, 6, 3, "right"),
    Column("best", "best %", 6, 6, 7, "right"),
    Column("time", "left / ended", 12, 12, 6, "right"),
    Column("device", "device", 6, 8, 9),
    Column("speed", "img/s", 7, 7, 11, "right"),
    Column("took", "at work", 7, 7, 12, "right"),
    Column("started", "created", 11, 11, 14),
    Column("note", "note", 16, 60, 10),
)
"""In the order they stand. `glyph` gives way to `state`, which holds it too."""
DIFFERING_RANK = 4.5
"""The device's, where runs are on several: at 80 columns it then stands in the place of the loss."""

APART_WIDTH, APART_FROM = 21, 60
"""Cells of the name, 'shake-shake-96 seed 3', on screens of how many columns, where runs have one name."""
ROOMY_APART_WIDTH = 32
"""The same from `ROOMY` on: 'quick lr 0.1 epochs 8 seed 40001' rather than the speed beside it."""
SHORTEST_NAME = 4
"""Cells of a name that is shortened for what tells it apart; below this it is left out."""
ROOMY = 100
"""From this width on two cells lie between columns, else one."""


class Layout(NamedTuple):
    """The columns for a width, each with its width (without the gap that follows it)."""

    columns: tuple[tuple[Column, int], ...]
    gap: int


def devices_differ(runs: Sequence[Run]) -> bool:
    """Whether the runs are on several devices, as far as it has been said which."""
    return len({run.status.device for run in runs if run.status} - {"", "auto"}) > 1


def choose(width: int, longest_name: int, devices_differ: bool = False, longest_apart: int = 0) -> Layout:
    """The columns that fit `width` cells, and how wide each is, where the longest title has `longest_name`.

    Chosen by rank, the device before the loss where `devices_differ`; one that does not fit is passed over for
    narrower ones. What is left over widens the name as far as it needs, then the note, the bar and the rest. A title
    that needs something to tell it apart, the longest of which has `longest_apart`, has its room before others.
    """
    gap = 2 if width >= ROOMY else 1
    room = width - 1  # the scroll bar
    widths: dict[str, int] = {}
    apart = min(longest_apart, ROOMY_APART_WIDTH if width >= ROOMY else APART_WIDTH)
    sooner = {"device": DIFFERING_RANK} if devices_differ else {}
    for column in sorted(COLUMNS, key=lambda column: sooner.get(column.key, column.rank)):
        freed = widths.get("glyph", 0) + gap if column.key == "state" and "glyph" in widths else 0
        least = max(column.width, apart) if column.key == "name" and width >= APART_FROM else column.width
        if least + gap <= room + freed:
            room += freed - least - gap
            widths[column.key] = least
            if freed:  # the state's word brings its glyph along
                del widths["glyph"]
    for key in ("name", "note", "bar", "preset", "device"):
        if key in widths:
            column = next(column for column in COLUMNS if column.key == key)
            widest = min(column.widest, longest_name) if key == "name" else column.widest
            grown = min(room, max(0, widest - widths[key]))
            widths[key] += grown
            room -= grown
    return Layout(tuple((column, widths[column.key]) for column in COLUMNS if column.key in widths), gap)


def in_order(runs: Sequence[Run]) -> list[Run]:
    """Runs at work first (newest first), then the queued in their turn, then by when they were last at work.

    Heartbeats of runs at work don't count, so rows stay where they are while runs advance.
    """

    def activity(run: Run) -> tuple[int, int, str, str]:
        status = run.status
        if run.state.at_work or status is None:
            return (2 if status else 0, 0, "", run.id)
        if run.state is State.QUEUED:
            return (1, -(status.queue_place or 1_000_000), "", run.id)
        return (0, 0, status.ended or status.heartbeat, run.id)

    return sorted(runs, key=activity, reverse=True)


def title(run: Run, apart: str = "") -> str:
    """What a run is called in the table: its name, its preset where the name does not say it, what tells it apart."""
    preset = run.config.preset if run.config else None
    name = run.name if not preset or preset in run.name else f"{run.name} ({preset})"
    return f"{name} {apart}" if apart else name


def short_title(run: Run, apart: str, width: int, glyphs: Glyphs) -> str:
    """The title in `width` cells: the name is shortened, not what tells it apart, unless that alone is too long."""
    if not apart:
        return _short_name(run, width, glyphs)
    room = width - len(apart) - 1
    name = _short_name(run, room, glyphs, told_apart=True) + " " if room >= SHORTEST_NAME else ""
    return name + words.shorten(apart, width - len(name), glyphs.ellipsis)


def _short_name(run: Run, width: int, glyphs: Glyphs, told_apart: bool = False) -> str:
    """The title in `width` cells, or the name with its middle cut out: its end may tell it from others.

    Of a sweep's run, 'quick lr=0.05', only the end is kept: there stands what was swept.
    """
    whole = title(run)
    if cell_len(whole) <= width:
        return whole
    if not (run.config and run.config.group):
        shorten = words.shorten if told_apart else words.shorten_middle
        return shorten(run.name, width, glyphs.ellipsis)
    end = words.shorten(run.name[::-1], width, "")[::-1]
    _, space, whole_words = end.partition(" ")
    return glyphs.ellipsis + (space + whole_words or end)


def time_text(run: Run, now: datetime, glyphs: Glyphs) -> str:
    """Time left of a run at work, time to its start of a queued one, else when it ended; no estimate of a lost run."""
    status = run.status
    if status is None:
        return glyphs.missing
    if run.state is State.QUEUED:
        wait = words.seconds_to_start(run, now)
        return glyphs.missing if wait is None else f"in {words.duration(wait)}"
    if run.state.alive:
        left = words.seconds_left(run, now)
        return glyphs.missing if left is None else f"{words.duration(left)} left"
    return words.moment(status.ended or status.heartbeat, now)


def note(run: Run, glyphs: Glyphs) -> tuple[str, str]:
    """What is to be said about a run beyond its numbers, and its colour."""
    status = run.status
    if run.problem:
        return run.problem, "error"
    if status is None:
        return "", ""
    if run.state is State.FAILED:
        return words.first_line(status.error or "failed; see the log (l)"), "error"
    if run.state is State.LOST:
        return f"its worker is gone{'' if no_checkpoint_is_left(run) else '; r resumes it'}", "warning"
    if run.state is State.QUEUED:
        return words.queued(status), "foreground-muted"
    if run.state.alive:
        beside = f"beside {status.beside}" if status.beside else ""
        return ", ".join(part for part in (status.phase, beside) if part), "foreground-muted"
    return "", ""


def _accuracy(value: float | None, glyphs: Glyphs) -> str:
    return words.percent(value, glyphs.missing)


def _epochs(status: Status) -> str:
    return f"{status.epoch}/{status.epochs}"


_SIMPLE: dict[str, Callable[[Status, Glyphs], str]] = {
    "epoch": lambda status, glyphs: _epochs(status),
    "loss": lambda status, glyphs: words.number(status.loss, glyphs.missing),
    "test": lambda status, glyphs: _accuracy(status.test_accuracy, glyphs),
    "best": lambda status, glyphs: _accuracy(status.best_accuracy, glyphs),
    "device": lambda status, glyphs: status.device or glyphs.missing,
    "took": lambda status, glyphs: words.duration(status.active_seconds or None, glyphs.missing),
}
_MUTED = frozenset({"device", "speed", "took", "started", "preset", "best"})


def cell(column: Column, width: int, run: Run, now: datetime, glyphs: Glyphs, apart: str = "") -> Cell:
    """What stands in a run's cell of this column, `width` cells wide; `apart` tells it from others of its name."""
    color = words.STATE_COLORS[run.state]
    status = run.status
    key = column.key
    if key == "glyph":
        return Cell(((glyphs.states[run.state], color),))
    if key == "state":
        return Cell(((f"{glyphs.states[run.state]} {run.state}", color),))
    if key == "name":
        return _text(short_title(run, apart, width, glyphs), "", column, width, glyphs)
    if key == "note":
        return _text(*note(run, glyphs), column, width, glyphs)
    if key == "preset":
        return _text(
            (run.config.preset if run.config else None) or glyphs.missing, "foreground-muted", column, width, glyphs
        )
    if status is None:
        return _text(glyphs.missing, "foreground-muted", column, width, glyphs)
    if key == "bar":
        filled, rest = words.bar(words.progress(status), width, glyphs)
        return Cell(((filled, color), (rest, "foreground-disabled")))
    if key == "speed":
        return _text(words.speed(words.pace(run), glyphs.missing), "foreground-muted", column, width, glyphs)
    if key == "time":
        return _text(time_text(run, now, glyphs), "" if run.state.alive else "foreground-muted", column, width, glyphs)
    if key == "device" and len(status.device) > width and len(gpus := cuda_indices(status.device)) > 1:
        return _text(f"{len(gpus)} GPUs", "foreground-muted", column, width, glyphs)
    if key == "started":
        return _text(words.moment(status.created, now), "foreground-muted", column, width, glyphs)
    text = _SIMPLE[key](status, glyphs)
    quiet = key in _MUTED or text == glyphs.missing
    if key == "loss" and text in ("NaN", "inf", "-inf"):
        return _text(text, "error", column, width, glyphs)
    return _text(text, "foreground-muted" if quiet else "", column, width, glyphs)


def _text(text: str, color: str, column: Column, width: int, glyphs: Glyphs) -> Cell:
    short = words.shorten(text, width, glyphs.ellipsis)
    return Cell(((short.rjust(width) if column.align == "right" else short, color),))
