"""The GPU screen: every GPU, which run is on it, and the host, once a second."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from fmnist_tui.runs.metrics import SystemRecord
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.format import Glyphs
from fmnist_tui.tui.machine import History, describe
from fmnist_tui.tui.machine_charts import charts, runs_at_work
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.header import TopBar

OTHER_LINES = 5
"""Of the bars, of the space above and below the text, and the one its last line end begins."""


class SystemScreen(FeedScreen):
    """Drawn by `machine.describe`; nothing is shown that the driver or the system did not tell."""

    HELP = (
        "GPUs as the NVIDIA driver reports them, and the host. The blocks at the right are the last seconds, one each, "
        "since the app was opened; where there is room, charts have up to ten minutes, a column the highest of its "
        "seconds. A run's own samples, also of the time the app was closed, are on its screen."
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.back", "Back")]

    def __init__(self, history: History, where: str, glyphs: Glyphs) -> None:
        super().__init__()
        self._history = history
        self._where = where
        self._glyphs = glyphs
        self._problem = ""
        self._runs: list[Run] = []
        self._text = Static(id="system-text")

    def compose(self) -> ComposeResult:
        """Bar, text that scrolls, keys."""
        yield TopBar("system")
        with VerticalScroll(id="system"):
            yield self._text
        yield KeyBar()

    def on_mount(self) -> None:
        """Say that nothing is known yet."""
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """Meters take the width there is."""
        self.call_after_refresh(self._show)

    def on_screen_resume(self) -> None:
        """Show what came while another screen lay over this one."""
        self._show()

    def runs_listed(self, runs: list[Run]) -> None:
        """Runs name the GPUs they are on."""
        self._runs = runs

    def system_sampled(self, sample: SystemRecord, gpu_problem: str) -> None:
        """A new sample is in the history."""
        self._problem = gpu_problem
        self._show()

    def _show(self) -> None:
        width = max(20, self.size.width - 3)
        lines = describe(self._history, self._problem, self._runs, self._where, width, self._glyphs)
        rows = self.size.height - OTHER_LINES
        at_work = runs_at_work(self._runs, datetime.now().astimezone(), width, self._glyphs)
        if len(lines) + 1 + len(at_work) <= rows:
            lines = [*lines, [], *at_work]
        lines += charts(self._history, rows - len(lines), width, self._glyphs)
        parts: list[tuple[str, str]] = []
        for line in lines:
            parts += [(text, color if color in ("", "bold") else f"${color}") for text, color in line]
            parts.append(("\n", ""))
        self._text.update(Content.assemble(*parts))
