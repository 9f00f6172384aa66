"""The parts of a chart around and over its curves: title and legend, axes, grid, marks, labels, cursor.

Called by `chart_draw.compose`. Everything is written into Cells; nothing here knows Textual.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fmnist_tui.analysis.axis import Scale, Tick
from fmnist_tui.analysis.series import Floats
from fmnist_tui.tui.format import ASCII, UNICODE
from fmnist_tui.tui.widgets.chart_content import GUTTER, STYLE, Content, Curve, Flag, Point
from fmnist_tui.tui.widgets.chart_raster import ASCII_DOTS, BLANK, BRAILLE_DOTS, LEGEND, Cells, dot_row
from fmnist_tui.tui.widgets.chart_view import TimeView


def heights(scale: Scale, positions: Floats, limits: tuple[float, float]) -> Floats:
    """Positions as heights: 0 at the lower edge, 1 at the upper."""
    bottom, top = scale.position(limits).tolist()
    return (positions - bottom) / ((top - bottom) or 1.0)


def column_of(x: float, window: tuple[float, float], width: int) -> int | None:
    """The cell column an epoch falls into; None outside the window (its end belongs to the last column)."""
    share = (x - window[0]) / (window[1] - window[0])
    return min(int(share * width), width - 1) if 0.0 <= share <= 1.0 else None


def row_of(value: float, scale: Scale, limits: tuple[float, float], rows: int, ascii_only: bool) -> int:
    """The cell row a curve has at a value; may lie outside."""
    down = (ASCII_DOTS if ascii_only else BRAILLE_DOTS)[1]
    height = heights(scale, scale.position([value]), limits)
    return int(dot_row(height, rows * down)[0]) // down


def put_overlays(plot: Cells, content: Content, view: TimeView, limits: tuple[float, float], ascii_only: bool) -> None:
    """Marks that are not finite, marked points, and the labels of horizontal lines."""
    window = view.limits
    for level in content.levels:
        row = row_of(level.value, content.scale, limits, plot.height, ascii_only)
        size = len(level.label)
        spots = ((near, at) for at in range(plot.width - size, 0, -1) for near in (row - 1, row + 1))
        if (spot := next((s for s in spots if _has_room(plot, *s, size)), None)) is not None:
            plot.label(*spot, level.label, STYLE[level.style])
    taken: set[tuple[int, int]] = set()
    for point in content.points:
        _put_point(plot, point, content.scale, window, limits, ascii_only, taken)
    for curve in content.curves:
        columns: dict[int, str] = {}
        for mark in curve.series.marks:
            column = column_of(mark.x / curve.per_epoch, window, plot.width)
            if column is not None:
                columns.setdefault(column, mark.kind)
        for nth, (column, kind) in enumerate(sorted(columns.items())):
            _put_mark(plot, column, f"{curve.label} {kind}" if nth == 0 else "", ascii_only)


def _put_mark(plot: Cells, column: int, label: str, ascii_only: bool) -> None:
    """A cross at the upper edge over a broken line: here the value was not finite. The first one is labelled."""
    for row in range(1, plot.height if label else 0):
        plot.put(row, column, ":" if ascii_only else "┊", STYLE["error"], over=False)
    plot.put(0, column, "x" if ascii_only else "×", STYLE["error"])
    for at in (column + 2, column - 1 - len(label)):
        if label and plot.is_free(0, at, len(label)):
            plot.label(0, at, label, STYLE["error"])
            break


def _put_point(
    plot: Cells,
    point: Point,
    scale: Scale,
    window: tuple[float, float],
    limits: tuple[float, float],
    ascii_only: bool,
    taken: set[tuple[int, int]],
) -> None:
    """A point and its label. A letter whose cell another one has (`taken`) stands beside it: none hides another."""
    column = column_of(point.x, window, plot.width)
    row = row_of(point.y, scale, limits, plot.height, ascii_only)
    if column is None or not 0 <= row < plot.height:
        return
    if point.glyph:
        beside = (at for at in (column, *(column + by for step in range(1, 8) for by in (-step, step))))
        column = next((at for at in beside if 0 <= at < plot.width and (row, at) not in taken), column)
        taken.add((row, column))
    plot.put(row, column, point.glyph or ("@" if ascii_only else "◆"), STYLE[point.style])
    size = len(point.label)
    for near in (row - 1, row, row + 1, row - 2, row + 2, row - 3, row + 3):
        for at in (column - size // 2, column + 2, column - size - 1):
            at = min(max(0, at), plot.width - size)
            if size and _has_room(plot, near, at, size):
                plot.label(near, at, point.label, STYLE[point.style])
                return


def _has_room(plot: Cells, row: int, column: int, width: int) -> bool:
    """Whether a label fits here without touching a curve on either side."""
    left, right = max(0, column - 1), min(plot.width, column + width + 1)
    return column >= 0 and column + width <= plot.width and plot.is_free(row, left, right - left)


def put_grid(
    plot: Cells,
    scale: Scale,
    limits: tuple[float, float],
    y_ticks: Sequence[Tick],
    x_ticks: Sequence[Tick],
    window: tuple[float, float],
    ascii_only: bool,
) -> None:
    """A faint point where a line from each x tick would cross one from each y tick."""
    for y_tick in y_ticks:
        row = row_of(y_tick.value, scale, limits, plot.height, ascii_only)
        for x_tick in x_ticks:
            column = column_of(x_tick.value, window, plot.width)
            if column:
                plot.put(row, column, "." if ascii_only else "·", STYLE["grid"], over=False)


def put_axes(
    cells: Cells,
    content: Content,
    limits: tuple[float, float],
    y_ticks: Sequence[Tick],
    x_ticks: Sequence[Tick],
    window: tuple[float, float],
    ascii_only: bool,
) -> None:
    """The axes with their ticks; labels that would touch another are left out."""
    vertical, tick = ("|", "+") if ascii_only else ("│", "┤")
    rows, width = cells.height - 3, cells.width - GUTTER - 1
    for row in range(rows):
        cells.put(1 + row, GUTTER - 1, vertical, STYLE["axis"])
    last_row = -2
    for item in reversed(y_ticks):
        row = row_of(item.value, content.scale, limits, rows, ascii_only)
        if row <= last_row or not 0 <= row < rows:
            continue
        last_row = row
        cells.put(1 + row, GUTTER - 1, tick, STYLE["axis"])
        cells.put(1 + row, 0, item.label[: GUTTER - 2].rjust(GUTTER - 2), STYLE["tick"])
    put_x_axis(cells, (rows + 1, GUTTER), width, content.x_name, x_ticks, window, ascii_only)


def put_x_axis(
    cells: Cells,
    place: tuple[int, int],
    width: int,
    name: str,
    ticks: Sequence[Tick],
    window: tuple[float, float],
    ascii_only: bool,
) -> None:
    """The x axis from this row and column on, `width` cells after its corner, and below it the ticks' labels."""
    corner, across, down = ("+", "-", "+") if ascii_only else ("└", "─", "┬")
    row, left = place
    cells.put(row, left - 1, corner + across * width, STYLE["axis"])
    labels = [t.label for t in ticks]
    taken = cells.width
    for nth, item in reversed(list(enumerate(ticks))):
        column = column_of(item.value, window, width)
        if column is None:
            continue
        cells.put(row, left + column, down, STYLE["axis"])
        label = f"{name} {labels[nth]}" if nth == len(ticks) - 1 else labels[nth]
        at = left + column - len(labels[nth]) // 2 - (len(label) - len(labels[nth]))
        at = max(left - 1, min(at, cells.width - len(label)))
        if at + len(label) < taken:
            cells.put(row + 1, at, label, STYLE["tick"])
            taken = at
        elif nth == len(ticks) - 1:
            at = cells.width - len(label)
            cells.put(row + 1, at, label, STYLE["tick"])
            taken = at


def put_flags(cells: Cells, flags: Sequence[Flag], window: tuple[float, float], width: int, ascii_only: bool) -> None:
    """The events on the time axis; one whose column is taken moves to the right, and is left out after two tries."""
    taken: set[int] = set()
    for flag in flags:
        column = column_of(flag.x, window, width)
        if column is None:
            continue
        column = next((at for at in range(column, min(column + 3, width)) if at not in taken), None)
        if column is not None:
            taken.add(column)
            cells.put(cells.height - 2, GUTTER + column, flag.ascii if ascii_only else flag.glyph, STYLE[flag.style])


def put_cursor(plot: Cells, cells: Cells, x: float, window: tuple[float, float], ascii_only: bool) -> None:
    """A vertical line through what is blank; curves stay as they are."""
    column = column_of(x, window, plot.width)
    if column is None:
        return
    for row in range(plot.height):
        if plot.chars[row, column] in (BLANK, ord("·"), ord(".")) and not plot.reserved[row, column]:
            plot.put(row, column, "|" if ascii_only else "│", STYLE["cursor"])
    cells.put(cells.height - 2, GUTTER + column, "+" if ascii_only else "┴", STYLE["cursor"])


def value_at(curve: Curve, x: float | None, column: float, smoothing: float) -> float | None:
    """The curve's value at an epoch (None: the newest); None where it has none near, NaN or inf on a mark.

    `column` is the width of a chart's column in epochs: what lies within half of it counts as here, and before the
    first point and after the last one, where no line is drawn, nothing else does.
    """
    series = curve.series
    if x is None:
        x = curve.shown_until if curve.shown_until is not None else (series.last_x or 0.0) / curve.per_epoch
    here = column / 2 * curve.per_epoch
    at = series.nearest(x * curve.per_epoch)
    drawn = at is not None and series.x[0] <= x * curve.per_epoch <= series.x[-1]
    reach = max(curve.reach * curve.per_epoch, here) if drawn else here
    distance = abs(series.x[at] - x * curve.per_epoch) if at is not None else math.inf
    for mark in series.marks:
        if abs(mark.x - x * curve.per_epoch) < min(distance, reach):
            return {"NaN": math.nan, "inf": math.inf, "-inf": -math.inf}[mark.kind]
    if at is None or distance > reach:
        return None
    return float(series.smoothed(smoothing if curve.smooth else 0.0)[at])


def _told(curve: Curve, x: float | None, column: float, smoothing: float, missing: str) -> str:
    """What the legend says of a curve at an epoch: its value there, that it has ended before, or `missing`."""
    value = value_at(curve, x, column, smoothing)
    if value is not None:
        return curve.text(value)
    last = curve.series.last_x
    over = curve.ended and x is not None and last is not None and x * curve.per_epoch > last
    return "ended" if over else missing


_Legends = tuple[tuple[bool, Callable[[str, str, str], str]], ...]
_LEGENDS: _Legends = (
    (True, lambda sample, label, value: f"{sample} {label} {value}"),
    (True, lambda sample, label, value: f"{sample} {label.split()[0]} {value}"),
    (False, lambda sample, label, value: f"{sample} {label} {value}"),
    (False, lambda sample, label, value: f"{sample} {label.split()[0]} {value}"),
    (False, lambda sample, _, value: f"{sample} {value}"),
)
"""Whether the title names its scale, and what an entry of the legend says: from the fullest to the shortest."""
_LETTERED: _Legends = (
    (True, lambda sample, letter, value: f"{sample} {letter} {value}"),
    (False, lambda sample, letter, value: f"{sample} {letter} {value}"),
    (False, lambda _, letter, value: f"{letter} {value}"),
    (False, lambda sample, letter, _: f"{sample} {letter}"),
    (False, lambda _, letter, __: letter),
)
"""The same where letters tell the curves apart: several may have one pattern."""


def put_title(cells: Cells, content: Content, view: TimeView, smoothing: float, ascii_only: bool) -> None:
    """Title, legend with the values at the cursor (or the newest), and on the right where the cursor is."""
    glyphs = ASCII if ascii_only else UNICODE
    low, high = view.limits
    column = (high - low) / max(1, cells.width - GUTTER - 1)
    note = "  ".join(part for part in (content.note, view.words) if part)
    if view.cursor is not None:
        place = f"{view.cursor:.6g}" if view.cursor == round(view.cursor) else f"{view.cursor:.2f}"
        note = f"{content.x_name} {place}"
    entries = []
    for curve in content.curves:
        sample = curve.glyph * 2 if ascii_only else LEGEND[curve.pattern]
        entries.append((sample, curve.label, _told(curve, view.cursor, column, smoothing, glyphs.missing)))
    title, texts, note, room = _fitting_title(content, view, entries, note, cells.width - 4)
    cells.put(0, 0, glyphs.bar_rest * cells.width, STYLE["rule"])
    cells.put(0, 1, f" {title} ", STYLE["title"])
    at = 4 + len(title)
    for curve, text in zip(content.curves, texts, strict=True):
        if at + len(text) + 2 > 4 + room:
            break
        cells.put(0, at, f" {text} ", STYLE[curve.style])
        at += len(text) + 2
    if note:
        style = "cursor" if view.cursor is not None else "tick"
        cells.put(0, cells.width - len(note) - 3, f" {note} ", STYLE[style])


def _fitting_title(
    content: Content, view: TimeView, entries: Sequence[tuple[str, str, str]], note: str, width: int
) -> tuple[str, list[str], str, int]:
    """Title, texts of the legend's entries, note and room for title and legend: the fullest that fit in `width`.

    A note that is not the cursor's place is the first to go.
    """
    notes = [note] if view.cursor is not None else [note, view.words, ""]
    title, texts, room = content.title, [""] * len(entries), width
    for scale_named, words in _LETTERED if content.lettered else _LEGENDS:
        title = content.title + (f" ({content.scale.name})" if content.scale.name and scale_named else "")
        texts = [words(*entry) for entry in entries]
        needed = len(title) + sum(len(text) + 2 for text in texts)
        for note in notes:
            room = width - (len(note) + 4 if note else 1)
            if needed <= room:
                return title, texts, note, room
    return title, texts, notes[-1], room
