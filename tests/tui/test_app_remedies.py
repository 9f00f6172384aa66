"""What the app says of what can't be done: keys, fields and screens; and what is then offered."""

from __future__ import annotations

from fmnist_tui.remedies import remedy
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.runs import RunsScreen
from tests.tui.synthetic import RunMaker, until, until_drawn


async def test_what_cannot_be_done_names_no_option_of_the_command_line(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    app.data_dir = app.runs_dir / "nowhere"
    run = maker.make("wrn", State.STOPPED, epoch=9)
    run.checkpoint("last").write_bytes(b"weights")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "■ stopped")
        await pilot.press("r")
        text = await until_drawn(pilot, "wrn was not resumed", "data.source = sample on New run")
        assert "--" not in text


async def test_a_run_with_only_its_best_checkpoint_goes_on_from_there(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    run = maker.make("quick", State.STOPPED, epoch=5, best_epoch=4)
    run.checkpoint("best").write_bytes(b"weights")
    run.checkpoint("last").unlink()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "■ stopped", "r asks whether to go on from the best one")
        await pilot.press("r")
        await until_drawn(pilot, "Resume quick?", "that of epoch 4", "Go on from the best")
        await pilot.press("escape")
        assert not workers
        await pilot.press("r")
        await until_drawn(pilot, "Resume quick?")
        await pilot.press("b")
        await until(pilot, lambda: len(workers) == 1)
    assert last_launch(run).checkpoint == "best"


async def test_damaged_checkpoints_let_r_ask_for_the_best_one(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    helps = remedy("try best", run="R")
    run = maker.make("quick", State.FAILED, epoch=5, error="last.pt: is damaged", remedy=helps)
    run.checkpoint("last").write_bytes(b"")
    run.checkpoint("best").write_bytes(b"weights")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "last.pt: is damaged", "r asks whether to go on from the best one")
        await pilot.press("r")
        await until_drawn(pilot, "Resume quick?")
        await pilot.press("k")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
    assert not workers
