"""The middle of the Run screen: four charts on one time axis, the events and the log, as many as the size allows.

`RunPanes.show` gives it the run as it stands; keys and mouse only move the shared TimeView, choose what is shown
and how, and are answered at once. Used by the Run screen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from textual.app import ComposeResult
from textual.containers import Horizontal

from fmnist_tui.analysis.epochs import epoch_steps
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.run_charts import CHARTS, ChartName, GhostCurves, RunCharts
from fmnist_tui.tui.run_data import RunData
from fmnist_tui.tui.widgets.chart import Chart
from fmnist_tui.tui.widgets.chart_group import ChartGroup
from fmnist_tui.tui.widgets.run_panels import LogTail, TextPanel, events_text

TALL, BROAD, HUGE = 32, 160, 48
"""From TALL rows of the screen on two charts stand above each other, from BROAD columns on two side by side, and
from HUGE rows on (with both) events and log below them."""
STACK_BELOW = 120
"""With fewer columns the log stands below the events, not beside them."""
CHART_SECONDS = 1.0
"""Charts are drawn for new data when it fills a new column of dots, and else this often: while a long run fills
one, a redraw would change little more than a digit of the legend."""
Page = tuple[str, ...]


def pages_of(width: int, height: int) -> tuple[list[Page], int]:
    """What `v` goes through on a screen of this size: the panes of each page, and in how many columns they stand."""
    lists: Page = ("lists",)
    if width >= BROAD and height >= TALL:
        everything: Page = (*CHARTS, "lists") if height >= HUGE else CHARTS
        return [everything, *((name,) for name in CHARTS), lists], 2
    if width >= BROAD or height >= TALL:
        return [CHARTS[:2], CHARTS[2:], lists], 2 if width >= BROAD else 1
    return [*((name,) for name in CHARTS), lists], 1


@dataclass
class Shown:
    """What the panes show."""

    run: Run
    data: RunData
    ghost: GhostCurves | None
    log: LogTail


class RunPanes(ChartGroup):
    """Charts and lists."""

    DEFAULT_CSS = """
    RunPanes { width: 1fr; height: 1fr; layout: grid; grid-size: 1; }
    RunPanes.-columns { grid-size: 2; grid-gutter: 0 1; }
    RunPanes #lists { height: 100%; width: 100%; }
    RunPanes #lists.-stacked { layout: vertical; }
    RunPanes.-columns #lists { column-span: 2; }
    """

    def __init__(self, ascii_only: bool) -> None:
        super().__init__(ascii_only)
        self._charts = RunCharts(ascii_only)
        self._pages: list[Page] = [()]
        self._page = 0
        self._shown: Shown | None = None
        self._charts_due = self._drawn_latest = self._drawn_total = 0.0
        self._drawn_page: Page = ()

    def compose(self) -> ComposeResult:
        """Every pane; `lay_out` displays those of the page."""
        for name in CHARTS:
            yield Chart(self.view, self._ascii_only, id=f"chart-{name}")
        with Horizontal(id="lists"):
            yield TextPanel(" Events ", "nothing has happened yet", "events")
            yield TextPanel(" Log ", "nothing written yet", "log")

    # --- what is shown

    @property
    def page(self) -> Page:
        """The names of the panes on screen."""
        return self._pages[min(self._page, len(self._pages) - 1)]

    def chart(self, name: ChartName) -> Chart:
        """One of the charts."""
        return self.query_one(f"#chart-{name}", Chart)

    def lay_out(self, width: int, height: int) -> None:
        """Display the panes of the page on a screen of this size; stays at what was shown where it can."""
        before = self.page
        self._pages, columns = pages_of(width, height)
        if before and self.page != before:
            self._page = next(i for i, page in enumerate(self._pages) if before[0] in page)
        page = self.page
        self.set_class(columns == 2 and len(page) > 1, "-columns")
        for name in CHARTS:
            self.chart(name).display = name in page
        lists = self.query_one("#lists")
        lists.display = "lists" in page
        lists.set_class(width < STACK_BELOW, "-stacked")
        self.styles.grid_rows = "2fr 2fr 1fr" if len(page) == 5 else "1fr"

    def draw_next(self) -> None:
        """Draw the charts at the next `show`, whatever else it brings."""
        self._charts_due = 0.0

    def show(self, shown: Shown) -> None:
        """Draw the run as it stands."""
        self._shown = shown
        run, view = shown.run, self.view
        per_epoch = epoch_steps(run.status, run.config)
        view.total = float(max(1, run.status.epochs if run.status else 1))
        view.latest = shown.data.last_step / per_epoch
        ended = not run.state.alive and run.state is not State.QUEUED
        low, high = view.limits
        column = (high - low) / max(1, self.size.width)
        changed = (ended, view.total) != (view.ended, self._drawn_total) or self.page != self._drawn_page
        view.ended = ended
        if changed or view.latest - self._drawn_latest >= column / 4 or time.monotonic() >= self._charts_due:
            self.draw_anew()
        if "lists" in self.page:
            events = shown.data.events
            panel = self.query_one("#panel-events", TextPanel)
            panel.write((id(events), len(events)), partial(events_text, events))
            self.query_one("#panel-log", TextPanel).write(shown.log.version, shown.log.text)

    def draw_anew(self) -> None:
        """The charts of the page, for new data or another look of them."""
        if self._shown is None:
            return
        self._charts_due = time.monotonic() + CHART_SECONDS
        self._drawn_latest, self._drawn_total, self._drawn_page = self.view.latest, self.view.total, self.page
        for name in CHARTS:
            if name in self.page:
                content = self._charts.build(name, self._shown.run, self._shown.data, self._shown.ghost, self.smoothing)
                self.chart(name).show(content, self.smoothing)

    # --- keys

    def next_page(self) -> None:
        """Show the next page; `lay_out` must follow."""
        self._page = (self._page + 1) % len(self._pages)

    def other_scale(self) -> None:
        """The other scale on every chart."""
        self._charts.other_scale = not self._charts.other_scale
        self.draw_anew()

    def follow(self) -> None:
        """Follow the newest point, or stop doing so."""
        self.view.toggle_follow()
        self._move()

    def zoom(self, by: int) -> None:
        """In or out around the cursor; where only lists are shown, scroll the events."""
        if self.page == ("lists",):
            self.query_one("#panel-events", TextPanel).scroll_relative(y=-by, animate=False)
        else:
            super().zoom(by)
