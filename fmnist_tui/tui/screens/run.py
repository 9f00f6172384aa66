"""The Run screen: one run live, or as it ended: progress, curves, what stands out in words, events and log.

Opened by the app with a run's id; posts RunActionRequested for what changes the run. What it knows of the run is
heard and read by its base, `RunReading`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from fmnist_tui.analysis.epochs import epoch_steps
from fmnist_tui.runs.status import State
from fmnist_tui.tui import narration
from fmnist_tui.tui.eta import remaining
from fmnist_tui.tui.format import ASCII, UNICODE
from fmnist_tui.tui.messages import RunAction, RunActionRequested
from fmnist_tui.tui.notes import Ghost, Note, surroundings
from fmnist_tui.tui.outcome import outcome
from fmnist_tui.tui.runs_words import NEEDS, steered, why_not
from fmnist_tui.tui.screens.run_reading import RunReading
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.header import TopBar
from fmnist_tui.tui.widgets.run_header import RunHeader, Standing, header_lines
from fmnist_tui.tui.widgets.run_panels import Narration
from fmnist_tui.tui.widgets.run_panes import TALL, RunPanes, Shown

REDRAW_SECONDS = 0.4
"""Between two redraws for new data, at the least (the worker renews its status every half second); a key is
answered at once."""
REDRAW_SHARE = 0.03
"""Share of the time that goes into redraws for new data: where one takes long, the next waits longer."""
NARRATION_SECONDS = 1.0
"""Between two looks for what stands out, unless the state changed."""
TICK_SECONDS = 1.0
"""Between two looks at what depends on the time."""
SHORT = 16
"""A screen with fewer rows has two lines of header and one of narration."""
HINT = Note("info", 0, "Nothing stands out. Shift+arrows: cursor; up, down: zoom; 0: whole run.")
"""Said where the narration has nothing to say."""
ENDED = (State.FINISHED, State.STOPPED, State.FAILED, State.LOST)


class RunScreen(RunReading):
    """Watches one run."""

    AUTO_FOCUS = ""
    HELP = (
        "One run: its progress, curves and events. Shift and the left and right arrows (or the mouse) move a cursor "
        "that shows the values there on every chart; the wheel and the up and down arrows zoom. Dotted is the best "
        "earlier run of the same preset, dashed the reference. Leaving this screen never stops the run."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "steer('stop')", "Stop", tooltip="stop the run, or start a queued one now (asks how)"),
        Binding("r", "steer('resume')", "Resume", tooltip="go on from the last checkpoint"),
        Binding("e", "steer('edit')", "Edit", tooltip="more or fewer epochs, stop at an accuracy"),
        Binding("l", "steer('log')", "Log", tooltip="everything the worker wrote"),
        Binding("c", "steer('config')", "Config", tooltip="the configuration and its difference from the preset"),
        Binding("m", "steer('mistakes')", "Mistakes", tooltip="which classes it takes for which, and the images"),
        Binding("v", "view", "View", tooltip="the next charts, then events and log"),
        Binding("y", "panes('other_scale')", "Scale", tooltip="the other scale: logarithmic or linear"),
        Binding("f", "panes('follow')", "Follow", tooltip="keep the newest point at the right edge, or stop doing so"),
        Binding("0,home", "panes('whole')", "Whole run", show=False, tooltip="the time axis to the run's end, or not"),
        Binding("plus,equals_sign", "panes('smooth', 1)", "Smoother", show=False, tooltip="smooth the train loss more"),
        Binding("minus", "panes('smooth', -1)", "Less smooth", show=False, tooltip="smooth the train loss less"),
        Binding("up", "panes('zoom', 1)", "Zoom in", show=False, tooltip="zoom in"),
        Binding("down", "panes('zoom', -1)", "Zoom out", show=False, tooltip="zoom out"),
        Binding("left", "panes('pan', -1)", "Earlier", show=False, tooltip="what was earlier, when zoomed in"),
        Binding("right", "panes('pan', 1)", "Later", show=False, tooltip="what was later, when zoomed in"),
        Binding("shift+left", "panes('move_cursor', -1)", "Cursor left", show=False, tooltip="the cursor to the left"),
        Binding(
            "shift+right", "panes('move_cursor', 1)", "Cursor right", show=False, tooltip="the cursor to the right"
        ),
        Binding(
            "number_sign",
            "steer('comment')",
            "Comment",
            key_display="#",
            show=False,
            tooltip="a line about it",
        ),
        Binding("d", "steer('delete')", "Delete", show=False, tooltip="delete the run (asks)"),
        Binding(
            "C",
            "steer('clone')",
            "Clone",
            show=False,
            tooltip="a new run of the same configuration, to be edited first",
        ),
        Binding("escape", "back", "Back", show=False, tooltip="take the cursor or the zoom away, then leave"),
    ]

    def __init__(self, run_id: str, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(run_id)
        self._now = now or (lambda: datetime.now(UTC))
        self._next_redraw = self._next_narration = 0.0
        self._redraw_waits = False
        self._bound_for: tuple[State | None, bool] = (None, False)

    def compose(self) -> ComposeResult:
        """Top bar, header, panes, narration, keys."""
        yield TopBar("runs")
        yield RunHeader()
        yield RunPanes(self._ascii_only)
        yield Narration(self._ascii_only)
        yield KeyBar()

    @property
    def _ascii_only(self) -> bool:
        return bool(getattr(self.app, "ascii_only", False))

    @property
    def panes(self) -> RunPanes:
        """Charts and lists."""
        return self.query_one(RunPanes)

    def on_mount(self) -> None:
        """Lay out for the size; tick for what depends on the time."""
        self._arrange()
        self.set_interval(TICK_SECONDS, self._tick)

    def on_resize(self) -> None:
        """Another size may show other panes."""
        self._arrange()

    def _arrange(self) -> None:
        width, height = self.size
        if not width:
            return
        self.panes.lay_out(width, height)
        self.query_one(RunHeader).styles.height = 4 if height >= SHORT else 2
        self._next_narration = 0.0
        self.call_after_refresh(self._redraw)

    # --- drawing

    def run_caught_up(self, run_id: str) -> None:
        """All points of a long run are there: show them now, not when it is time again."""
        self._next_redraw = 0.0
        self.panes.draw_next()
        self.changed()

    @property
    def shows_log(self) -> bool:
        """Whether the log is on screen."""
        return "lists" in self.panes.page

    def changed(self) -> None:
        """Redraw for new data, as soon as the time for it has come."""
        wait = self._next_redraw - time.monotonic()
        if wait <= 0:
            self._redraw()
        elif not self._redraw_waits:
            self._redraw_waits = True
            self.set_timer(wait, self._redraw)

    def _redraw(self) -> None:
        self._redraw_waits = False
        if not self.is_mounted or not self.is_seen:
            return
        begun, used = time.monotonic(), time.thread_time()
        self._show_header()
        if self.run is not None:
            self.panes.show(Shown(self.run, self.data, self.ghost, self.log_tail))
        key = (self.run.state if self.run else None, self.vanished)
        if begun >= self._next_narration or key != self._bound_for:
            self._show_narration()
        if key != self._bound_for:
            self._bound_for = key
            self.refresh_bindings()
        # Processor time: on a busy machine a redraw takes long without costing more.
        self._next_redraw = begun + max(REDRAW_SECONDS, (time.thread_time() - used) / REDRAW_SHARE)

    def on_screen_resume(self) -> None:
        """Draw what came while another screen lay over this one."""
        self._next_narration = 0.0
        self.call_after_refresh(self._redraw)

    def _tick(self) -> None:
        """The time left goes down and a silent run is told, also when nothing new comes."""
        if not self.is_seen:
            return
        self._show_header()
        self._show_narration()
        self.read_log_soon()
        self.changed()

    def _show_header(self) -> None:
        now = self._now()
        run, data = self.run, self.data
        left = remaining(run, data, now) if run is not None and not self.vanished else None
        per_epoch = epoch_steps(run.status, run.config) if run else 1
        step = max(run.status.step if run and run.status else 0, int(data.last_step))
        starts = sum(event.record.event in ("start", "resume") for event in data.events)
        standing = Standing(self.watched_run or "", run, per_epoch, step, left, starts, self.vanished)
        glyphs = ASCII if self._ascii_only else UNICODE
        self.query_one(RunHeader).show(header_lines(standing, now, self.size.width, glyphs))

    def _show_narration(self) -> None:
        self._next_narration = time.monotonic() + NARRATION_SECONDS
        state = self.run.state if self.run else None
        rows = 6 if state in (State.FAILED, State.LOST) else 3 if state in ENDED else 2
        rows = 1 if self.size.height < SHORT else rows if self.size.height < TALL else rows + 1
        self.query_one(Narration).show(self._notes(), rows)

    def _notes(self) -> list[Note]:
        run = self.run
        if self.vanished:
            return [Note("error", 0, "This run was deleted. Press esc to go back.")]
        if run is None:
            return []
        notes = narration.narrate(self.data, surroundings(run, self._narrated_ghost))
        if run.state.at_work and not notes and self.data.is_empty:
            phase = run.status.phase if run.status else ""
            notes = [Note("info", 0, f"Starting: {phase or 'loading data'}.")]
        urgent = [note for note in notes if note.level in ("error", "warning")]
        comment = [Note("comment", 0, run.comment)] if run.comment else []
        return [*outcome(run, self._now()), *urgent, *comment, *(n for n in notes if n not in urgent)] or [HINT]

    @property
    def _narrated_ghost(self) -> Ghost | None:
        return Ghost(f"the {self.ghost.name} run", self.ghost.evaluations) if self.ghost else None

    # --- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done to the run as it stands."""
        if action != "steer":
            return True
        return not self.vanished and self.run is not None and NEEDS[str(parameters[0])](self.run)

    def refusal(self, action: str) -> str:
        """Why it can't be done to this run."""
        what = steered(action)
        if what and self.vanished:
            return "This run was deleted; esc goes back."
        return why_not(what, self.run) if self.run else ""

    def action_steer(self, what: RunAction) -> None:
        """Ask the app to do something to the run."""
        self.post_message(RunActionRequested(self.watched_run or "", what))

    def action_view(self) -> None:
        """The next page."""
        self.panes.next_page()
        self.read_log_soon()
        self._arrange()

    def action_panes(self, method: str, *arguments: int) -> None:
        """What the panes do themselves: zoom, pan, cursor, scale, smoothing."""
        getattr(self.panes, method)(*arguments)

    async def action_back(self) -> None:
        """Take away the cursor, then the zoom, then leave; leave at once where the run is gone."""
        if self.vanished or not self.panes.undo():
            await self.run_action("app.back")
