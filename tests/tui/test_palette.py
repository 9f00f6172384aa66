"""The command palette with names that would be markup: they stand there letter for letter, and can be found."""

from __future__ import annotations

import pytest
from textual.app import SystemCommand

from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.run import RunScreen
from tests.tui.synthetic import RunMaker, until, until_drawn

NAMES = ["x[/b]", "[a](b)", "[/]", "[@click=app.quit]x[/]", "[$primary]x", "[A]x", "a\\[b]", "[b"]


async def test_names_in_brackets_are_shown_and_found(app: FmnistApp, maker: RunMaker) -> None:
    runs = {name: maker.make("quick", ago=7200, changes={"name": name, "preset": None}) for name in NAMES}
    newest = maker.make("quick", State.FAILED, changes={"name": "weights[/b]"}, run_id="20991123-142501-w-k3f9")
    async with app.run_test(size=(100, 60)) as pilot:
        await until_drawn(pilot, "✗ failed")
        await pilot.press("ctrl+p")
        await until_drawn(pilot, "Resume weights[/b]", "Delete weights[/b]")
        await pilot.press(*"open")
        await until_drawn(pilot, *(f"Open {name} {run.id}" for name, run in runs.items()))
        await pilot.press(*" weights", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.watched_run == newest.id)


async def test_what_is_said_of_a_command_is_literal_too(app: FmnistApp, monkeypatch: pytest.MonkeyPatch) -> None:
    command = SystemCommand("Compare [A]x", "20261101-000000-quick[/b], same preset", app.action_help)
    monkeypatch.setattr(app, "get_system_commands", lambda screen: [command])
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("ctrl+p")
        await until_drawn(pilot, "Compare [A]x", "quick[/b], same preset")
        await pilot.press(*"comp")
        await until_drawn(pilot, "Compare [A]x", "quick[/b], same preset")
