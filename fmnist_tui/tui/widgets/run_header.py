"""The lines above a run's charts: who it is and how it stands, how far it is, how long it takes, how good it is.

`header_lines` is a pure function of the run, its data and the time; `RunHeader` shows its lines and redraws one
only where its text changed. Used by the Run screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len
from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from fmnist_tui.runs.records import seconds_since
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.eta import EXPIRES_SECONDS, Remaining
from fmnist_tui.tui.format import (
    ASCII,
    UNICODE,
    Glyphs,
    bar,
    duration,
    epochs_of,
    moment,
    number,
    pace,
    percent,
    progress,
    queued,
    seconds_to_start,
    shorten,
    speed,
)

SILENT_SECONDS = 15.0
"""Without a heartbeat for this long (it beats every two seconds) a run at work is said to be silent."""
MIN_BAR = 8
"""Cells the run's own bar needs beside where it stops."""
LEAST_NAME = 8
"""Cells of a run's name that stay beside what it is doing."""
TAIL = 7
"""Cells of the last letters of its id, with the gap before them."""
STYLES = ("label", "strong", "bar", "rest", "test", "best", "alive", "warning", "error", "success", "muted")
"""Names of the looks of the header's texts; RunHeader has a component class `run-header--NAME` for each."""
STATE_STYLES = {
    State.QUEUED: "muted",
    State.STARTING: "alive",
    State.RUNNING: "alive",
    State.STOPPING: "warning",
    State.FINISHED: "success",
    State.STOPPED: "warning",
    State.FAILED: "error",
    State.LOST: "error",
}
Part = tuple[str, str]
"""A piece of text and the name of its look, '' for the plain one."""


@dataclass(frozen=True)
class Standing:
    """What the header shows besides the run itself."""

    run_id: str
    run: Run | None
    per_epoch: int = 1
    step: int = 0
    remaining: Remaining | None = None
    starts: int = 1
    deleted: bool = False


def header_lines(standing: Standing, now: datetime, width: int, glyphs: Glyphs = UNICODE) -> list[list[Part]]:
    """Four lines of at most `width` cells; the first two are the ones to keep where there is no room."""
    run = standing.run
    if run is None or run.status is None:
        state = "deleted" if standing.deleted else "loading" if run is None else str(run.state)
        name = [(f" {shorten(standing.run_id, width - len(state) - 4, glyphs.ellipsis)}", "strong")]
        return [_spread(name, [(state + " ", "" if state == "loading" else "error")], width), [], [], []]
    status = run.status
    return [
        _identity(standing, run, status, now, width, glyphs),
        _overall(status, width, glyphs),
        _pace(standing, run, status, now, width, glyphs),
        _measures(run, status, width, glyphs),
    ]


def _spread(left: Sequence[Part], right: Sequence[Part], width: int) -> list[Part]:
    """Left parts at the left, right parts at the right end."""
    used = sum(cell_len(text) for text, _ in (*left, *right))
    return [*left, (" " * max(0, width - used), ""), *right]


def _identity(standing: Standing, run: Run, status: Status, now: datetime, width: int, glyphs: Glyphs) -> list[Part]:
    style = STATE_STYLES[run.state] if not standing.deleted else "error"
    words = _state_words(run, status) if not standing.deleted else "deleted"
    silence = seconds_since(status.heartbeat, now.astimezone(UTC))
    waits = status.job is not None and status.pid is None  # for Slurm: there is nobody yet to be heard of
    if run.state.alive and silence > SILENT_SECONDS and not standing.deleted and not waits:
        words = f"{run.state}, but no heartbeat for {duration(silence)}"
        style = "warning"
    name = shorten(run.name, max(LEAST_NAME, width - len(words) - 5 - TAIL), glyphs.ellipsis)
    glyph = glyphs.states[State.LOST if standing.deleted else run.state]
    left: list[Part] = [(f" {glyph} ", style), (f"{name}  ", "strong")]
    room = width - len(words) - 2 - sum(cell_len(text) for text, _ in left)
    if room >= len(run.id):
        left.append((f" {run.id}", "label"))
    elif room >= 5:
        left.append((f" {run.id[-4:]}", "label"))  # the part that tells runs of one name apart
    return _spread(left, [(shorten(words, width - 8, glyphs.ellipsis) + " ", style)], width)


def _state_words(run: Run, status: Status) -> str:
    if run.state is State.QUEUED and status.job is not None:
        return f"queued, {queued(status)}"
    device = "" if status.device in ("", "auto") else f" on {status.device}"
    if run.state.alive and status.phase not in ("", "training"):
        return f"{run.state}{device}, {status.phase}"
    return f"{run.state}{device}" if run.state.alive or run.state is State.QUEUED else str(run.state)


def _overall(status: Status, width: int, glyphs: Glyphs) -> list[Part]:
    share = progress(status)
    where, percents = epochs_of(status), f"   {100 * share:5.1f} % "
    if len(where) + len(percents) + MIN_BAR > width:
        where = where.partition(", stops")[0]
    text = f"  {where}{percents}"
    return [(" ", ""), *_bar(share, width - len(text) - 1, glyphs), (text, "")]


def _bar(share: float, width: int, glyphs: Glyphs) -> list[Part]:
    filled, rest = bar(share, max(0, width), glyphs)
    return [(filled, "bar"), (rest, "rest")]


def _pace(standing: Standing, run: Run, status: Status, now: datetime, width: int, glyphs: Glyphs) -> list[Part]:
    """The epoch's bar, speed and time left of a run at work; how long it took and when it ended of one that is not."""
    if standing.deleted:
        return [(" its directory is gone; below is what was known until then", "error")]
    if run.state is State.QUEUED:
        return [(f" {shorten(_waiting(run, status, now), width - 2, glyphs.ellipsis)}", "")]
    rate = f"{speed(pace(run), glyphs.missing)} img/s"
    if not run.state.alive:
        return _ended(standing, run, status, now, rate)
    left = _left_words(standing.remaining, run, status, now, glyphs)
    done = standing.step - (max(1, status.epoch) - 1) * standing.per_epoch
    done = min(max(done, 0), standing.per_epoch)
    counter = f"  {done:,}/{standing.per_epoch:,}   {rate}   {left} "
    room = width - len(counter) - len(" epoch ")
    if room < 6:
        return [(shorten(counter.strip().rjust(width - 1), width, glyphs.ellipsis), "")]
    parts = _bar(done / standing.per_epoch, room, glyphs)
    counted = [(f"  {done:,}/{standing.per_epoch:,}   {rate}   ", ""), (left, "strong"), (" ", "")]
    return [(" epoch ", "label"), *parts, *counted]


def _left_words(remaining: Remaining | None, run: Run, status: Status, now: datetime, glyphs: Glyphs) -> str:
    """'5m 02s - 5m 20s left, 14:33'."""
    if remaining is None or run.state is State.STARTING:  # of a resumed run the figures are those of before
        if run.state is State.STOPPING:
            return "stopping"
        silence = seconds_since(status.heartbeat, now.astimezone(UTC))
        return f"time left: {'not known' if silence > EXPIRES_SECONDS else 'measuring'}"
    low, high = duration(remaining.low), duration(remaining.high)
    dash = "-" if glyphs is ASCII else "–"
    span = low if low == high else f"{low} {dash} {high}"
    end = (now + timedelta(seconds=(remaining.low + remaining.high) / 2)).astimezone()
    today = now.astimezone()
    clock = f"{end:%H:%M}" if end.date() == today.date() else f"{end:%a %H:%M}"
    if end - today > timedelta(days=6):
        clock = f"{end.day} {end:%b}"
    return f"{span} left, {clock}"


def _waiting(run: Run, status: Status, now: datetime) -> str:
    """'starts in 31s, waits since today 14:30, 2nd on cuda:0, behind wrn-k3f9'."""
    wait = seconds_to_start(run, now)
    starts = "" if wait is None else f"starts in {duration(wait)}"
    since = "" if status.started else f"waits since {moment(status.created, now)}"  # a resumed run: not so long
    return ", ".join(part for part in (starts, since, queued(status)) if part)


def _ended(standing: Standing, run: Run, status: Status, now: datetime, rate: str) -> list[Part]:
    total = run.result.total_seconds if run.result else status.active_seconds
    when = moment(status.ended or status.heartbeat, now)
    facts = [f"{'last heard of' if run.state is State.LOST else run.state} {when}", f"{duration(total)} at work"]
    if pace(run):
        facts.append(rate)
    if standing.starts > 1:
        facts.append(f"{standing.starts} starts")
    return [(" " + "   ".join(facts), "")]


def _measures(run: Run, status: Status, width: int, glyphs: Glyphs) -> list[Part]:
    """Test, best, reference, loss and learning rate; the last that do not fit are left out."""
    missing = glyphs.missing
    reference = run.config.measured_against if run.config else None
    best = percent(status.best_accuracy, missing)
    facts: list[tuple[str, str, str]] = [
        ("test", f"{percent(status.test_accuracy, missing)} %", "test"),
        ("best", f"{best} %" + (f" ({status.best_epoch})" if status.best_epoch else ""), "best"),
    ]
    if reference is not None:
        facts.append(("reference", f"{percent(reference.accuracy)} %", ""))
    facts.append(("loss", number(status.loss, missing), "strong"))
    facts.append(("lr", missing if status.lr is None else f"{status.lr:.3g}", ""))
    parts: list[Part] = []
    used = 0
    for label, value, style in facts:
        size = len(label) + len(value) + (4 if parts else 2)
        if used + size > width:
            break
        parts += [("   " if parts else " ", ""), (f"{label} ", "label"), (value, style)]
        used += size
    return parts


class RunHeader(Widget):
    """Shows the lines it is given. Strips are made here, not from markup: it changes five times a second."""

    COMPONENT_CLASSES = {f"run-header--{name}" for name in STYLES}  # noqa: RUF012 (Textual's name and type)
    DEFAULT_CSS = """
    RunHeader {
        height: 4; width: 100%; color: $foreground;
        & > .run-header--label { color: $foreground 65%; }
        & > .run-header--strong { text-style: bold; }
        & > .run-header--bar { color: $primary; }
        & > .run-header--rest { color: $foreground 25%; }
        & > .run-header--test { color: $text-accent; text-style: bold; }
        & > .run-header--best { color: $text-success; text-style: bold; }
        & > .run-header--alive { color: $primary; text-style: bold; }
        & > .run-header--warning { color: $text-warning; text-style: bold; }
        & > .run-header--error { color: $text-error; text-style: bold; }
        & > .run-header--success { color: $text-success; text-style: bold; }
        & > .run-header--muted { color: $foreground 65%; text-style: bold; }
    }
    """
    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[list[Part]] = []

    def show(self, lines: list[list[Part]]) -> None:
        """Show these lines; only changed ones are drawn again."""
        before, self._lines = self._lines, lines
        for row, line in enumerate(lines):
            if row >= len(before) or before[row] != line:
                self.refresh(Region(0, row, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """One of the lines."""
        width, base = self.size.width, self.rich_style
        parts = self._lines[y] if y < len(self._lines) else []
        segments = [
            Segment(text, base + self.get_component_rich_style(f"run-header--{name}") if name else base)
            for text, name in parts
        ]
        return Strip(segments).adjust_cell_length(width, base)
