"""A finished run whose last checkpoint had no room on the disk: `r` makes it, or trains for longer, as one likes."""

from __future__ import annotations

from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.runs import RunsScreen
from tests.tui.synthetic import RunMaker, seen, until, until_drawn, write_result


async def test_what_is_lacking_is_made(app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]) -> None:
    run = maker.make("quick", behind=True)
    write_result(run)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.press("r")
        await until_drawn(pilot, "Resume quick?", "its last checkpoint was not written", "Make it", "Train for longer")
        await pilot.press("m")
        await until(pilot, lambda: len(workers) == 1)
        assert last_launch(run).epochs is None, "no longer than it was to train"


async def test_or_it_trains_for_longer_or_not_at_all(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    run = maker.make("quick", behind=True)
    write_result(run)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        for key in ("k", "escape"):
            await pilot.press("r")
            await until_drawn(pilot, "Resume quick?")
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert workers == []
        await pilot.press("r")
        await until_drawn(pilot, "Resume quick?")
        await pilot.press("t")
        await until_drawn(pilot, "Train quick for longer")
        await pilot.press("enter")
        await until(pilot, lambda: len(workers) == 1)
        assert last_launch(run).epochs == 16


async def test_a_run_that_lacks_nothing_is_asked_for_epochs_at_once(app: FmnistApp, maker: RunMaker) -> None:
    write_result(maker.make("quick"))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.press("r")
        await until_drawn(pilot, "Train quick for longer")
        assert not seen(app, "Resume quick?")
