"""What the tests of the Run screen share: an app around it, plans of runs, and what is on the screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.pilot import Pilot

from fmnist_tui.runs.metrics import Metric
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.messages import RunActionRequested
from fmnist_tui.tui.run_charts import ChartName
from fmnist_tui.tui.screens.run import RunScreen
from tests.tui import synthetic
from tests.tui.synthetic_runs import RUN_ID, Plan

SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (200, 60)


class Host(App[None]):
    """The least an app needs to be for the screen."""

    BINDINGS = [Binding("question_mark", "help", "Keys"), Binding("q", "detach", "Detach")]  # noqa: RUF012

    def __init__(self, ascii_only: bool = False) -> None:
        super().__init__()
        self.ascii_only = ascii_only
        self.runs: list[Run] = []
        self.asked: list[tuple[str, str]] = []
        self.went_back = 0
        self.shown = RunScreen(RUN_ID)

    def on_mount(self) -> None:
        self.push_screen(self.shown)

    def on_run_action_requested(self, message: RunActionRequested) -> None:
        self.asked.append((message.run_id, message.action))

    async def action_back(self) -> None:
        self.went_back += 1

    def action_help(self) -> None:
        """For the key bar."""

    def action_detach(self) -> None:
        """For the key bar."""


def live(**values: Any) -> Plan:
    """A plan whose newest record is of now."""
    return Plan(now=datetime.now(UTC), **values)


def screen_text(app: App[None]) -> str:
    """Every row the terminal shows."""
    width, height = app.size
    rows = app.screen._compositor.render_strips()
    assert len(rows) == height
    assert all(row.cell_length == width for row in rows)
    return "\n".join(row.text for row in rows)


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait until something is so; at least until what was asked for has been done."""
    await pilot.pause(0.01)
    await synthetic.until(pilot, condition)


async def show(pilot: Pilot[None], run: Run, lines: Sequence[Metric], runs: list[Run] | None = None) -> None:
    """Hand the screen a run as the feed does, and wait until it is drawn."""
    app = pilot.app
    assert isinstance(app, Host)
    await pilot.pause()
    app.runs = [run, *(runs or [])]
    app.shown.runs_listed(app.runs)
    app.shown.run_advanced(run, lines, True)
    name = run.name
    await until(pilot, lambda: f" {name} " in screen_text(app) and app.shown._bound_for[0] is run.state)
    await pilot.pause()


def chart_text(app: Host, name: ChartName) -> str:
    chart = app.shown.panes.chart(name)
    return "\n".join(chart.render_line(row).text for row in range(chart.size.height))
