"""A chart as a grid of characters: `compose` is a pure function of content, part of the time axis, and size.

`chart.Chart` puts its cells on the screen. Rows: title, plot, x axis, x labels; eight columns of y labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnist_tui.analysis.axis import Scale, epoch_ticks
from fmnist_tui.analysis.series import Columns, Floats, between, decimate
from fmnist_tui.tui.widgets import chart_parts as parts
from fmnist_tui.tui.widgets.chart_content import GUTTER, STYLE, Content, Curve
from fmnist_tui.tui.widgets.chart_raster import ASCII_DOTS, BRAILLE_DOTS, Cells, Layer, Pattern, draw
from fmnist_tui.tui.widgets.chart_view import TimeView

MIN_WIDTH, MIN_HEIGHT = 24, 5
FOCUS_SHARE = 0.1
"""A focused chart lets the first tenth of each curve run out of the picture, so that the rest has the height."""


@dataclass(frozen=True)
class Drawn:
    """A composed chart and where its plot lies (for the mouse)."""

    cells: Cells
    plot_column: int
    plot_width: int


@dataclass
class _Reduced:
    curve: Curve
    line: Columns
    band: Columns | None


def compose(
    content: Content, view: TimeView, width: int, height: int, ascii_only: bool = False, smoothing: float = 0.0
) -> Drawn:
    """The chart's cells at this size."""
    cells = Cells(width, height)
    plot_width, plot_height = width - GUTTER - 1, height - 3
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        cells.put(0, 0, content.title[:width], STYLE["title"])
        return Drawn(cells, 0, 0)
    dots = ASCII_DOTS if ascii_only else BRAILLE_DOTS
    window = view.limits
    reduced = [_reduce(curve, content, window, plot_width * dots[0], smoothing) for curve in content.curves]
    plot = Cells(plot_width, plot_height)
    known = content.limits or _limits(content, reduced)
    low, high = known or content.scale.limits(0.5, 1.0)
    _draw_curves(plot, content, reduced, (low, high), dots)
    parts.put_title(cells, content, view, smoothing, ascii_only)
    y_ticks = content.scale.ticks(low, high, max(2, (plot_height + 1) // 2)) if known else []
    x_ticks = epoch_ticks(*window, max(2, plot_width // 9))
    parts.put_overlays(plot, content, view, (low, high), ascii_only)
    parts.put_grid(plot, content.scale, (low, high), y_ticks, x_ticks, window, ascii_only)
    parts.put_axes(cells, content, (low, high), y_ticks, x_ticks, window, ascii_only)
    parts.put_flags(cells, content.flags, window, plot_width, ascii_only)
    if not any(len(curve.series) or curve.series.marks for curve in content.curves if not curve.background):
        text = content.empty[:plot_width]
        plot.put(plot_height // 2, (plot_width - len(text)) // 2, text, STYLE["message"])
    if view.cursor is not None:
        parts.put_cursor(plot, cells, view.cursor, window, ascii_only)
    cells.chars[1 : 1 + plot_height, GUTTER : GUTTER + plot_width] = plot.chars
    cells.styles[1 : 1 + plot_height, GUTTER : GUTTER + plot_width] = plot.styles
    return Drawn(cells, GUTTER, plot_width)


def _reduce(curve: Curve, content: Content, window: tuple[float, float], columns: int, smoothing: float) -> _Reduced:
    """A curve's columns, in values (gaps between points filled along the straight line)."""
    series, scale = curve.series, content.scale
    span = (window[0] * curve.per_epoch, window[1] * curve.per_epoch)
    weight = smoothing if curve.smooth else 0.0

    def columns_of(low: Floats, high: Floats) -> Columns:
        found = decimate(series.x, low, high, span, columns)
        position = scale.position
        least, most = position(found.low), position(found.high)
        blank = np.isnan(found.low)
        least[blank] = between(series.x, low, span, columns, position, series.marks)[blank]
        most[blank] = between(series.x, high, span, columns, position, series.marks)[blank]
        return Columns(least, most)

    values = series.smoothed(weight)
    band = columns_of(series.low, series.high) if curve.smooth and curve.band else None
    return _Reduced(curve, columns_of(values, values), band)


def _limits(content: Content, reduced: Sequence[_Reduced]) -> tuple[float, float] | None:
    """Values at the lower and upper edge: all that is drawn, less the beginnings where the chart is focused.

    None where nothing is: a scale would be made up.
    """
    lows, highs = [], []
    for item in reduced:
        for part in (item.line, item.band):
            if part is None or not (there := np.flatnonzero(np.isfinite(part.low))).size:
                continue
            kept = there[int(FOCUS_SHARE * there.size) :] if content.focus and there.size >= 10 else there
            lows.append(float(part.low[kept].min()))
            highs.append(float(part.high[there].max()))
    levels = content.scale.position([level.value for level in content.levels]).tolist()
    lows, highs = lows + levels, highs + levels
    if not lows:
        return None
    return content.scale.limits(*_values(content.scale, min(lows), max(highs)))


def _values(scale: Scale, low: float, high: float) -> tuple[float, float]:
    """The values at two positions."""
    if scale.name == "log":
        return 10.0**low, 10.0**high
    if scale.name == "log error":
        return 100.0 - 10.0**-low, 100.0 - 10.0**-high
    return low, high


def _draw_curves(
    plot: Cells, content: Content, reduced: Sequence[_Reduced], limits: tuple[float, float], dots: tuple[int, int]
) -> None:
    scale, layers = content.scale, []
    for level in content.levels:
        height = parts.heights(scale, scale.position(np.full(plot.width * dots[0], level.value)), limits)
        layers.append(Layer(height, height, STYLE[level.style], Pattern.DASHED, "-"))
    for item in reversed(reduced):  # the first curve lies on top
        if item.band is not None:
            low, high = (parts.heights(scale, part, limits) for part in (item.band.low, item.band.high))
            layers.insert(0, Layer(low, high, STYLE["band"], Pattern.BAND, "'"))
        low, high = (parts.heights(scale, part, limits) for part in (item.line.low, item.line.high))
        layers.append(Layer(low, high, STYLE[item.curve.style], item.curve.pattern, item.curve.glyph))
    draw(layers, plot, dots)
