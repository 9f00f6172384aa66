"""The log of a run's worker, live: what it printed, and its stack traces."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from fmnist_tui.runs.store import Run
from fmnist_tui.tui.reading import LOG_LINES
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.header import TopBar
from fmnist_tui.tui.widgets.wrapped_log import WrappedLog


class LogScreen(FeedScreen):
    """The end of worker.log; it follows what is written while one is at its end."""

    HELP = "What the run's worker wrote, newest at the end. It follows the end until you scroll up; f follows again."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f,end", "follow", "Follow", tooltip="go to the end and follow what is written"),
        Binding("home", "top", "Top", tooltip="go to the first line kept"),
        Binding("escape", "app.back", "Back"),
    ]

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.watched_log = run_id
        self._written = False
        self._state = ""

    def compose(self) -> ComposeResult:
        """The lines, and a line that says where they come from."""
        yield TopBar("runs")
        yield Static(id="log-title", classes="screen-title", markup=False)
        yield WrappedLog(LOG_LINES)
        yield KeyBar()

    def on_mount(self) -> None:
        """Until the first lines come, say so."""
        self._say()

    def _say(self) -> None:
        written = "" if self._written else ", nothing written yet"
        self.query_one("#log-title", Static).update(f"worker.log of {self.watched_log}  {self._state}{written}")

    def runs_listed(self, runs: list[Run]) -> None:
        """Say in which state the run is whose log this is."""
        run = next((run for run in runs if run.id == self.watched_log), None)
        self._state = f"({run.state})" if run else "(deleted)"
        self._say()

    def log_advanced(self, lines: list[str], restarted: bool) -> None:
        """Show new lines."""
        log = self.query_one(WrappedLog)
        if restarted:
            log.empty()
        log.add(lines)
        self._written = not log.is_empty
        self._say()

    def action_follow(self) -> None:
        """To the end."""
        log = self.query_one(WrappedLog)
        log.auto_scroll = True
        log.scroll_end(animate=False)

    def action_top(self) -> None:
        """To the beginning."""
        self.query_one(WrappedLog).scroll_home(animate=False)
