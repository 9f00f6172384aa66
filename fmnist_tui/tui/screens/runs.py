"""The Runs screen, home of the app: every run, a filter, and what to do with the run under the cursor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import DataTable, Input, Static

from fmnist_tui.analysis.differences import apart
from fmnist_tui.runs.filter import HINT, RunFilter, parse_filter
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import columns
from fmnist_tui.tui import format as words
from fmnist_tui.tui.messages import CompareRequested, OpenRun, RunActionRequested
from fmnist_tui.tui.runs_words import NEEDS, counts, nothing_listed, steered, what_comparing_needs, why_not
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.header import TopBar
from fmnist_tui.tui.widgets.run_detail import RunDetail
from fmnist_tui.tui.widgets.runs_table import RunsTable

MOST = 8
"""Runs in one comparison (`analysis.compare.MOST`; that module is not for the first frame)."""
SHORT = 16
"""On screens lower than this the panel under the table has one line."""


class FilterInput(Input):
    """The filter's line; enter and the down arrow go on to the table."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Keep"),
        Binding("down", "submit", show=False),
    ]


class RunsScreen(FeedScreen):
    """A table of runs; what is under the cursor is described below it."""

    HELP = (
        "Every run of the runs directory: those at work first, then the queued, then by when they were last at work. "
        "Mark two or more with space, then p shows them side by side. A filter's words must all be there; one may be "
        "a text: preset:, group:, model:, name:, id:, device:, comment:, state: (with commas between several), or a "
        "number: acc, best, loss, epoch, epochs, seed with <, <=, >, >= or =; a - before it takes those runs away."
    )
    AUTO_FOCUS = "RunsTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "app.go('new')", "New", tooltip="choose a preset, edit it, start it"),
        Binding("s", "ask('stop')", "Stop", tooltip="stop the run, or start a queued one now (asks how)"),
        Binding("r", "ask('resume')", "Resume", tooltip="go on from the last checkpoint"),
        Binding("C", "ask('clone')", "Clone", tooltip="a new run of the same configuration, to be edited first"),
        Binding("l", "ask('log')", "Log", tooltip="what its worker printed"),
        Binding("d", "ask('delete')", "Delete", tooltip="delete the run and its checkpoints (asks)"),
        Binding("m", "ask('mistakes')", "Mistakes", tooltip="which classes it takes for which, and the images"),
        Binding("space", "mark", "Mark", tooltip="mark the run for a comparison, or take the mark away"),
        Binding("p", "compare", "Compare", tooltip="the marked runs side by side (or a marked one and this one)"),
        Binding("c", "ask('config')", "Config", tooltip="the configuration and its difference from the preset"),
        Binding("e", "ask('edit')", "Edit", show=False, tooltip="more or fewer epochs, stop at an accuracy"),
        Binding(
            "number_sign",
            "ask('comment')",
            "Comment",
            key_display="#",
            show=False,
            tooltip="a line about it",
        ),
        Binding("plus,equals_sign", "move(-1)", "Sooner", key_display="+", tooltip="one place forward in the queue"),
        Binding("minus", "move(1)", "Later", key_display="-", tooltip="one place back in the queue"),
        Binding("slash", "filter", "Filter", key_display="/", tooltip="show only some: by text, preset, state, ..."),
        Binding("escape", "clear_filter", "Clear", tooltip="show all runs again"),
    ]

    class MoveRequested(Message):
        """Give a queued run another place: `by` is -1 for one sooner, 1 for one later."""

        def __init__(self, run_id: str, by: int) -> None:
            self.run_id = run_id
            self.by = by
            super().__init__()

    problem: reactive[str] = reactive("")
    """Why the runs can't be read; shown in their place."""
    left_out: reactive[str] = reactive("")
    """Which runs are in no list, and why; shown under it."""

    def __init__(self, runs_dir: Path, glyphs: words.Glyphs, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._glyphs = glyphs
        self._now = now
        self._runs: list[Run] | None = None
        self._had_some = False
        self._apart: tuple[list[Run] | None, dict[str, str]] = (None, {})  # of which list
        self._filter = RunFilter()
        self._marked: list[str] = []

    def compose(self) -> ComposeResult:
        """Bar, filter, table (or what stands in its place), detail, keys."""
        yield TopBar("runs")
        with Horizontal(id="filter-line"):
            yield Static("/", id="filter-sign")
            yield FilterInput(placeholder=HINT, id="filter", compact=True)
        yield Static(id="filter-problem")
        yield RunsTable(self._glyphs, self._now)
        yield Static(id="instead")
        yield Static(id="left-out", markup=False)
        yield RunDetail(self._glyphs)
        yield KeyBar()

    def on_mount(self) -> None:
        """Times count down between the runs' own news."""
        self.set_interval(1.0, self._tick)
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """Less detail on low screens."""
        self.query("RunDetail, #left-out, #instead").set_class(event.size.height < SHORT, "-short")
        self.call_after_refresh(self._show)

    def on_screen_resume(self) -> None:
        """Show what came while another screen lay over this one."""
        self._show()

    @property
    def selected(self) -> Run | None:
        """The run under the cursor; None also while the screen is being taken down, and its table is gone."""
        table = next(iter(self.query(RunsTable)), None)
        return table.selected if table is not None and table.display else None

    def runs_listed(self, runs: list[Run]) -> None:
        """The list changed."""
        self._runs = runs
        self._had_some = self._had_some or bool(runs)
        there = {run.id for run in runs}
        self._marked = [run_id for run_id in self._marked if run_id in there]
        self.problem = ""
        if self.is_seen:
            self._show()

    def watch_problem(self) -> None:
        """Say it, or say it no more."""
        self._show()

    def watch_left_out(self) -> None:
        """Say it, or say it no more."""
        said = self.query_one("#left-out", Static)
        said.display = bool(self.left_out)
        said.update(self.left_out)

    def _tick(self) -> None:
        if self.is_seen and any(run.state.alive for run in self._runs or ()):
            self._show()

    def _show(self) -> None:
        """Draw the runs that pass the filter, or say why there are none."""
        if not self.is_mounted or not self.query(RunsTable):  # not yet, or no more: the app is closing
            return
        runs = columns.in_order([run for run in self._runs or () if self._filter.matches(run)])
        if self._apart[0] is not self._runs:
            self._apart = (self._runs, apart(self._runs or []))
        table = self.query_one(RunsTable)
        table.display = bool(runs)
        self.query_one(RunDetail).display = bool(runs)
        instead = self.query_one("#instead", Static)
        instead.display = not runs
        table.show(runs, frozenset(self._marked), self._apart[1])
        if runs:
            self._show_detail(len(runs))
        else:
            instead.update(nothing_listed(self._runs, self.problem, self._runs_dir, self._had_some))
        self.refresh_bindings()

    def _show_detail(self, shown: int) -> None:
        told = counts(self._runs or [], shown, len(self._marked))
        self.query_one(RunDetail).show(self.selected, self._now(), told)

    @on(DataTable.RowHighlighted)
    @on(RunsTable.Filled)
    def _moved(self) -> None:
        self._show_detail(self.query_one(RunsTable).row_count)
        self.refresh_bindings()

    @on(DataTable.RowSelected)
    def _opened(self) -> None:
        run = self.selected
        if run is not None:
            self.post_message(OpenRun(run.id))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what the run under the cursor can have done to it is offered."""
        if not self.is_mounted:
            return True
        if action in ("ask", "move"):
            run, wanted = self.selected, "move" if action == "move" else str(parameters[0])
            return True if run is not None and NEEDS[wanted](run) else None
        if action == "mark":
            return True if self.selected is not None else None
        if action == "compare":
            return True if len(self.to_compare) >= 2 else None
        if action == "clear_filter":
            return self.query_one("#filter-line").display
        if action == "filter":
            return not self.query_one("#filter").has_focus
        return True

    def action_ask(self, action: str) -> None:
        """Ask the app for it; the app asks the user first where that is due."""
        run = self.selected
        if run is not None:
            self.post_message(RunActionRequested(run.id, action))  # type: ignore[arg-type]

    @property
    def to_compare(self) -> list[str]:
        """The marked runs in the order they were marked; a single one with the run under the cursor."""
        selected = self.selected
        if len(self._marked) == 1 and selected is not None and selected.id not in self._marked:
            return [*self._marked, selected.id]
        return list(self._marked)

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and go on to the next."""
        run = self.selected
        if run is None:
            return
        if run.id in self._marked:
            self._marked.remove(run.id)
        elif len(self._marked) == MOST:
            self.notify(f"{MOST} runs at most can be told apart on one chart; take a mark away first.")
            return
        else:
            self._marked.append(run.id)
        self._show()
        self.query_one(RunsTable).action_cursor_down()

    def action_compare(self) -> None:
        """Ask the app to show them side by side."""
        self.post_message(CompareRequested(self.to_compare))

    def refusal(self, action: str) -> str:
        """What comparing needs, or why it can't be done to the run under the cursor."""
        if action == "compare" and len(self.to_compare) < 2:
            return what_comparing_needs(len(self._runs or ()), len(self._marked))
        what, run = steered(action), self.selected
        return why_not(what, run) if run is not None else ""

    def action_move(self, by: int) -> None:
        """Ask the app to move a queued run."""
        if self.selected is not None:
            self.post_message(self.MoveRequested(self.selected.id, by))

    def action_filter(self) -> None:
        """Open the filter's line and type into it."""
        self.query_one("#filter-line").display = True
        self.query_one("#filter", Input).focus()

    def action_clear_filter(self) -> None:
        """Close the filter's line and show all runs."""
        self.query_one("#filter", Input).value = ""
        self.query_one("#filter-line").display = False
        self.query_one(RunsTable).focus()

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        self._filter = parse_filter(event.value)
        problem = self.query_one("#filter-problem", Static)
        problem.display = bool(self._filter.problems)
        problem.update(Content("; ".join(self._filter.problems)))
        self._show()

    @on(Input.Submitted, "#filter")
    def _typed_all(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.query_one(RunsTable).focus()
        else:
            self.action_clear_filter()
