"""Keys and filter of the Runs screen in the real app: what is offered, what is asked for, and why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.messages import OpenRun, RunActionRequested
from fmnist_tui.tui.runs_words import nothing_listed
from fmnist_tui.tui.screens.runs import RunsScreen
from fmnist_tui.tui.widgets.runs_table import RunsTable
from tests.tui.runs_listening import Listening, selected
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn


@pytest.fixture
def app(runs_dir: Path) -> Listening:
    return Listening(runs_dir)


async def test_only_what_can_be_done_is_offered(app: Listening, maker: RunMaker) -> None:
    maker.gallery()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("down")
        bar = drawn(app)[-1]
        assert "s Stop" in bar and "r Resume" not in bar and "d Delete" not in bar
        await pilot.press("r", "d")
        assert app.asked == [], "not offered and not done"
        await pilot.press("s", "e", "C", "c", "l", "enter")
        await until(pilot, lambda: len(app.asked) == 6)
        actions = [message.action for message in app.asked if isinstance(message, RunActionRequested)]
        assert actions == ["stop", "edit", "clone", "config", "log"]
        assert isinstance(app.asked[-1], OpenRun) and app.asked[-1].run_id == selected(pilot)
        await pilot.press("down", "down")
        bar = drawn(app)[-1]
        assert "s Stop" not in bar and "r Resume" in bar and "d Delete" in bar
        await pilot.press("s", "r", "d")
        await until(pilot, lambda: len(app.asked) == 8)
        assert [m.action for m in app.asked[6:] if isinstance(m, RunActionRequested)] == ["resume", "delete"]


async def test_filter(app: Listening, maker: RunMaker) -> None:
    made = maker.gallery()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("slash", *"preset:wrn acc>94")
        text = await until_drawn(pilot, "1 of 10 runs")
        assert "wrn-cutout" in text and "● running" not in text
        await pilot.press("enter")
        assert selected(pilot) == made["old"].id
        await pilot.press("r")
        await until(pilot, lambda: bool(app.asked))
        await pilot.press("escape")
        await until_drawn(pilot, "10 runs, 3 at work", "● running")
        assert pilot.app.screen.query_one("#filter", Input).value == ""


async def test_a_bad_qualifier_is_said(app: Listening, maker: RunMaker) -> None:
    maker.gallery()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("down", "down", "down")
        before = selected(pilot)
        await pilot.press("slash", *"stat:lost")
        await until_drawn(pilot, "stat: no such qualifier; did you mean state:?", "● running")
        await pilot.press(*(["backspace"] * 9), *"%%%")
        text = await until_drawn(pilot, "None of 10 runs passes the filter.")
        assert "no such qualifier" not in text
        await pilot.press("escape")
        await until_drawn(pilot, "● running")
        assert selected(pilot) == before, "the cursor is where it was before the filter passed others, and none"


async def test_a_key_that_does_nothing_to_a_run_says_why(app: Listening, maker: RunMaker) -> None:
    maker.make("quick")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "✓ finished")
        for key, said in (("e", "e changes a run at work; this one is finished"), ("s", "at work or queued")):
            await pilot.press(key)
            await until_drawn(pilot, said)
        await pilot.press("p")
        await until_drawn(pilot, "there have to be two")
        assert app.asked == []


async def test_a_key_that_does_something_is_silent(app: Listening, maker: RunMaker) -> None:
    maker.make("quick")
    maker.make("wrn")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "2 runs")
        await pilot.press("space", "space", "l", "p")
        await pilot.pause()
        assert not app._notifications


def test_an_empty_list_names_the_command_for_its_own_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMNIST_TUI_RUNS_DIR", "/mine")
    assert "fmnist-tui run preset quick\n" in nothing_listed([], "", Path("/mine")).plain
    assert "fmnist-tui run preset quick --runs-dir /other\n" in nothing_listed([], "", Path("/other")).plain


async def test_nothing_is_asked_of_a_screen_whose_table_is_gone(app: FmnistApp, maker: RunMaker) -> None:
    """As while the app closes: its timer came once more, and ended it with a traceback."""
    maker.make("wrn", State.QUEUED)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "queued")
        screen = app.screen
        assert isinstance(screen, RunsScreen) and screen.selected is not None
        await screen.query_one(RunsTable).remove()
        screen._tick()
        assert screen.selected is None
        assert screen.check_action("ask", ("stop",)) is None
