"""The charts of the Compare screen: all runs on one, or on two side by side, over one shared time axis.

`CompareCharts.show` gives it the runs as they stand; keys and mouse only change what is shown and how, and are
answered at once. Used by the Compare screen.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from fmnist_tui.tui.compare_data import AXES, COMPANIONS, METRICS, Look, Side, chart, extent
from fmnist_tui.tui.widgets.chart import Chart
from fmnist_tui.tui.widgets.chart_view import TimeView
from fmnist_tui.tui.widgets.run_panes import DEFAULT_SMOOTHING, PAN_SHARE, SMOOTHINGS, ZOOM

HUGE = 160
"""Columns from which two charts stand side by side."""


class CompareCharts(Horizontal):
    """One or two charts."""

    DEFAULT_CSS = """
    CompareCharts { height: 1fr; }
    CompareCharts Chart { width: 1fr; height: 1fr; }
    """

    def __init__(self, ascii_only: bool) -> None:
        super().__init__()
        self.view = TimeView()
        self.look = Look(smoothing=SMOOTHINGS[DEFAULT_SMOOTHING])
        self._ascii_only = ascii_only
        self._sides: Sequence[Side] = ()
        self._smoothing = DEFAULT_SMOOTHING
        self._pointed = False

    def compose(self) -> ComposeResult:
        """Both charts; `lay_out` hides the second where there is no room."""
        yield Chart(self.view, self._ascii_only, id="first")
        yield Chart(self.view, self._ascii_only, id="second")

    def lay_out(self, width: int) -> None:
        """Show what fits a screen of this many columns."""
        self.query_one("#second").display = width >= HUGE

    def show(self, sides: Sequence[Side]) -> None:
        """Draw the runs as they stand."""
        self._sides = sides
        if not sides or not self.display:
            return
        found = extent(sides, self.look.axis)
        self.view.total, self.view.latest, self.view.ended = found.total, found.latest, found.ended
        for chart_id, metric in (("#first", self.look.metric), ("#second", COMPANIONS[self.look.metric])):
            widget = self.query_one(chart_id, Chart)
            if widget.display:
                widget.show(chart(sides, metric, self.look), self.look.smoothing)

    def _move(self) -> None:
        """The view changed: draw the same contents over it."""
        for widget in self.query(Chart):
            if widget.display:
                widget.redraw()

    # --- keys

    def next_metric(self) -> None:
        """The next of the four values."""
        self.look.metric = METRICS[(METRICS.index(self.look.metric) + 1) % len(METRICS)]
        self.show(self._sides)

    def next_axis(self) -> None:
        """The next of the three axes; what was zoomed to on one means nothing on another."""
        self.look.axis = AXES[(AXES.index(self.look.axis) + 1) % len(AXES)]
        self.view.reset()
        self.view.cursor = None
        self.show(self._sides)

    def other_scale(self) -> None:
        """The other scale."""
        self.look.other_scale = not self.look.other_scale
        self.show(self._sides)

    def smooth(self, by: int) -> None:
        """More or less smoothing of the train loss."""
        self._smoothing = min(max(self._smoothing + by, 0), len(SMOOTHINGS) - 1)
        self.look.smoothing = SMOOTHINGS[self._smoothing]
        self.show(self._sides)

    def whole(self) -> None:
        """The whole of the longest run, or what is usually shown."""
        self.view.toggle_whole()
        self._move()

    def zoom(self, by: int) -> None:
        """In or out around the cursor."""
        self.view.zoom(ZOOM if by > 0 else 1 / ZOOM)
        self._move()

    def pan(self, by: int) -> None:
        """Earlier or later."""
        self.view.pan(by * PAN_SHARE)
        self._move()

    def move_cursor(self, by: int) -> None:
        """The cursor by a column."""
        if width := self.query_one("#first", Chart).plot_width:
            self.view.move_cursor(by, width)
            self._move()

    def undo(self) -> bool:
        """Take the cursor away, else the zoom; False where there is neither."""
        if self.view.cursor is not None:
            self.view.cursor = None
        elif self.view.is_changed:
            self.view.reset()
        else:
            return False
        self._move()
        return True

    # --- mouse

    @on(Chart.Pointed)
    def _chart_pointed(self, message: Chart.Pointed) -> None:
        if message.x is not None:
            self._pointed = True
            self.view.place_cursor(message.x, message.width)
        elif self._pointed:
            self._pointed = False
            self.view.cursor = None
        self._move()

    @on(Chart.Zoomed)
    def _chart_zoomed(self, message: Chart.Zoomed) -> None:
        self.view.zoom(message.factor, message.x)
        self._move()

    @on(Chart.Panned)
    def _chart_panned(self, message: Chart.Panned) -> None:
        self.view.pan(message.share)
        self._move()
