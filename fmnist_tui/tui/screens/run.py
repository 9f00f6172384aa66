"""The Run screen: one run live, or as it ended: progress, curves, what stands out in words, events and log.

Opened by the app with a run's id; hears of the run from the feed and posts RunActionRequested for what changes it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import ClassVar, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal
from textual.message import Message

from fmnist_tui.runs.records import EvalRecord, State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import narration
from fmnist_tui.tui.eta import remaining
from fmnist_tui.tui.format import ASCII, UNICODE
from fmnist_tui.tui.ghost import find_ghost, load_ghost
from fmnist_tui.tui.messages import MetricRecord, RunActionRequested
from fmnist_tui.tui.run_charts import CHARTS, ChartName, GhostCurves, RunCharts
from fmnist_tui.tui.run_data import RunData, epoch_steps
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.screens.run_config import RunConfigScreen
from fmnist_tui.tui.widgets.chart import Chart
from fmnist_tui.tui.widgets.chart_view import TimeView
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.header import TopBar
from fmnist_tui.tui.widgets.run_header import RunHeader, Standing, header_lines
from fmnist_tui.tui.widgets.run_panels import LogTail, Narration, TextPanel, events_text

REDRAW_SECONDS = 0.2
"""Between two redraws for new data, at the least; a key is answered at once."""
REDRAW_SHARE = 0.03
"""Share of the time that goes into redraws for new data: where one takes long, the next waits longer."""
NARRATION_SECONDS = 1.0
"""Between two looks for what stands out."""
SMOOTHINGS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)
DEFAULT_SMOOTHING = 2
"""Index of the one to begin with. A line of the metrics is the mean of several steps already, and more smoothing
makes the curve of the first epochs lag visibly behind what it smooths."""
TALL, BROAD, HUGE = 32, 160, 48
"""From TALL rows on two charts stand above each other, from BROAD columns on two side by side, and from HUGE rows
on (with both) events and log below them."""
PAN_SHARE, ZOOM = 0.2, 0.7
HINT = narration.Note("info", 0, "Nothing stands out. Shift+arrows: cursor; up, down: zoom; 0: whole run.")
"""Said where the narration has nothing to say."""
ENDED = (State.FINISHED, State.STOPPED, State.FAILED, State.LOST)
Page = tuple[str, ...]


def pages_of(width: int, height: int) -> tuple[list[Page], int]:
    """What `v` goes through at a size: the panes of each page, and how many columns they stand in."""
    lists: Page = ("lists",)
    if width >= BROAD and height >= TALL:
        everything: Page = (*CHARTS, "lists") if height >= HUGE else CHARTS
        return [everything, *((name,) for name in CHARTS), lists], 2
    if width >= BROAD or height >= TALL:
        return [CHARTS[:2], CHARTS[2:], lists], 2 if width >= BROAD else 1
    return [*((name,) for name in CHARTS), lists], 1


class RunScreen(FeedScreen):
    """Watches one run."""

    AUTO_FOCUS = ""
    HELP = (
        "One run: its progress, curves and events. Shift and the left and right arrows (or the mouse) move a cursor "
        "that shows the values there on every chart; the wheel and the up and down arrows zoom. Dotted is the best "
        "earlier run of the same preset, dashed the reference. Leaving this screen never stops the run."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "steer('stop')", "Stop", tooltip="stop the run (asks how)"),
        Binding("r", "steer('resume')", "Resume", tooltip="go on from the last checkpoint"),
        Binding("e", "steer('edit')", "Edit", tooltip="more or fewer epochs, stop at an accuracy"),
        Binding("l", "steer('log')", "Log", tooltip="everything the worker wrote"),
        Binding("c", "config", "Config", tooltip="the configuration and its difference from the preset"),
        Binding("v", "view", "View", tooltip="the next charts, then events and log"),
        Binding("y", "scale", "Scale", tooltip="the other scale: logarithmic or linear"),
        Binding("f", "follow", "Follow", tooltip="keep the newest point at the right edge, or show the whole run"),
        Binding("plus,equals_sign", "smooth(1)", "Smoother", show=False, key_display="+"),
        Binding("minus", "smooth(-1)", "Less smooth", show=False, key_display="-"),
        Binding("up", "zoom(1)", "Zoom in", show=False),
        Binding("down", "zoom(-1)", "Zoom out", show=False),
        Binding("left", "pan(-1)", "Earlier", show=False),
        Binding("right", "pan(1)", "Later", show=False),
        Binding("shift+left", "cursor(-1)", "Cursor left", show=False),
        Binding("shift+right", "cursor(1)", "Cursor right", show=False),
        Binding("0,home", "whole", "Whole run", show=False, tooltip="the time axis to the run's end, or usual"),
        Binding("d", "steer('delete')", "Delete", show=False, tooltip="delete the run (asks)"),
        Binding("n", "steer('clone')", "Clone", show=False, tooltip="a new run with this configuration"),
        Binding("escape", "back", "Back", show=False, tooltip="take the cursor or the zoom away, then leave"),
    ]
    DEFAULT_CSS = """
    RunScreen #panes { height: 1fr; grid-size: 1; }
    RunScreen #panes.-columns { grid-size: 2; grid-gutter: 0 1; }
    RunScreen #lists { height: 100%; width: 100%; }
    RunScreen #panes.-columns #lists { column-span: 2; }
    RunScreen #lists.-stacked { layout: vertical; }
    """

    class GhostLoaded(Message):
        """The evaluations of the ghost, read by a worker thread."""

        def __init__(self, run_id: str, name: str, evaluations: list[EvalRecord]) -> None:
            self.run_id, self.name, self.evaluations = run_id, name, evaluations
            super().__init__()

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.watched_run = run_id
        self.watched_log = run_id
        self.run: Run | None = None
        self.data = RunData()
        self.time_view = TimeView()
        self.ghost: GhostCurves | None = None
        self._ghost_id = ""
        self._run_charts = RunCharts()
        self._smoothing = DEFAULT_SMOOTHING
        self._page = 0
        self._pages: list[Page] = [("loss",)]
        self._log_tail = LogTail()
        self._vanished = False
        self._next_redraw = self._next_narration = 0.0
        self._redraw_waits = False
        self._bound_for: tuple[State | None, bool] = (None, False)
        self._pointed = False

    def compose(self) -> ComposeResult:
        """Top bar, header, panes, narration, keys."""
        ascii_only = bool(getattr(self.app, "ascii_only", False))
        yield TopBar("runs")
        yield RunHeader()
        with Grid(id="panes"):
            for name in CHARTS:
                yield Chart(self.time_view, ascii_only, id=f"chart-{name}")
            with Horizontal(id="lists"):
                yield TextPanel(" Events ", "nothing has happened yet", "events")
                yield TextPanel(" Log ", "nothing written yet", "log")
        yield Narration(ascii_only)
        yield KeyBar()

    def on_mount(self) -> None:
        """Lay out for the size; tick once a second for what depends on the time."""
        self._arrange()
        self.set_interval(1.0, self._tick)

    def on_resize(self) -> None:
        """Another size may show other panes."""
        self._arrange()

    # --- what the feed says

    def runs_listed(self, runs: list[Run]) -> None:
        """Look for the ghost again."""
        if self.run is None:
            self.run = next((run for run in runs if run.id == self.watched_run), None)
            self._changed()
        self._look_for_ghost(runs)

    def run_advanced(self, run: Run, records: list[MetricRecord], restarted: bool) -> None:
        """Take in what is new; drawn within REDRAW_SECONDS."""
        self.run, self._vanished = run, False
        if restarted:
            self.data = RunData()
        self.data.device = run.status.device if run.status else ""
        self.data.extend(records)
        self._look_for_ghost(getattr(self.app, "runs", []))
        self._changed()

    def run_vanished(self, run_id: str) -> None:
        """Say that the run is gone and keep showing what is known."""
        self._vanished = True
        self._changed()

    def log_advanced(self, lines: list[str], restarted: bool) -> None:
        """New lines of the worker's log."""
        self._log_tail.extend(lines, restarted)
        if "lists" in self._pages[self._page]:
            self._changed()

    def _look_for_ghost(self, runs: list[Run]) -> None:
        other = find_ghost(self.run, runs) if self.run is not None else None
        if other is not None and other.id != self._ghost_id:
            self._ghost_id = other.id
            self._load_ghost(other)

    @work(thread=True, exclusive=True, group="ghost")
    def _load_ghost(self, run: Run) -> None:
        name = f"best {run.config.preset}" if run.config else "best earlier"
        self.post_message(self.GhostLoaded(run.id, name, load_ghost(run.directory)))

    @on(GhostLoaded)
    def _ghost_loaded(self, message: GhostLoaded) -> None:
        if message.run_id == self._ghost_id:
            self.ghost = GhostCurves.of(message.name, message.evaluations)
            self._changed()

    # --- drawing

    def _changed(self) -> None:
        """Redraw for new data, as soon as the time for it has come."""
        wait = self._next_redraw - time.monotonic()
        if wait <= 0:
            self._redraw()
        elif not self._redraw_waits:
            self._redraw_waits = True
            self.set_timer(wait, self._redraw)

    def _redraw(self) -> None:
        self._redraw_waits = False
        if not self.is_mounted:
            return
        begun = time.monotonic()
        self._show_header()
        self._show_panes()
        if begun >= self._next_narration:
            self._show_narration()
        key = (self.run.state if self.run else None, self._vanished)
        if key != self._bound_for:
            self._bound_for = key
            self.refresh_bindings()
        ended = time.monotonic()
        self._next_redraw = begun + max(REDRAW_SECONDS, (ended - begun) / REDRAW_SHARE)

    def _tick(self) -> None:
        """Once a second: the time left goes down and a silent run is told, also when nothing new comes."""
        self._show_header()
        self._show_narration()

    def _show_header(self) -> None:
        now = datetime.now(UTC)
        run, data = self.run, self.data
        left = remaining(run, data, now) if run is not None and not self._vanished else None
        per_epoch = epoch_steps(run.status, run.config) if run else 1
        step = max(run.status.step if run and run.status else 0, int(data.last_step))
        starts = sum(event.record.event in ("start", "resume") for event in data.events)
        standing = Standing(self.watched_run or "", run, per_epoch, step, left, starts, self._vanished)
        self.query_one(RunHeader).show(header_lines(standing, now, self.size.width, self._glyphs))

    @property
    def _glyphs(self):  # type: ignore[no-untyped-def]
        return ASCII if getattr(self.app, "ascii_only", False) else UNICODE

    def _show_panes(self) -> None:
        run = self.run
        if run is None:
            return
        per_epoch = epoch_steps(run.status, run.config)
        view = self.time_view
        view.total = float(max(1, run.status.epochs if run.status else 1))
        view.latest = self.data.last_step / per_epoch
        view.ended = run.state in ENDED
        for name in CHARTS:
            if name in self._pages[self._page]:
                content = self._run_charts.build(name, run, self.data, self.ghost, SMOOTHINGS[self._smoothing])
                self._chart(name).show(content, SMOOTHINGS[self._smoothing])
        if "lists" in self._pages[self._page]:
            self.query_one("#panel-events", TextPanel).write(events_text(self.data.events))
            self.query_one("#panel-log", TextPanel).write(self._log_tail.text())

    def _chart(self, name: ChartName) -> Chart:
        return self.query_one(f"#chart-{name}", Chart)

    def _show_narration(self) -> None:
        self._next_narration = time.monotonic() + NARRATION_SECONDS
        ended = self.run is not None and self.run.state in ENDED
        rows = (4 if ended else 2) if self.size.height < TALL else 5 if ended else 3
        self.query_one(Narration).show(self._notes(), rows if self.size.height >= 16 else 1)

    def _notes(self) -> list[narration.Note]:
        run = self.run
        if self._vanished:
            return [narration.Note("error", 0, "This run was deleted. Press esc to go back.")]
        if run is None:
            return []
        reference = run.config.reference if run.config else None
        schedule = run.config.schedule if run.config else None
        around = narration.Surroundings(
            per_epoch=epoch_steps(run.status, run.config),
            epochs=run.status.epochs if run.status else 1,
            reference=reference.accuracy if reference else None,
            milestones=schedule.milestones if schedule and schedule.kind == "step" else (),
            ghost=narration.Ghost(f"the {self.ghost.name} run", self.ghost.evaluations) if self.ghost else None,
            ended=not run.state.alive,
        )
        notes = narration.narrate(self.data, around)
        if run.state.alive and not notes and self.data.is_empty:
            phase = run.status.phase if run.status else ""
            notes = [narration.Note("info", 0, f"Starting: {phase or 'loading data'}.")]
        return [*narration.outcome(run, datetime.now(UTC)), *notes] or [HINT]

    # --- layout

    def _arrange(self) -> None:
        """Show the panes of the page that fit the size."""
        width, height = self.size
        if not width:
            return
        showing = self._pages[self._page][0]
        self._pages, columns = pages_of(width, height)
        if self._page >= len(self._pages):
            self._page = next((i for i, page in enumerate(self._pages) if showing in page), 0)
        page = self._pages[self._page]
        panes = self.query_one("#panes", Grid)
        panes.set_class(columns == 2 and len(page) > 1, "-columns")
        for name in CHARTS:
            self._chart(name).display = name in page
        lists = self.query_one("#lists")
        lists.display = "lists" in page
        lists.set_class(width < 120, "-stacked")
        panes.styles.grid_rows = "2fr 2fr 1fr" if len(page) == 5 else "1fr"
        self.query_one(RunHeader).styles.height = 4 if height >= 16 else 2
        self._next_narration = 0.0
        self.call_after_refresh(self._redraw)

    # --- keys and mouse

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done to the run as it stands."""
        if action != "steer":
            return True
        state = self.run.state if self.run else None
        if self._vanished or state is None:
            return False
        return {
            "stop": state.alive or state is State.QUEUED,
            "edit": state.alive,
            "resume": state in ENDED,
            "delete": not state.alive,
        }.get(str(parameters[0]), True)

    def action_steer(self, what: Literal["stop", "resume", "delete", "clone", "log", "edit"]) -> None:
        """Ask the app to do something to the run."""
        self.post_message(RunActionRequested(self.watched_run or "", what))

    def action_config(self) -> None:
        """The configuration in a box."""
        if self.run is not None:
            self.app.push_screen(RunConfigScreen(self.run))

    def action_view(self) -> None:
        """The next page."""
        self._page = (self._page + 1) % len(self._pages)
        self._arrange()

    def action_scale(self) -> None:
        """The other scale on every chart."""
        self._run_charts.other_scale = not self._run_charts.other_scale
        self._redraw()

    def action_follow(self) -> None:
        """Follow the newest point, or show the whole run."""
        self.time_view.toggle_follow()
        self._redraw_charts()

    def action_smooth(self, by: int) -> None:
        """More or less smoothing of the train loss."""
        self._smoothing = min(max(self._smoothing + by, 0), len(SMOOTHINGS) - 1)
        self._redraw()

    def action_zoom(self, by: int) -> None:
        """In or out around the cursor; on the page of lists the arrows scroll."""
        if self._pages[self._page] == ("lists",):
            self.query_one("#panel-events", TextPanel).scroll_relative(y=-by, animate=False)
            return
        self.time_view.zoom(ZOOM if by > 0 else 1 / ZOOM)
        self._redraw_charts()

    def action_pan(self, by: int) -> None:
        """Earlier or later."""
        self.time_view.pan(by * PAN_SHARE)
        self._redraw_charts()

    def action_cursor(self, by: int) -> None:
        """The cursor by a column."""
        width = max((self._chart(name).plot_width for name in CHARTS if name in self._pages[self._page]), default=0)
        if width:
            self.time_view.move_cursor(by, width)
            self._redraw_charts()

    def action_whole(self) -> None:
        """The whole run, or what is usually shown."""
        self.time_view.toggle_whole()
        self._redraw_charts()

    async def action_back(self) -> None:
        """Take away the cursor, then the zoom, then leave."""
        view = self.time_view
        if view.cursor is not None and not self._vanished:
            view.cursor = None
        elif view.is_changed and not self._vanished:
            view.reset()
        else:
            await self.run_action("app.back")
            return
        self._redraw_charts()

    def _redraw_charts(self) -> None:
        for name in CHARTS:
            if name in self._pages[self._page]:
                self._chart(name).redraw()

    @on(Chart.Pointed)
    def _chart_pointed(self, message: Chart.Pointed) -> None:
        """The mouse carries the cursor; when it leaves, a cursor it carried goes with it."""
        if message.x is not None:
            self._pointed = True
            self.time_view.place_cursor(message.x, message.width)
        elif self._pointed:
            self._pointed = False
            self.time_view.cursor = None
        self._redraw_charts()

    @on(Chart.Zoomed)
    def _chart_zoomed(self, message: Chart.Zoomed) -> None:
        self.time_view.zoom(message.factor, message.x)
        self._redraw_charts()

    @on(Chart.Panned)
    def _chart_panned(self, message: Chart.Panned) -> None:
        self.time_view.pan(message.share)
        self._redraw_charts()
