"""The app for tests of the Runs screen: what is asked of it is written down, and nothing is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.message import Message
from textual.pilot import Pilot

from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.messages import OpenRun, RunActionRequested
from fmnist_tui.tui.screens.runs import RunsScreen


class Listening(FmnistApp):
    """The app, but what screens ask for is only written down."""

    def __init__(self, runs_dir: Path) -> None:
        super().__init__(runs_dir, None)
        self.asked: list[Message] = []

    async def on_open_run(self, message: OpenRun) -> None:
        message.prevent_default()
        self.asked.append(message)

    def on_run_action_requested(self, message: RunActionRequested) -> None:
        message.prevent_default()
        self.asked.append(message)


def selected(pilot: Pilot[Any]) -> str:
    """The id of the run under the cursor; '' where there is none."""
    screen = pilot.app.screen
    assert isinstance(screen, RunsScreen)
    return screen.selected.id if screen.selected else ""
