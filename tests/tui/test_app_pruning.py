"""The app frees the disk of a finished run's spare checkpoints, from the dialog that deletes."""

from __future__ import annotations

from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from tests.checkpoints import write_all
from tests.tui.synthetic import RunMaker, seen, until_drawn


async def test_spare_checkpoints_alone(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.FINISHED)
    write_all(run)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.press("d")
        await until_drawn(pilot, "Delete wrn?", "on disk", "Its spare checkpoints alone", "Frees 10 kB; curves")
        await pilot.press("c")
        await until_drawn(pilot, "10 kB freed; wrn keeps its last checkpoint.")
        assert [path.name for path in run.checkpoints.iterdir()] == ["last.pt"]
        assert run.config.is_file() and run.status.is_file()
        await pilot.press("d")
        await until_drawn(pilot, "Delete wrn?")
        assert not seen(app, "Its spare checkpoints"), "there are none any more"
        await pilot.press("d")
        await until_drawn(pilot, "is deleted.")
        assert not run.path.exists()


async def test_a_run_that_goes_on_from_them_keeps_them(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.STOPPED, epoch=3)
    write_all(run)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "stopped")
        await pilot.press("d")
        await until_drawn(pilot, "Delete wrn?", "on disk")
        assert not seen(app, "Its spare checkpoints")


async def test_a_run_that_began_meanwhile_is_refused_in_words(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.FINISHED)
    write_all(run)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.press("d")
        await until_drawn(pilot, "Its spare checkpoints alone")
        status = run.status.read_text()
        run.status.write_text(status.replace('"finished"', '"stopped"'))
        await pilot.press("c")
        await until_drawn(pilot, "wrn keeps its checkpoints", "goes on from its", "d deletes all of it")
        assert len(list(run.checkpoints.iterdir())) == 3
