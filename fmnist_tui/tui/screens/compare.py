"""The Compare screen: several runs on one chart, what differs in their settings, and whether that is more than noise.

Opened by the app with the runs' ids; hears of every one of them from the feed, so it is live while they train.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from fmnist_tui.analysis.compare import LETTERS, Pair, pairs
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.compare_data import RunCurves, Side
from fmnist_tui.tui.compare_text import Part, difference_parts, name_parts, paired_parts, standing_parts
from fmnist_tui.tui.format import ASCII, UNICODE
from fmnist_tui.tui.messages import OpenRun
from fmnist_tui.tui.metric_lines import MetricRecord
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.widgets.compare_charts import CompareCharts
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.header import TopBar

REDRAW_SECONDS = 0.5
"""Between two redraws for new data, at the least; a key is answered at once."""
REDRAW_SHARE = 0.05
"""Share of the time that goes into redraws for new data: where one takes long, the next waits longer."""
BROAD = 100
"""Columns from which the differing settings stand beside the verdicts."""
VIEWS = ("both", "chart", "words")


class CompareScreen(FeedScreen):
    """Watches several runs at once."""

    AUTO_FOCUS = ""
    HELP = (
        "Two to eight runs side by side. Each has a letter, a colour and a pattern. The sentence below the chart says "
        "who leads at equal epochs. Runs that have ended are tested on the same images, two by two: McNemar's "
        "test on the images that one has right and the other wrong, and a bootstrap interval of the difference. "
        "'within noise' means that chance alone gives such a difference in more than one of twenty cases. The same in "
        "a shell: fmnist-tui runs compare A B."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "charts('next_metric')", "View", tooltip="test accuracy, test loss, train loss, learning rate"),
        Binding("t", "charts('next_axis')", "Axis", tooltip="by epoch, by step, by time at work"),
        Binding("y", "charts('other_scale')", "Scale", tooltip="the other scale: logarithmic or linear"),
        Binding("i", "words", "In words", tooltip="chart and words, the chart alone, the words alone"),
        Binding("enter", "open_leader", "Open best", tooltip="open the run with the highest test accuracy"),
        Binding(
            "0,home",
            "charts('whole')",
            "Whole runs",
            show=False,
            tooltip="the time axis to the end of the longest, or not",
        ),
        Binding(
            "plus,equals_sign", "charts('smooth', 1)", "Smoother", show=False, tooltip="smooth the train loss more"
        ),
        Binding("minus", "charts('smooth', -1)", "Less smooth", show=False, tooltip="smooth the train loss less"),
        Binding("up", "charts('zoom', 1)", "Zoom in", show=False, tooltip="zoom in"),
        Binding("down", "charts('zoom', -1)", "Zoom out", show=False, tooltip="zoom out"),
        Binding("left", "charts('pan', -1)", "Earlier", show=False, tooltip="what was earlier, when zoomed in"),
        Binding("right", "charts('pan', 1)", "Later", show=False, tooltip="what was later, when zoomed in"),
        Binding("shift+left", "charts('move_cursor', -1)", "Cursor left", show=False, tooltip="the cursor to the left"),
        Binding(
            "shift+right", "charts('move_cursor', 1)", "Cursor right", show=False, tooltip="the cursor to the right"
        ),
        Binding("pageup", "scroll_words(-1)", "Words up", show=False, tooltip="the words up"),
        Binding("pagedown", "scroll_words(1)", "Words down", show=False, tooltip="the words down"),
        Binding("escape", "back", "Back", tooltip="take the cursor or the zoom away, then leave"),
    ]
    DEFAULT_CSS = """
    CompareScreen #names { height: 1; padding: 0 1; display: none; }
    CompareScreen #words { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    CompareScreen #words.-beside { layout: horizontal; }
    CompareScreen #verdicts { width: 1fr; height: auto; }
    CompareScreen #differences { width: 1fr; height: auto; padding: 0 0 0 0; }
    CompareScreen #words.-beside #differences { width: 2fr; padding: 0 0 0 2; }
    CompareScreen #words.-beside #verdicts { width: 3fr; }
    """

    class Tested(Message):
        """The paired tests, computed by a worker thread."""

        def __init__(self, key: tuple[object, ...], found: list[Pair]) -> None:
            self.key, self.found = key, found
            super().__init__()

    def __init__(self, run_ids: Sequence[str], data_dir: Path | None) -> None:
        super().__init__()
        self._ids = tuple(run_ids)[: len(LETTERS)]
        self._data_dir = data_dir
        self.sides: dict[str, Side] = {}
        self._gone: set[str] = set()
        self._pairs: list[Pair] | None = None
        self._tested_for: tuple[object, ...] = ()
        self._shown = "both"
        self._next_redraw = 0.0
        self._written: tuple[object, ...] = ()
        self._redraw_waits = False

    @property
    def watched_runs(self) -> frozenset[str]:
        """All that are compared, but for those that are gone."""
        return frozenset(self._ids) - self._gone

    def compose(self) -> ComposeResult:
        """Bar, charts, words, keys."""
        ascii_only = bool(getattr(self.app, "ascii_only", False))
        yield TopBar("runs")
        yield CompareCharts(ascii_only)
        yield Static("", id="names", markup=False)
        with VerticalScroll(id="words", can_focus=False):
            yield Static("Reading the runs ...", id="verdicts", markup=False)
            yield Static("", id="differences", markup=False)
        yield KeyBar()

    @property
    def charts(self) -> CompareCharts:
        """The charts."""
        return self.query_one(CompareCharts)

    def on_resize(self) -> None:
        """Another size may show another arrangement."""
        self._arrange()

    def _arrange(self) -> None:
        width, height = self.size
        if not width:
            return
        self.charts.display = self._shown != "words"
        self.charts.lay_out(width, height)
        words = self.query_one("#words")
        words.display = self._shown != "chart"
        if words.display:
            self.query_one("#names").display = False
        words.set_class(width >= BROAD, "-beside")
        # The words get the lines they need, up to half of a low screen and less of a higher one; the charts the rest.
        words.styles.height = "auto" if self.charts.display else "1fr"
        words.styles.max_height = None if not self.charts.display else "50%" if height < 32 else "40%"
        self.call_after_refresh(self._redraw)

    # --- what the feed says

    def runs_listed(self, runs: list[Run]) -> None:
        """Runs whose lines have not come yet are known by their names."""
        for run in runs:
            if run.id in self._ids and run.id not in self.sides:
                self.sides[run.id] = Side(run, RunCurves())
        self._changed()

    def run_advanced(self, run: Run, records: Sequence[MetricRecord], restarted: bool) -> None:
        """Take in what is new; drawn soon after."""
        known = self.sides.get(run.id)
        curves = RunCurves() if known is None or restarted else known.curves
        curves.extend(records)
        self.sides[run.id] = Side(run, curves)
        self._changed()

    def run_vanished(self, run_id: str) -> None:
        """Keep showing what is known of it."""
        self._gone.add(run_id)
        self._changed()

    @property
    def ordered(self) -> list[Side]:
        """The runs in the order of their letters, once all are known."""
        found = [self.sides[run_id] for run_id in self._ids if run_id in self.sides]
        return found if len(found) == len(self._ids) else []

    # --- the paired tests

    def _test_when_due(self, sides: Sequence[Side]) -> None:
        """Test again where a run has ended, has another last evaluation, or went to work again."""
        key = tuple((side.run.id, side.run.state.alive, side.run.status and side.run.status.ended) for side in sides)
        if key != self._tested_for and not self._gone:
            self._tested_for = key
            self._test(key, [side.run for side in sides])

    @work(thread=True, exclusive=True, group="tests")
    def _test(self, key: tuple[object, ...], runs: list[Run]) -> None:
        self.post_message(self.Tested(key, pairs(runs, self._data_dir)))

    @on(Tested)
    def _have_tests(self, message: Tested) -> None:
        if message.key == self._tested_for:
            self._pairs = message.found
            self._redraw()

    # --- drawing

    def _changed(self) -> None:
        """Redraw for new data, as soon as the time for it has come."""
        wait = self._next_redraw - time.monotonic()
        if wait <= 0:
            self._redraw()
        elif not self._redraw_waits:
            self._redraw_waits = True
            self.set_timer(wait, self._redraw)

    def on_screen_resume(self) -> None:
        """Draw what came while another screen lay over this one."""
        self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        self._redraw_waits = False
        sides = self.ordered
        if not self.is_mounted or not self.is_seen or not sides:
            return
        begun = time.monotonic()
        self._test_when_due(sides)
        self.charts.show(sides)
        self._write_words(sides)
        self._next_redraw = begun + max(REDRAW_SECONDS, (time.monotonic() - begun) / REDRAW_SHARE)

    def _write_words(self, sides: Sequence[Side]) -> None:
        glyphs = ASCII if getattr(self.app, "ascii_only", False) else UNICODE
        if self._shown == "chart":
            self._write_names(name_parts(sides, self.size.width - 2, glyphs))
            return
        width = self.size.width - 3
        beside = self.size.width >= BROAD
        left = width * 3 // 5 if beside else width
        settings = difference_parts(sides, width - left - 2 if beside else width)
        parts = standing_parts(sides, left, glyphs, sorted(self._gone))
        if not beside:  # what differs is short: it comes before the tests, which scroll
            parts += [*settings, ("\n", "")]
        parts += paired_parts(self._pairs, left)
        if (written := (parts, settings, beside)) == self._written:
            return  # updating a text lays the screen out anew
        self._written = written
        self.query_one("#verdicts", Static).update(Content.assemble(*parts))
        differences = self.query_one("#differences", Static)
        differences.display = beside
        if beside:
            differences.update(Content.assemble(*settings))

    def _write_names(self, parts: list[Part]) -> None:
        """Whose letter is whose, below charts that stand alone."""
        if (written := ("names", parts)) != self._written:
            self._written = written
            names = self.query_one("#names", Static)
            names.display = bool(parts)
            names.update(Content.assemble(*parts))

    # --- keys

    def action_charts(self, method: str, *arguments: int) -> None:
        """What the charts do themselves: value, axis, scale, zoom, pan, cursor, smoothing."""
        if method == "zoom" and self._shown == "words":
            self.query_one("#words").scroll_relative(y=-arguments[0], animate=False)
            return
        getattr(self.charts, method)(*arguments)

    def action_words(self) -> None:
        """More of the chart, or more of the words."""
        self._shown = VIEWS[(VIEWS.index(self._shown) + 1) % len(VIEWS)]
        self._arrange()

    def action_open_leader(self) -> None:
        """Open the run whose newest test accuracy is the highest."""
        sides = [side for side in self.ordered if side.curves.evaluations]
        if sides:
            best = max(sides, key=lambda side: side.curves.evaluations[-1].test_accuracy)
            self.post_message(OpenRun(best.run.id))

    def action_scroll_words(self, by: int) -> None:
        """The words by half of what is shown of them."""
        words = self.query_one("#words")
        words.scroll_relative(y=by * max(1, words.size.height // 2), animate=False)

    async def action_back(self) -> None:
        """Take away the cursor, then the zoom, then leave."""
        if not self.charts.undo():
            await self.run_action("app.back")
