"""Runs that end while one looks elsewhere: what is said, when the bell rings, and that it can be turned off."""

from __future__ import annotations

import pytest

from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import load_run
from fmnist_tui.tui import endings
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.run import RunScreen
from fmnist_tui.tui.terminal import keep_choice, kept_choice
from tests.tui.synthetic import RunMaker, seen, until, until_drawn


def change(run: RunDirectory, **values: object) -> None:
    """As its worker would write it."""
    status = Status.model_validate_json(run.status.read_bytes())
    replace_bytes(run.status, status.model_copy(update={"ended": status.heartbeat, **values}).to_json().encode())


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows each time the app rings."""
    times: list[str] = []
    monkeypatch.setattr(FmnistApp, "bell", lambda app: times.append("rung"))
    return times


def test_which_ends_are_news(maker: RunMaker) -> None:
    runs = [load_run(maker.make("quick", state)) for state in (State.FINISHED, State.FAILED, State.STOPPED, State.LOST)]
    finished, failed, _, lost = runs
    at_work = {run.id: State.RUNNING for run in runs}
    assert endings.newly_ended(at_work, runs) == [finished, failed, lost], "a stop was asked for"
    assert endings.newly_ended({}, runs) == [], "they had ended before the app looked"
    assert endings.newly_ended({run.id: run.state for run in runs}, runs) == []
    assert endings.newly_ended({finished.id: State.QUEUED}, runs) == [], "taken out of the queue it is as it was"


def test_what_is_said(maker: RunMaker) -> None:
    finished = load_run(maker.make("wrn", State.FINISHED, test_accuracy=93.4125, active_seconds=4321.0))
    failed = load_run(maker.make("quick", State.FAILED, error="the loss is not finite.\nat step 3"))
    lost = load_run(maker.make("densenet", State.LOST))
    assert endings.endings([finished]) == "wrn has finished after 1h 12m: 93.41 %."
    assert endings.endings([failed, lost]) == (
        "quick has failed: the loss is not finite.\ndensenet is lost: its process is gone."
    )
    assert endings.endings([finished] * 4) == "4 runs have ended."
    assert endings.endings([finished, finished, failed, lost]) == (
        "4 runs have ended, 2 of them before they had finished."
    )


async def test_a_run_that_ends_elsewhere_is_named_and_rung_for(
    app: FmnistApp, maker: RunMaker, rung: list[str]
) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("4")
        change(run, state=State.FINISHED, test_accuracy=93.41)
        await until_drawn(pilot, "wrn has finished")
        assert rung == ["rung"]
        change(run, state=State.RUNNING)
        await until(pilot, lambda: app.runs[0].state is State.RUNNING)
        change(run, state=State.STOPPED)
        await until(pilot, lambda: app.runs[0].state is State.STOPPED)
        assert rung == ["rung"], "a stop is no news"


async def test_on_the_screens_that_show_it_the_bell_alone_says_so(
    app: FmnistApp, maker: RunMaker, rung: list[str]
) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "● running")
        change(run, state=State.FAILED, error="out of memory")
        await until_drawn(pilot, "✗ failed")
        assert rung == ["rung"] and not seen(app, "has failed")
        change(run, state=State.RUNNING)
        await until_drawn(pilot, "● running")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        change(run, state=State.FAILED, error="out of memory")
        await until(pilot, lambda: len(rung) == 2)
        assert not seen(app, "wrn has failed")


async def test_the_bell_can_be_turned_off_and_stays_off(app: FmnistApp, maker: RunMaker, rung: list[str]) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("ctrl+p", *"bell", "enter")
        await until_drawn(pilot, "The bell is off.")
        await until(pilot, lambda: kept_choice("bell") == "off")
        change(run, state=State.FINISHED)
        await until_drawn(pilot, "✓ finished")
        assert rung == []
    again = FmnistApp(app.runs_dir, None)
    assert not again.rings
    keep_choice("bell", "on")
    assert FmnistApp(app.runs_dir, None).rings


def test_news_that_come_while_the_app_closes_are_told_to_nobody(
    app: FmnistApp, maker: RunMaker, rung: list[str]
) -> None:
    """It has no screens any more then; a list of runs without news ended it with a traceback, too."""
    app._tell_endings([])
    app._tell_endings([load_run(maker.make("wrn", State.FINISHED))])
    assert rung == []
