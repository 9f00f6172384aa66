"""The confusion matrix as the Mistakes screen draws it: ten by ten coloured cells with a cursor, scores beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from fmnist_tui.analysis.confusion import NUMBER, SHORT_CLASSES, ClassScores, Matrix, class_scores
from fmnist_tui.tui import format as words
from fmnist_tui.tui.theme_colors import is_ansi, theme_color, theme_style

LABEL = 9
"""Columns of the class names at the left."""
NARROW, WIDE = 5, 9
"""Columns of a cell."""
SCORE = 6
"""Columns of a score."""
HEADERS = ("prec", "rec", "F1")
HEIGHT = NUMBER + 2
FULL_TINT = 20.0
"""Share of a class, %, whose confusion is drawn in the strongest colour."""
BOLD = Style(bold=True)


def needed(cell: int = NARROW) -> int:
    """Columns of the matrix with its three scores."""
    return LABEL + NUMBER * cell + SCORE * len(HEADERS) + 1


def sampled(values: Sequence[float], width: int) -> list[float | None]:
    """At most `width` of the values, evenly over all of them, the last one among them; NaN is None."""
    count = len(values)
    picked = values if count <= width else [values[(k + 1) * count // width - 1] for k in range(width)]
    return [None if math.isnan(value) else value for value in picked]


def spark(values: Sequence[float], width: int, glyphs: words.Glyphs) -> str:
    """The values as a row of blocks from their lowest to their highest, left-aligned; at most `width` cells."""
    shown = sampled(values, width)
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    if high == low:
        low -= 1.0
    lifted = [None if value is None else value - low for value in shown]
    return words.sparkline(lifted, len(lifted), high - low, glyphs)


class MatrixView(Widget):
    """See the module. Rows are true classes, columns predicted ones; the arrow keys are the screen's."""

    DEFAULT_CSS = "MatrixView { height: 12; width: 100%; }"

    class CellMoved(Message):
        """The cursor is on another cell."""

    class CellChosen(Message):
        """The cell under the cursor was clicked once more."""

    def __init__(self, glyphs: words.Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs
        self.true, self.predicted = 6, 0
        """The cell under the cursor: Shirt taken for T-shirt/top, until the screen knows the worst pair."""
        self.unit: Literal["%", "images"] = "%"
        self._matrix: Matrix | None = None
        self._scores: ClassScores | None = None
        self._history: list[list[float]] = []

    def show(self, matrix: Matrix | None, history: np.ndarray) -> None:
        """Draw a matrix (10, 10) with its scores, and the F1 of every evaluation so far, (E, 10)."""
        self._matrix = matrix
        self._scores = class_scores(matrix) if matrix is not None else None
        self._history = history.T.tolist() if len(history) else []
        self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Two lines of headings and one a class."""
        return HEIGHT

    @property
    def cell(self) -> int:
        """Columns of a cell at this width."""
        return WIDE if self.size.width >= needed(WIDE) + 12 else NARROW

    @property
    def _seen(self) -> range:
        """The columns that have room, whole ones; the one under the cursor is among them."""
        shown = min(NUMBER, max(1, (self.size.width - LABEL) // self.cell))
        first = min(max(0, self.predicted - shown + 1), NUMBER - shown)
        return range(first, first + shown)

    @property
    def _scores_fit(self) -> bool:
        return self.size.width >= needed(self.cell)

    def move_to(self, true: int, predicted: int) -> None:
        """Put the cursor on a cell."""
        if (true, predicted) != (self.true, self.predicted):
            self.true, self.predicted = true, predicted
            self.refresh()
            self.post_message(self.CellMoved())

    def move(self, down: int, right: int) -> None:
        """Move the cursor by rows and columns, not over the edge."""
        self.move_to(min(max(self.true + down, 0), NUMBER - 1), min(max(self.predicted + right, 0), NUMBER - 1))

    def on_click(self, event: events.Click) -> None:
        """To the cell that was clicked; a click on the cursor chooses it."""
        row, column = event.y - 2, (event.x - LABEL) // self.cell + self._seen.start
        if 0 <= row < NUMBER and column in self._seen and event.x >= LABEL:
            if (row, column) == (self.true, self.predicted):
                self.post_message(self.CellChosen())
            else:
                self.move_to(row, column)

    # --- drawing

    def render_line(self, y: int) -> Strip:
        """A heading or a class."""
        base = self.rich_style
        if self._matrix is None:
            return Strip.blank(self.size.width, base)
        if y == 0:
            segments = self._over_line(base)
        elif y == 1:
            segments = self._heading(base)
        else:
            segments = self._row(y - 2, base)
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _over_line(self, base: Style) -> list[Segment]:
        what = "predicted, % of the true class" if self.unit == "%" else "predicted, images"
        muted = base + theme_style(self.app, "foreground-muted")
        if LABEL + 1 + len(what) > self.size.width:
            what = what.removesuffix(" of the true class")
        return [Segment(f"{'true':<{LABEL}} {what}", muted)]

    def _heading(self, base: Style) -> list[Segment]:
        muted = base + theme_style(self.app, "foreground-muted")
        strong = base + theme_style(self.app, "primary") + BOLD
        segments = [Segment(" " * LABEL, base)]
        for k in self._seen:
            text = f"{SHORT_CLASSES[k][: self.cell - 1]:>{self.cell - 1}} "
            segments.append(Segment(text, strong if k == self.predicted else muted))
        if self._scores_fit:
            segments += [Segment(f"{name:>{SCORE + (at == 0)}}", muted) for at, name in enumerate(HEADERS)]
            if self._sparks_fit:
                segments.append(Segment("  F1 by evaluation"[: self._spark_width + 2], muted))
        return segments

    @property
    def _sparks_fit(self) -> bool:
        return self._spark_width >= 8 and bool(self._history) and len(self._history[0]) > 1

    @property
    def _spark_width(self) -> int:
        return self.size.width - needed(self.cell) - 4

    def _row(self, true: int, base: Style) -> list[Segment]:
        assert self._matrix is not None and self._scores is not None
        strong = base + theme_style(self.app, "primary") + BOLD
        segments = [Segment(f"{SHORT_CLASSES[true]:<{LABEL}}", strong if true == self.true else base)]
        total = int(self._matrix[true].sum())
        for predicted in self._seen:
            count = int(self._matrix[true, predicted])
            share = 100.0 * count / total if total else 0.0
            text = f"{self._number(count, share):>{self.cell - 1}} "
            segments.append(Segment(text, self._cell_style(true, predicted, share, base)))
        if self._scores_fit:
            for at, scores in enumerate((self._scores.precision, self._scores.recall, self._scores.f1)):
                value = float(scores[true])
                shown = self._glyphs.missing if math.isnan(value) else f"{value:.1f}"
                segments.append(Segment(f"{shown:>{SCORE + (at == 0)}}", base))
            if self._sparks_fit:
                line = spark(self._history[true], self._spark_width, self._glyphs)
                segments.append(Segment(f"  {line}", base + theme_style(self.app, "primary")))
        return segments

    def _number(self, count: int, share: float) -> str:
        if count == 0:
            return "." if self._glyphs is words.ASCII else "·"
        if self.unit == "images":
            return f"{count:,}" if self.cell == WIDE else str(count)
        return "100" if share >= 99.95 else f"{share:.1f}"

    def _cell_style(self, true: int, predicted: int, share: float, base: Style) -> Style:
        """Confusion in the colour of errors, the stronger the larger its share; the diagonal in the primary colour."""
        here = (true, predicted) == (self.true, self.predicted)
        if is_ansi(self.app):
            return base + self._unmixed(true == predicted, share) + Style(bold=here, reverse=here)
        background, foreground = theme_color(self.app, "background"), theme_color(self.app, "foreground")
        if here:  # not its own colours the other way round: a strong confusion could hardly be read in them
            return base + Style(color=background.rich_color, bgcolor=foreground.rich_color, bold=True)
        if true == predicted:
            tint = background.blend(theme_color(self.app, "primary"), 0.12 + 0.38 * (share / 100.0) ** 2)
        else:
            tint = background.blend(theme_color(self.app, "error"), 0.8 * min(1.0, math.sqrt(share / FULL_TINT)))
        if share == 0.0:
            foreground = background.blend(theme_color(self.app, "foreground-muted"), 0.7)
        return base + Style(color=foreground.rich_color, bgcolor=tint.rich_color)

    def _unmixed(self, right: bool, share: float) -> Style:
        """The same in colours that can't be mixed: dim, usual, coloured and bold text."""
        if share == 0.0:
            return theme_style(self.app, "foreground-muted")
        if right:
            return theme_style(self.app, "primary")
        if share < FULL_TINT / 4:
            return Style()
        return theme_style(self.app, "error") + Style(bold=share >= FULL_TINT / 2)
