"""Charts over one TimeView, and what keys and the mouse do to it: zoom, pan, cursor, undo, smoothing.

The base of the Run screen's `RunPanes` and the Compare screen's `CompareCharts`, which say what the charts show.
"""

from __future__ import annotations

from textual import on
from textual.widget import Widget

from fmnist_tui.tui.widgets.chart import Chart
from fmnist_tui.tui.widgets.chart_view import TimeView

SMOOTHINGS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)
DEFAULT_SMOOTHING = 2
"""Index of the one to begin with. A line of the metrics is the mean of several steps already, and more smoothing
makes the curve of the first epochs lag visibly behind what it smooths."""
PAN_SHARE, ZOOM = 0.2, 0.7


class ChartGroup(Widget):
    """Keys and mouse only move the view of the charts that are displayed, and are answered at once."""

    def __init__(self, ascii_only: bool) -> None:
        super().__init__()
        self.view = TimeView()
        self._ascii_only = ascii_only
        self._smoothing = DEFAULT_SMOOTHING
        self._pointed = False
        """Whether the mouse carries the cursor."""

    @property
    def smoothing(self) -> float:
        """The weight of what came before in the smoothed train loss."""
        return SMOOTHINGS[self._smoothing]

    def draw_anew(self) -> None:
        """To be overridden: draw what the charts show, for another look of it."""
        raise NotImplementedError

    def _displayed(self) -> list[Chart]:
        return [chart for chart in self.query(Chart) if chart.display]

    def _move(self) -> None:
        """The view changed: draw the same contents over it."""
        for chart in self._displayed():
            chart.redraw()

    # --- keys

    def smooth(self, by: int) -> None:
        """More or less smoothing of the train loss."""
        self._smoothing = min(max(self._smoothing + by, 0), len(SMOOTHINGS) - 1)
        self.draw_anew()

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
        if width := max((chart.plot_width for chart in self._displayed()), default=0):
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
        """The mouse carries the cursor; when it leaves, a cursor it carried goes with it."""
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
