"""What the GPU screen shows where lines are left: the runs at work, and the last minutes as charts of blocks. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime

from fmnist_tui.runs.store import Run
from fmnist_tui.tui import format as words
from fmnist_tui.tui.format import Glyphs
from fmnist_tui.tui.machine import HISTORY, History, Line

LEAST, MOST = 4, 16
"""Lines of a chart, its title and the line of its time not counted."""
AXIS = 6
"""Cells left of a chart."""
SPANS = (60, 120, 300, HISTORY)
"""Seconds from the left edge to now: the least of these that holds what was seen since the app was opened."""
NARROW = 60
"""Columns below which there are no charts."""


def runs_at_work(runs: Sequence[Run], now: datetime, width: int, glyphs: Glyphs) -> list[Line]:
    """A line for each run at work: name, device, position, speed, time left."""
    at_work = [run for run in runs if run.state.at_work and run.status]
    if not at_work:
        return [[("No run is at work.", "foreground-muted")]]
    lines: list[Line] = [[("Runs at work", "bold")]]
    for run in at_work:
        status = run.status
        assert status is not None
        speed = f"{words.speed(status.images_per_second)} img/s" if status.images_per_second else status.phase
        left = words.seconds_left(run, now)
        facts = [
            status.device_name or status.device,
            f"epoch {status.epoch} of {status.epochs}",
            speed,
            f"{words.duration(left)} left" if left is not None else "",
        ]
        said = f" {glyphs.dot} ".join(fact for fact in facts if fact)
        name = words.shorten(run.name, max(8, width - len(said) - 4), glyphs.ellipsis)
        lines.append([(f"  {name}  ", ""), (said[: max(0, width - len(name) - 4)], "foreground-muted")])
    return lines


def charts(history: History, rows: int, width: int, glyphs: Glyphs) -> list[Line]:
    """The last minutes, up to ten, of each GPU and of the host, one chart below the other, in at most `rows` lines.

    Where not all have room, the first of them; none where one has not.
    """
    newest = history.newest
    if newest is None or width < NARROW:
        return []
    cells = width - AXIS
    wanted: list[tuple[str, list[float | None], float]] = []
    for gpu in newest.gpus:
        wanted.append((f"GPU {gpu.index} busy %", history.gpu(gpu.index, "utilization", HISTORY), 100.0))
        if gpu.power_limit:
            wanted.append((f"GPU {gpu.index} power W", history.gpu(gpu.index, "power", HISTORY), gpu.power_limit))
    wanted.append(("CPU %", history.host("cpu_percent", HISTORY), 100.0))
    if newest.host.ram_total:
        gib = 1 << 30
        used = [None if value is None else value / gib for value in history.host("ram_used", HISTORY)]
        wanted.append(("RAM GiB", used, newest.host.ram_total / gib))
    fit = min(len(wanted), max(0, rows - 1) // (LEAST + 2))
    if not fit:
        return []
    height = min(MOST, (rows - 1) // fit - 2)
    span = next(span for span in SPANS if len(wanted[0][1]) <= span)
    lines: list[Line] = []
    for title, values, high in wanted[:fit]:
        lines += [[], [(f"  {title}", "bold")], *_chart(_columns(values, cells, span), high, height, glyphs)]
    return [*lines, [(_time_axis(cells, span), "foreground-muted")]]


def _chart(columns: list[float | None], high: float, rows: int, glyphs: Glyphs) -> list[Line]:
    """Columns of blocks from 0 to `high`, the newest at the right."""
    steps = len(glyphs.sparks)
    lines: list[Line] = []
    for row in reversed(range(rows)):
        filled = ""
        for value in columns:
            part = 0.0 if value is None else min(1.0, value / high) * rows - row
            filled += " " if part <= 0 or value is None else glyphs.sparks[min(steps, max(1, round(part * steps))) - 1]
        label = f"{high:.0f}" if row == rows - 1 else "0" if row == 0 else ""
        lines.append([(f"{label:>{AXIS - 1}} ", "foreground-muted"), (filled, "primary")])
    return lines


def _columns(values: list[float | None], cells: int, span: int) -> list[float | None]:
    """The last `span` samples as this many columns, each the highest of its own; None where there is none yet."""
    padded = [None] * (span - len(values)) + values
    bounds = [at * span // cells for at in range(cells + 1)]
    found: list[float | None] = []
    for low, end in itertools.pairwise(bounds):
        known = [value for value in padded[low : max(end, low + 1)] if value is not None]
        found.append(max(known) if known else None)
    return found


def _time_axis(cells: int, span: int) -> str:
    left, middle = f"{span // 60} min ago", f"{span / 120:g} min" if span > 60 else "30 s"
    before = max(1, cells // 2 - len(left))
    return " " * AXIS + f"{left}{' ' * before}{middle}".ljust(cells - 3) + "now"
