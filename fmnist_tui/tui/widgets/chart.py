"""The chart widget: draws a Content over a shared TimeView and refreshes only the rows that changed.

Used by the Run screen. The drawing is our own, not textual-plot's, which turned out not to suit it (0.10):
- a cell crossed by two curves keeps only the last one's dots, which hides spikes; ours keeps both's;
- frame, margins and floating legend take five rows of a terminal that has 24, or cover the curves;
- log scale, marks, labels, cursor and ASCII would all have been drawn over it through its private parts;
- a redraw is two to seven times dearer: with all of three curves changed (12 runs, one core of a shared
  two-core CPU, Python 3.11, Textual 8.2) 17, 31 and 82 ms at 80x16, 120x30 and 200x50; here 6, 13 and 12 ms, and a
  few ms where little has changed. The app may use 50 ms in a second for everything.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from fmnist_tui.tui.widgets.chart_content import STYLES, Content
from fmnist_tui.tui.widgets.chart_draw import Drawn, compose
from fmnist_tui.tui.widgets.chart_view import TimeView

WHEEL_ZOOM = 0.8


class Chart(Widget):
    """Curves over epochs. `show` gives it what to draw; it never changes the view itself, it asks by messages."""

    COMPONENT_CLASSES = {f"chart--{name}" for name in STYLES if name}  # noqa: RUF012 (Textual's name and type)
    DEFAULT_CSS = """
    Chart {
        & > .chart--title { text-style: bold; color: $foreground; }
        & > .chart--rule { color: $foreground 30%; }
        & > .chart--axis { color: $foreground 45%; }
        & > .chart--tick { color: $foreground 75%; }
        & > .chart--grid { color: $foreground 25%; }
        & > .chart--train { color: $text-primary; }
        & > .chart--band { color: $text-primary 45%; }
        & > .chart--test { color: $text-accent; text-style: bold; }
        & > .chart--ghost { color: $foreground 65%; }
        & > .chart--reference { color: $text-success; }
        & > .chart--best { color: $text-success; text-style: bold; }
        & > .chart--third { color: $text-success; }
        & > .chart--fourth { color: $foreground 70%; }
        & > .chart--error { color: $text-error; text-style: bold; }
        & > .chart--warning { color: $text-warning; text-style: bold; }
        & > .chart--event { color: $text-primary; text-style: bold; }
        & > .chart--cursor { color: $foreground; text-style: bold; }
        & > .chart--message { color: $foreground 70%; text-style: italic; }
        & > .chart--run1 { color: $text-primary; text-style: bold; }
        & > .chart--run2 { color: $text-accent; text-style: bold; }
        & > .chart--run3 { color: $text-success; text-style: bold; }
        & > .chart--run4 { color: $text-error; text-style: bold; }
        & > .chart--run5 { color: $foreground; }
        & > .chart--run6 { color: $text-warning; }
        & > .chart--run7 { color: $text-secondary; }
        & > .chart--run8 { color: $foreground 60%; }
    }
    """

    @dataclass
    class Pointed(Message):
        """The mouse is over an epoch of the plot (None: it left)."""

        chart: Chart
        x: float | None
        width: int

    @dataclass
    class Zoomed(Message):
        """The wheel turned over an epoch: show `factor` times as much."""

        chart: Chart
        factor: float
        x: float

    @dataclass
    class Panned(Message):
        """The plot was dragged by a share of its width."""

        chart: Chart
        share: float

    def __init__(self, view: TimeView, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = view
        self.ascii_only = ascii_only
        self.smoothing = 0.0
        self.content = Content("")
        self.drawn: Drawn | None = None
        self._drawn_key: tuple[object, ...] = ()
        self._strips: list[Strip] = []
        self._looks: list[Style] = []
        self._plain = Style()

    def show(self, content: Content, smoothing: float) -> None:
        """Draw this from now on."""
        self.content, self.smoothing = content, smoothing
        if self._key() != self._drawn_key:
            self.redraw()

    def _key(self) -> tuple[object, ...]:
        """Equal for equal pictures, without looking at the points."""
        content, view = self.content, self.view
        curves = tuple((curve.series.version, id(curve.series), curve.shown_until) for curve in content.curves)
        fixed = (
            content.title,
            content.note,
            content.empty,
            content.scale.name,
            content.x_name,
            self.smoothing,
            self.size,
        )
        marks = (tuple(content.flags), tuple(content.points), tuple(content.levels))
        return curves, marks, fixed, view.limits, view.words, view.cursor

    def redraw(self) -> None:
        """Compose the cells anew and refresh the rows that changed; nothing while the chart is hidden."""
        self._drawn_key = self._key()
        width, height = self.size
        if not width or not height or not self.display:
            self._drawn_key = ()
            return
        before, strips = self.drawn, self._strips
        self.drawn = drawn = compose(self.content, self.view, width, height, self.ascii_only, self.smoothing)
        if before is None or len(strips) != height or before.cells.width != width or not self._looks:
            self._restyle()
            self._strips = [self._strip(row) for row in range(height)]
            self.refresh()
            return
        changed = np.any(
            (before.cells.chars != drawn.cells.chars) | (before.cells.styles != drawn.cells.styles), axis=1
        )
        for row in np.flatnonzero(changed).tolist():
            strips[row] = self._strip(row)
            self.refresh(Region(0, row, width, 1))

    def _restyle(self) -> None:
        base = self.rich_style
        self._plain = base
        self._looks = [base + self.get_component_rich_style(f"chart--{name}") if name else base for name in STYLES]

    def _strip(self, row: int) -> Strip:
        assert self.drawn is not None
        cells = self.drawn.cells
        text, styles = cells.row_text(row), cells.styles[row]
        edges = [0, *(np.flatnonzero(np.diff(styles)) + 1).tolist(), cells.width]
        parts = [Segment(text[start:end], self._looks[styles[start]]) for start, end in itertools.pairwise(edges)]
        return Strip(parts, cells.width)

    def render_line(self, y: int) -> Strip:
        """The row of the newest drawing."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)

    def notify_style_update(self) -> None:
        """The theme changed. Textual says so before the classes of curves have their new colours: draw after it."""
        super().notify_style_update()
        self.drawn = None
        self.call_next(self.redraw)

    def on_resize(self) -> None:
        """Draw for the new size at once."""
        self.redraw()

    def _epoch_at(self, x: int) -> float | None:
        """The epoch under a column of the widget; None outside the plot."""
        if self.drawn is None or not self.drawn.plot_width:
            return None
        column = x - self.drawn.plot_column
        low, high = self.view.limits
        inside = 0 <= column < self.drawn.plot_width
        return low + (column + 0.5) / self.drawn.plot_width * (high - low) if inside else None

    @property
    def plot_width(self) -> int:
        """Columns of the plot, 0 before it was drawn."""
        return self.drawn.plot_width if self.drawn else 0

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Point, or drag with a button held."""
        event.stop()
        if event.button and event.delta_x and self.plot_width:
            self.post_message(self.Panned(self, -event.delta_x / self.plot_width))
        else:
            self.post_message(self.Pointed(self, self._epoch_at(event.x), self.plot_width))

    def on_leave(self) -> None:
        """The mouse is gone."""
        self.post_message(self.Pointed(self, None, self.plot_width))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in."""
        self._wheel(event, WHEEL_ZOOM)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out."""
        self._wheel(event, 1 / WHEEL_ZOOM)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        if (x := self._epoch_at(event.x)) is not None:
            event.stop()
            self.post_message(self.Zoomed(self, factor, x))
