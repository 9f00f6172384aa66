"""The learning rate over a run as a small chart, drawn from `training.schedule` itself.

The New run screen's panel shows it. `lr_chart` is a pure function from a configuration to lines of text;
the widget only gives it the room there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from fmnist_tui.analysis.axis import epoch_ticks
from fmnist_tui.analysis.outlook import plan
from fmnist_tui.config import RunConfig
from fmnist_tui.training.schedule import learning_rate
from fmnist_tui.tui.widgets.chart_parts import put_x_axis
from fmnist_tui.tui.widgets.chart_raster import Cells

LOG_FROM = 10.0
"""A step schedule whose highest rate is this many times its lowest is drawn on a log axis."""
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille cell by row and column."""


@dataclass(frozen=True)
class LrAxis:
    """The vertical axis: what the bottom and the top line stand for."""

    low: float
    high: float
    log: bool

    def share(self, lr: float) -> float:
        """Where a rate lies: 0 at the bottom, 1 at the top."""
        if self.high <= self.low:
            return 0.5
        if self.log:
            return (math.log(max(lr, self.low)) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (lr - self.low) / (self.high - self.low)


def lr_axis(config: RunConfig) -> LrAxis:
    """From 0 to the highest rate; for a step schedule that falls far, logarithmic from its lowest rate."""
    work = plan(config)
    high = config.optimizer.lr
    if config.schedule.kind == "step" and not config.schedule.warmup_epochs:
        low = learning_rate(work.steps - 1, config, work.steps_per_epoch)
        if high / low >= LOG_FROM:
            return LrAxis(low, high, log=True)
    return LrAxis(0.0, high, log=False)


def _column_ranges(config: RunConfig, columns: int) -> list[tuple[float, float]]:
    """The lowest and the highest rate in each of `columns` equal parts of the run, each joined to the one before."""
    work = plan(config)
    ranges = []
    before: float | None = None
    for column in range(columns):
        first = column * work.steps // columns
        last = max(first, (column + 1) * work.steps // columns - 1)
        steps = sorted({first, first + (last - first) // 3, first + 2 * (last - first) // 3, last})
        rates = [learning_rate(step, config, work.steps_per_epoch) for step in steps]
        joined = rates if before is None else [before, *rates]
        ranges.append((min(joined), max(joined)))
        before = rates[-1]
    return ranges


def lr_chart(config: RunConfig, width: int, height: int, ascii_only: bool = False) -> list[str]:
    """The chart as `height` lines of `width` cells: the curve, a line with ticks, and their labels.

    Room for less than a curve of 8x2 cells gives no lines.
    """
    axis = lr_axis(config)
    rows = height - 2
    labels = _rate_labels(axis, rows)
    margin = max(map(len, labels), default=0)
    cells = width - margin - 2
    if rows < 2 or cells < 8:
        return []
    draw = _ascii_rows if ascii_only else _braille_rows
    body = draw(_column_ranges(config, cells if ascii_only else 2 * cells), axis, cells, rows)
    bar = "|" if ascii_only else "┤"
    stem = "|" if ascii_only else "│"
    lines = [f"{label:>{margin}} {bar if label else stem}{line}" for label, line in zip(labels, body, strict=True)]
    return [*lines, *(" " * (margin + 1) + line for line in _epoch_axis(config, cells, ascii_only))]


def _rate_labels(axis: LrAxis, rows: int) -> list[str]:
    """What stands left of each row: the top, the bottom, and the middle where it has a row of its own."""
    labels = [""] * max(rows, 0)
    if rows >= 2:
        labels[0], labels[-1] = f"{axis.high:.3g}", f"{axis.low:.3g}"
    if rows >= 5 and rows % 2:
        middle = math.sqrt(axis.low * axis.high) if axis.log else (axis.low + axis.high) / 2
        labels[rows // 2] = f"{middle:.2g}"
    return labels


def _braille_rows(ranges: Sequence[tuple[float, float]], axis: LrAxis, cells: int, rows: int) -> list[str]:
    grid = [[0] * cells for _ in range(rows)]
    top = 4 * rows - 1
    for column, (low, high) in enumerate(ranges):
        for level in range(round(axis.share(low) * top), round(axis.share(high) * top) + 1):
            y = top - level
            grid[y // 4][column // 2] |= _DOTS[y % 4][column % 2]
    return ["".join(chr(0x2800 + bits) if bits else " " for bits in row) for row in grid]


def _ascii_rows(ranges: Sequence[tuple[float, float]], axis: LrAxis, cells: int, rows: int) -> list[str]:
    grid = [[" "] * cells for _ in range(rows)]
    for column, (low, high) in enumerate(ranges):
        bottom, top = round(axis.share(low) * (rows - 1)), round(axis.share(high) * (rows - 1))
        for level in range(bottom, top + 1):
            grid[rows - 1 - level][column] = "*"
    return ["".join(row) for row in grid]


def _epoch_axis(config: RunConfig, cells: int, ascii_only: bool) -> list[str]:
    """The line below the curve, and the epochs done (or the steps of a run shorter than two epochs) below it."""
    work = plan(config)
    name, done = ("epoch", work.steps / work.steps_per_epoch) if work.epochs >= 2 else ("step", float(work.steps))
    axis = Cells(cells + 1, 2)
    ticks = epoch_ticks(0.0, done, max(3, cells // 9))
    put_x_axis(axis, (0, 1), cells, name, ticks, (0.0, done), ascii_only)
    return ["".join(map(chr, row)) for row in axis.chars.tolist()]


class LrCurve(Widget):
    """The learning rate of a configuration over its run."""

    DEFAULT_CSS = """
    LrCurve { width: 1fr; height: 8; text-wrap: nowrap; }
    """

    def __init__(self, config: RunConfig, *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.config = config
        self.ascii_only = ascii_only

    def show(self, config: RunConfig) -> None:
        """Draw this configuration's rate instead."""
        if config != self.config:
            self.config = config
            self.refresh()

    @property
    def about(self) -> str:
        """What the chart shows, in words."""
        schedule = self.config.schedule.kind.replace("_", "-")
        return schedule + (", log axis" if lr_axis(self.config).log else "")

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Eight lines where the style leaves it open."""
        return 8

    def render(self) -> Content:
        """The chart in the room there is."""
        lines = lr_chart(self.config, self.size.width, self.size.height, self.ascii_only)
        parts: list[tuple[str, str]] = []
        for index, line in enumerate(lines):
            bar = next((at for at, character in enumerate(line) if character in "│┤|"), len(line) - 1)
            color = "$primary" if index < len(lines) - 2 else "$foreground-muted"
            newline = "\n" if index < len(lines) - 1 else ""
            parts += [(line[: bar + 1], "$foreground-muted"), (line[bar + 1 :] + newline, color)]
        return Content.assemble(*parts)
