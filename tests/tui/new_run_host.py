"""What the tests of the New run screen share: an app around it, typing into its form, and what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.messages import StartRequested
from fmnist_tui.tui.screens.new_run import NewRunScreen
from fmnist_tui.tui.widgets.form import ConfigForm
from tests.tui.typing_helpers import send, until


class Host(App[None]):
    """What the screen needs of the app, and what it asks for."""

    def __init__(self, runs: Sequence[Run] = (), ascii_only: bool = False, runs_dir: Path | None = None) -> None:
        super().__init__()
        self.animation_level = "none"
        self.runs = list(runs)
        self.runs_dir = runs_dir
        self.data_dir = None
        self.ascii_only = ascii_only
        self.started: list[StartRequested] = []

    def on_start_requested(self, message: StartRequested) -> None:
        self.started.append(message)


@asynccontextmanager
async def new_run(
    config: RunConfig | None = None, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[tuple[Host, NewRunScreen, Pilot[None]]]:
    app = Host(**options)
    async with app.run_test(size=size) as pilot:
        screen = NewRunScreen(config)
        await app.push_screen(screen)
        await until(pilot, lambda: app.focused is not None)
        yield app, screen, pilot


async def type_into(pilot: Pilot[None], screen: NewRunScreen, key: str, *keys: str) -> None:
    """Go to a field and press keys there; into a text they replace what it held."""
    form = screen.query_one(ConfigForm)
    form.focus_field(key)
    await until(pilot, lambda: form.focused_key == key)
    send(screen.app, *keys)


async def next_family(pilot: Pilot[None], screen: NewRunScreen) -> None:
    before = screen.draft.kind
    await type_into(pilot, screen, "model.kind", "right")
    await until(pilot, lambda: screen.draft.kind != before)


async def edit(pilot: Pilot[None], screen: NewRunScreen, key: str, *keys: str) -> None:
    """The same, and wait until all that follows from it has happened."""
    await type_into(pilot, screen, key, *keys)
    await pilot.pause()


def difference(screen: NewRunScreen) -> str:
    return str(screen.query_one("#difference").render())


def notices(app: Host) -> list[str]:
    """What was said in notifications, the newest last."""
    return [notice.message for notice in app._notifications]


def reason(screen: NewRunScreen) -> str:
    return str(screen.query_one("#reason").render())
