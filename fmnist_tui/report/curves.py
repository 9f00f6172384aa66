"""Curves as inline SVG: loss, accuracy and learning rate by epoch, with round ticks, marks and hover texts.

Called by `run_page`. Every size is in the SVG's own units; the page scales it. Colours are classes that the page's
style sheet gives, so that one drawing serves light and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from fmnist_tui.analysis.axis import Scale, epoch_ticks
from fmnist_tui.analysis.series import Floats, Series, decimate

WIDTH, HEIGHT = 640.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 630.0, 14.0, 222.0
"""Edges of the plot."""
COLUMNS = 574
"""A column a unit: with more points than twice this, each shows its least and greatest value."""
HOVER_POINTS = 120
"""Points of a line that tell their value; the page must not grow with the length of a run."""
Y_TICKS, X_TICKS = 6, 10


@dataclass(frozen=True)
class Line:
    """A curve of a chart."""

    label: str
    style: str
    """A class of the style sheet: 'train', 'test', 'other'."""
    series: Series
    value: Callable[[float], str]
    """A value in words, for the hover text."""


@dataclass(frozen=True)
class Level:
    """A horizontal line."""

    label: str
    value: float


class _Frame:
    """From epochs and values to places."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], scale: Scale) -> None:
        self.x_range, self.y_range, self.scale = x, y, scale
        self._low, self._high = (float(p) for p in scale.position(list(y)))

    def x(self, epochs: Floats) -> Floats:
        low, high = self.x_range
        places: Floats = LEFT + (epochs - low) / (high - low) * (RIGHT - LEFT)
        return places

    def y(self, values: Floats) -> Floats:
        share = (self.scale.position(values) - self._low) / (self._high - self._low)
        places: Floats = BOTTOM - np.clip(share, 0.0, 1.0) * (BOTTOM - TOP)
        return places


def chart(title: str, lines: Sequence[Line], scale: Scale, levels: Sequence[Level] = ()) -> str:
    """A figure element with the lines that have points; '' where none has any, finite or not."""
    lines = [line for line in lines if len(line.series) or line.series.marks]
    if not lines:
        return ""
    frame = _frame(lines, scale, levels)
    named = f"{title} ({scale.name} scale)" if scale.name else title
    parts = [_axes(frame), *(_level(level, frame) for level in levels)]
    parts += [_curve(line, frame) for line in lines]
    parts += [_marks(line, frame) for line in lines]
    legend = " ".join(f'<span class="key {line.style}">{escape(line.label)}</span>' for line in lines)
    legend += "".join(f' <span class="key level">{escape(level.label)}</span>' for level in levels)
    return (
        f"<figure><figcaption>{escape(named)} {legend}</figcaption>\n"
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(named)} by epoch">\n'
        + "\n".join(part for part in parts if part)
        + "\n</svg></figure>"
    )


def _frame(lines: Sequence[Line], scale: Scale, levels: Sequence[Level]) -> _Frame:
    values = [np.concatenate([line.series.low, line.series.high]) for line in lines]
    values.append(np.asarray([level.value for level in levels]))
    every = np.concatenate(values)
    low, high = (float(every.min()), float(every.max())) if every.size else (0.1, 1.0)
    ends = [line.series.last_x or 0.0 for line in lines] + [mark.x for line in lines for mark in line.series.marks]
    return _Frame((0.0, max(*ends, 1.0)), scale.limits(low, high), scale)


def _axes(frame: _Frame) -> str:
    parts = []
    y_ticks = frame.scale.ticks(*frame.y_range, Y_TICKS)
    for tick, y in zip(y_ticks, frame.y(np.asarray([tick.value for tick in y_ticks])), strict=True):
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{escape(tick.label)}</text>'
        )
    x_ticks = epoch_ticks(*frame.x_range, X_TICKS)
    for tick, x in zip(x_ticks, frame.x(np.asarray([tick.value for tick in x_ticks])), strict=True):
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM:g}" y2="{BOTTOM + 4:g}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{BOTTOM + 17:g}" text-anchor="middle">{escape(tick.label)}</text>'
        )
    parts.append(f'<path class="axis" d="M{LEFT:g} {TOP:g}V{BOTTOM:g}H{RIGHT:g}"/>')
    parts.append(f'<text class="tick" x="{RIGHT:g}" y="{HEIGHT - 4:g}" text-anchor="end">epoch</text>')
    return "\n".join(parts)


def _level(level: Level, frame: _Frame) -> str:
    (y,) = frame.y(np.asarray([level.value]))
    return (
        f'<line class="level" x1="{LEFT:g}" x2="{RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}">'
        f"<title>{escape(level.label)}</title></line>"
    )


def _curve(line: Line, frame: _Frame) -> str:
    series = line.series
    if not len(series):
        return ""
    parts = []
    if (series.low < series.high).any():  # what a line of the metrics is the mean of
        parts.append(_band(series, frame, line.style))
    x, y = _reduced(series, frame)
    parts.append(f'<path class="{line.style}" d="{_path(x, y, series, frame)}"/>')
    parts += _hover(line, frame)
    return "\n".join(parts)


def _reduced(series: Series, frame: _Frame) -> tuple[Floats, Floats]:
    """Epochs and values of the points to draw; of very many the least and the greatest of each column."""
    if len(series) <= 2 * COLUMNS:
        return series.x, series.values
    low, high = frame.x_range
    columns = decimate(series.x, series.values, series.values, (low, high), COLUMNS)
    filled = np.flatnonzero(np.isfinite(columns.low))
    middles = low + (filled + 0.5) * (high - low) / COLUMNS
    pairs = np.stack([columns.low[filled], columns.high[filled]], axis=1)
    pairs[1::2] = pairs[1::2, ::-1]  # down in one column, up in the next: no slanting strokes
    return np.repeat(middles, 2), pairs.reshape(-1)


def _path(x: Floats, y: Floats, series: Series, frame: _Frame) -> str:
    """A path through the points, broken where something that is not finite lies between two of them."""
    marks = np.asarray([mark.x for mark in series.marks])
    breaks = np.zeros(len(x), dtype=bool)
    breaks[0] = True
    if marks.size:
        breaks[1:] = np.searchsorted(marks, x[:-1]) < np.searchsorted(marks, x[1:], side="right")
    moves = zip(breaks.tolist(), frame.x(x).tolist(), frame.y(y).tolist(), strict=True)
    return "".join(f"{'M' if move else 'L'}{a:.1f} {b:.1f}" for move, a, b in moves)


def _band(series: Series, frame: _Frame, style: str) -> str:
    low, high = frame.x_range
    columns = decimate(series.x, series.low, series.high, (low, high), min(COLUMNS, max(1, len(series) // 2)))
    filled = np.flatnonzero(np.isfinite(columns.low))
    x = frame.x(low + (filled + 0.5) * (high - low) / len(columns.low)).tolist()
    upper, lower = frame.y(columns.high[filled]).tolist(), frame.y(columns.low[filled]).tolist()
    points = [*zip(x, upper, strict=True), *zip(reversed(x), reversed(lower), strict=True)]
    return f'<path class="band {style}" d="M{"L".join(f"{a:.1f} {b:.1f}" for a, b in points)}Z"/>'


def _hover(line: Line, frame: _Frame) -> list[str]:
    """Circles that tell their value: all points of a short line, else some, with the best, the worst and the last."""
    series = line.series
    count = len(series)
    chosen = np.unique(np.linspace(0, count - 1, min(count, HOVER_POINTS)).round().astype(int))
    chosen = np.unique([*chosen, int(series.values.argmin()), int(series.values.argmax())])
    shown = "dot" if count <= HOVER_POINTS else "dot hidden"
    x, y = frame.x(series.x[chosen]).tolist(), frame.y(series.values[chosen]).tolist()
    texts = [f"epoch {series.x[at]:.4g}: {line.label} {line.value(float(series.values[at]))}" for at in chosen]
    return [
        f'<circle class="{shown} {line.style}" cx="{a:.1f}" cy="{b:.1f}" r="3"><title>{escape(text)}</title></circle>'
        for a, b, text in zip(x, y, texts, strict=True)
    ]


def _marks(line: Line, frame: _Frame) -> str:
    """What is not finite: a dashed line with a cross at its top."""
    parts = []
    for mark in line.series.marks[:HOVER_POINTS]:
        (x,) = frame.x(np.asarray([mark.x])).tolist()
        said = escape(f"epoch {mark.x:.4g}: {line.label} is {mark.kind}")
        parts.append(
            f'<g class="mark"><title>{said}</title><path d="M{x:.1f} {TOP:g}V{BOTTOM:g}"/>'
            f'<path class="cross" d="M{x - 4:.1f} {TOP - 4:g}l8 8m0 -8l-8 8"/></g>'
        )
    return "\n".join(parts)
