"""The charts of the Compare screen: all runs on one, on two side by side, or on four, over one shared time axis.

`CompareCharts.show` gives it the runs as they stand; keys and mouse only change what is shown and how, and are
answered at once. Used by the Compare screen.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult

from fmnist_tui.tui.compare_data import AXES, COMPANIONS, METRICS, Look, Side, chart, extent
from fmnist_tui.tui.widgets.chart import Chart
from fmnist_tui.tui.widgets.chart_group import ChartGroup

HUGE = 160
"""Columns from which two charts stand side by side."""
TALL = 50
"""Lines of such a screen from which two more stand below them: every value is on it."""
CHARTS = ("first", "second", "third", "fourth")


class CompareCharts(ChartGroup):
    """One, two or four charts."""

    DEFAULT_CSS = """
    CompareCharts { width: 1fr; height: 1fr; layout: grid; grid-size: 1; }
    CompareCharts.-columns { grid-size: 2; }
    CompareCharts Chart { width: 1fr; height: 1fr; }
    """

    def __init__(self, ascii_only: bool) -> None:
        super().__init__(ascii_only)
        self.look = Look(smoothing=self.smoothing)
        self._sides: Sequence[Side] = ()

    def compose(self) -> ComposeResult:
        """All charts; `lay_out` hides those that have no room."""
        for name in CHARTS:
            yield Chart(self.view, self._ascii_only, id=name)

    def lay_out(self, width: int, height: int) -> None:
        """Show what fits a screen of this size."""
        fit = 1 if width < HUGE else 2 if height < TALL else 4
        self.set_class(fit > 1, "-columns")
        for at, name in enumerate(CHARTS):
            self.query_one(f"#{name}").display = at < fit

    def show(self, sides: Sequence[Side]) -> None:
        """Draw the runs as they stand."""
        self._sides = sides
        if not sides or not self.display:
            return
        found = extent(sides, self.look.axis)
        self.view.total, self.view.latest, self.view.ended = found.total, found.latest, found.ended
        chosen = [self.look.metric, COMPANIONS[self.look.metric]]
        metrics = [*chosen, *(metric for metric in METRICS if metric not in chosen)]
        for name, metric in zip(CHARTS, metrics, strict=True):
            widget = self.query_one(f"#{name}", Chart)
            if widget.display:
                widget.show(chart(sides, metric, self.look), self.look.smoothing)

    def draw_anew(self) -> None:
        """The runs as they were shown last, in another look."""
        self.look.smoothing = self.smoothing
        self.show(self._sides)

    # --- keys

    def next_metric(self) -> None:
        """The next of the four values."""
        self.look.metric = METRICS[(METRICS.index(self.look.metric) + 1) % len(METRICS)]
        self.draw_anew()

    def next_axis(self) -> None:
        """The next of the three axes; what was zoomed to on one means nothing on another."""
        self.look.axis = AXES[(AXES.index(self.look.axis) + 1) % len(AXES)]
        self.view.reset()
        self.view.cursor = None
        self.draw_anew()

    def other_scale(self) -> None:
        """The other scale."""
        self.look.other_scale = not self.look.other_scale
        self.draw_anew()
