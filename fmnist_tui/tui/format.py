"""What the app writes into cells: glyphs (Unicode and ASCII), durations, times, numbers, bars.

Pure functions and one table of glyphs; called by every screen. Nothing here knows Textual.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len

from fmnist_tui.runs.queue import place_in_words
from fmnist_tui.runs.records import seconds_since
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run

SILENCE_SECONDS = 60.0
"""An estimate of a worker not heard of for this long is worth nothing."""


@dataclass(frozen=True)
class Glyphs:
    """The characters the app draws with; each is one cell wide but for the degree and the arrow."""

    states: Mapping[State, str]
    missing: str
    """Stands where a value is not known (yet)."""
    ellipsis: str
    dot: str
    """Between two facts on one line."""
    warning: str
    mark: str
    """Before what was chosen among others."""
    bar_full: str
    bar_half: str
    """The end of a bar that is half a cell longer; '' where there is no such character."""
    bar_rest: str
    sparks: str
    """From nothing to full."""
    degree: str
    arrow: str
    """From an earlier value to a later one."""


UNICODE = Glyphs(
    states={
        State.QUEUED: "◌",
        State.STARTING: "○",
        State.RUNNING: "●",
        State.STOPPING: "◐",
        State.FINISHED: "✓",
        State.STOPPED: "■",
        State.FAILED: "✗",
        State.LOST: "?",
    },
    missing="–",
    ellipsis="…",
    dot="·",
    warning="▲",
    mark="◆",
    bar_full="━",
    bar_half="╸",
    bar_rest="─",
    sparks="▁▂▃▄▅▆▇█",
    degree="°C",
    arrow="→",
)
ASCII = Glyphs(
    states={
        State.QUEUED: ".",
        State.STARTING: "o",
        State.RUNNING: "*",
        State.STOPPING: "~",
        State.FINISHED: "+",
        State.STOPPED: "#",
        State.FAILED: "x",
        State.LOST: "?",
    },
    missing="-",
    ellipsis="~",
    dot="|",
    warning="!",
    mark=">",
    bar_full="=",
    bar_half="",
    bar_rest="-",
    sparks="_.-=+*#@",
    degree="C",
    arrow="->",
)

STATE_COLORS: Mapping[State, str] = {
    State.QUEUED: "foreground-muted",
    State.STARTING: "primary",
    State.RUNNING: "primary",
    State.STOPPING: "warning",
    State.FINISHED: "success",
    State.STOPPED: "warning",
    State.FAILED: "error",
    State.LOST: "error",
}
"""The theme variable each state is drawn in; the word stands beside it, so colour is never all there is."""


def wants_ascii(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a terminal gets ASCII only: its locale is not UTF-8, it is one of few characters, or it was asked for.

    ``FMNIST_TUI_ASCII=1`` asks for it, ``=0`` refuses it. An unset locale (containers) counts as UTF-8: Python
    sets LC_CTYPE=C.UTF-8 then, and so it does for LANG=C, which is told apart by LANG being there.
    """
    asked = environment.get("FMNIST_TUI_ASCII", "").strip()
    if asked:
        return asked not in ("0", "no", "false")
    if environment.get("TERM", "") in ("dumb", "linux", "vt100", "vt102", "vt220", "ansi"):
        return True
    coerced = environment.get("LC_CTYPE") == "C.UTF-8" and environment.get("LANG") in ("C", "POSIX")
    chosen = environment.get("LC_ALL") or ("" if coerced else environment.get("LC_CTYPE")) or environment.get("LANG")
    return bool(chosen) and "utf" not in str(chosen).lower()


def duration(seconds: float | None, missing: str = "–") -> str:
    """A time in at most 7 cells: '45s', '5m 02s', '3h 12m', '5d 04h', '120d'."""
    if seconds is None or not math.isfinite(seconds):
        return missing
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    minutes = round(whole / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60}h {minutes % 60:02}m"
    hours = round(whole / 3600)
    return f"{hours // 24}d {hours % 24:02}h" if hours < 100 * 24 else f"{hours // 24:,}d"


def moment(timestamp: str | None, now: datetime, missing: str = "–") -> str:
    """When something was, in local time and at most 11 cells: 'today 14:33', 'Mon 14:33', '23 Nov 2026'."""
    if timestamp is None:
        return missing
    then, here = datetime.fromisoformat(timestamp).astimezone(), now.astimezone()
    if then.date() == here.date():
        return f"today {then:%H:%M}"
    if timedelta(0) < here - then < timedelta(days=6):
        return f"{then:%a %H:%M}"
    return f"{then.day} {then:%b %Y}"


def number(value: float | None, missing: str = "–") -> str:
    """A loss in at most 7 cells: '0.1843', '12.41', '1.2e+05', 'NaN', 'inf'."""
    if value is None:
        return missing
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0 or 1e-3 <= abs(value) < 10:
        return f"{value:.4f}"
    if 10 <= abs(value) < 10_000:
        return f"{value:.4g}"
    return f"{value:.1e}"


def percent(value: float | None, missing: str = "–") -> str:
    """A percentage without its sign, two digits: '93.41'."""
    return missing if value is None else f"{value:.2f}"


def speed(images_per_second: float | None, missing: str = "–") -> str:
    """Images per second without the unit: '9,870', '16.2'."""
    if images_per_second is None or not math.isfinite(images_per_second):
        return missing
    return f"{images_per_second:,.0f}" if images_per_second >= 100 else f"{images_per_second:.1f}"


def gib(count: int | None, missing: str = "–") -> str:
    """Bytes in GiB without the unit, as nvidia-smi counts: '31', '0.4'."""
    if count is None:
        return missing
    value = count / 2**30
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """The text in at most `width` cells of the terminal; what is cut off is marked."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    kept = text[: width - 1]
    while cell_len(kept) > width - 1:  # Chinese, Japanese and Korean letters take two cells
        kept = kept[:-1]
    return kept + ellipsis


def shorten_middle(text: str, width: int, ellipsis: str = "…") -> str:
    """The same with the middle cut out: names of one kind differ at their ends, 'campaig…d40003'."""
    if cell_len(text) <= width or width < 5:
        return shorten(text, width, ellipsis)
    end = shorten(text[::-1], width // 2, "")[::-1]
    return shorten(text, width - cell_len(end), ellipsis) + end


def bar(fraction: float, width: int, glyphs: Glyphs) -> tuple[str, str]:
    """A progress bar of `width` cells as its filled part and its rest; full only when all is done."""
    halves = min(2 * width, int(max(0.0, fraction) * 2 * width))
    filled = glyphs.bar_full * (halves // 2)
    if halves % 2 and glyphs.bar_half:
        filled += glyphs.bar_half
    return filled, glyphs.bar_rest * (width - len(filled))


def sparkline(values: list[float | None], width: int, high: float, glyphs: Glyphs) -> str:
    """The last `width` values from 0 to `high` as a row of blocks; a gap where there is none."""
    top = len(glyphs.sparks) - 1
    cells = [
        " " if value is None else glyphs.sparks[max(0, min(top, round(value / high * top)))] if high > 0 else " "
        for value in values[-width:]
    ]
    return "".join(cells).rjust(width)


def progress(status: Status) -> float:
    """How much of a run is done, 0 to 1, by steps where they are known, else by epochs."""
    if status.steps > 0:
        return min(1.0, status.step / status.steps)
    return min(1.0, status.epoch / status.epochs) if status.epochs > 0 else 0.0


def pace(run: Run) -> float | None:
    """Images a second: a finished run's over all of its training, as in every table, else as last measured.

    None while a run waits or starts: of a resumed one the figure is that of before.
    """
    if run.state in (State.QUEUED, State.STARTING):
        return None
    if run.result is not None and not run.state.alive:
        return run.result.images_per_second
    return run.status.images_per_second if run.status else None


def seconds_left(run: Run, now: datetime) -> float | None:
    """The run's own estimate less the time since it was made; None where it has expired.

    It expires when the run is not at work (lost, ended) or stopping, and when its worker has not been heard of for a
    minute.
    """
    status, goes_on = run.status, run.state.at_work and run.state is not State.STOPPING
    return _counted_down(status, status.eta_seconds, now) if status and goes_on else None


def seconds_to_start(run: Run, now: datetime) -> float | None:
    """A queued run's expected wait less the time since it was said; None where that can't be told (any more)."""
    status = run.status
    return _counted_down(status, status.starts_in_seconds, now) if status and run.state is State.QUEUED else None


def _counted_down(status: Status, seconds: float | None, now: datetime) -> float | None:
    if seconds is None or not math.isfinite(seconds):
        return None
    age = max(0.0, seconds_since(status.heartbeat, now.astimezone(UTC)))
    return max(0.0, seconds - age) if age <= SILENCE_SECONDS else None


def epochs_of(status: Status) -> str:
    """How far a run is and where it ends: 'epoch 37 of 200', 'epoch 37 of 200, stops at 94 %'."""
    text = f"epoch {status.epoch:,} of {status.epochs:,}"
    limit = status.stop_at_accuracy
    return text if limit is None or not status.state.alive else f"{text}, stops at {limit:g} %"


def queued(status: Status) -> str:
    """A queued run's place: '2nd on cuda:0, behind wrn-k3f9', the end of 20261123-142501-wrn-k3f9."""
    _, _, rest = (status.queue_behind or "").partition("-")
    behind = f"behind {rest.partition('-')[2] or status.queue_behind}" if status.queue_behind else ""
    return ", ".join(part for part in (place_in_words(status), behind) if part)


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def count(number_of: int, noun: str) -> str:
    """A number with its noun: '1 run', '3 runs'."""
    return f"{number_of:,} {noun}" + ("" if number_of == 1 else "s")
