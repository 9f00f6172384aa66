"""The Mistakes screen where something is missing: the data set, the history, an evaluation, the run itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.config import DataConfig
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from tests.predictions_maker import evaluate, write_evaluations
from tests.tui.mistakes_runs import LABELS, LARGE, MIDDLE, SMALL, make, opened
from tests.tui.synthetic import RunMaker, drawn, until_drawn


async def test_without_the_data_set_the_matrix_is_there_and_the_images_say_why_not(
    maker: RunMaker, tmp_path: Path
) -> None:
    run = make(maker, data=DataConfig(source="full", split="standard"))
    async with FmnistApp(maker.runs_dir, tmp_path / "nowhere").run_test(size=MIDDLE) as pilot:
        await opened(pilot, run)
        last = evaluate(LABELS, 4)[-1]
        accuracy = 100 * (last.classes == LABELS).mean()
        await until_drawn(
            pilot,
            f"Epoch 4 of 4 (last)  {accuracy:.2f} % right",
            "The Fashion-MNIST data set was not found in the directory named",
            "Worst pairs",
        )
        await pilot.press("b")
        await until_drawn(pilot, "Epoch 3 of 4 (best)")


async def test_a_run_of_before_the_history_shows_its_last_and_best_evaluation(maker: RunMaker) -> None:
    run = make(maker)
    run.confusions.unlink()
    async with FmnistApp(maker.runs_dir, None).run_test(size=MIDDLE) as pilot:
        screen = await opened(pilot, run)
        await until_drawn(pilot, "Epoch 4 of 4 (last)", "matrix 2 of 2")
        assert screen.reading is not None and screen.reading.epochs == (3, 4)


async def test_a_run_without_an_evaluation_says_when_it_comes(maker: RunMaker) -> None:
    run = make(maker, 0, State.RUNNING)
    async with FmnistApp(maker.runs_dir, None).run_test(size=SMALL) as pilot:
        screen = await opened(pilot, run)
        await until_drawn(pilot, "No evaluation yet: the matrix comes with the first.")
        await pilot.press("enter", "f", "a", "w", "v", "left_square_bracket", "pagedown", "t", "down")
        write_evaluations(run, LABELS, evaluate(LABELS, 1))
        await until_drawn(pilot, "Epoch 1 (last, best)")
        assert screen.cursor == (6, 0)


@pytest.mark.parametrize("size", [SMALL, MIDDLE])
async def test_a_run_whose_evaluations_are_gone_says_so_in_full_and_no_key_is_offered(
    maker: RunMaker, size: tuple[int, int]
) -> None:
    """As in an archive that keeps the figures only."""
    run = make(maker, name="a-name-of-some-length-for-a-run")
    run.predictions.unlink()
    run.confusions.unlink()
    app = FmnistApp(maker.runs_dir, None)
    async with app.run_test(size=size) as pilot:
        await opened(pilot, run)
        await until_drawn(pilot, "There is nothing to show.")
        text = " ".join("\n".join(drawn(app)[2:-1]).split())
        assert text.endswith(
            f"There is nothing to show. {run.id}: has no predictions: predictions.npz, which every evaluation writes, "
            "is not there"
        )
        keys = drawn(app)[-1].split()
        assert not {"Earlier", "Later", "Best", "Follow", "Worst", "Flips", "All"} & {*keys} and "Keys" in keys
        await pilot.press("left_square_bracket", "b", "f", "w", "u", "a", "m", "v", "space", "y", "up", "enter")
        await until_drawn(pilot, "There is nothing to show.")


async def test_damaged_predictions_are_told_and_the_matrix_stays(maker: RunMaker) -> None:
    run = make(maker)
    run.predictions.write_bytes(run.predictions.read_bytes()[:5_000])
    async with FmnistApp(maker.runs_dir, None).run_test(size=LARGE) as pilot:
        await opened(pilot, run)
        await until_drawn(pilot, "Worst pairs", "predictions.npz: is damaged")


async def test_a_deleted_run_is_said_to_be_deleted(maker: RunMaker) -> None:
    import shutil

    run = make(maker)
    make(maker, 1, seed=9)
    async with FmnistApp(maker.runs_dir, None).run_test(size=SMALL) as pilot:
        await opened(pilot, run)
        await until_drawn(pilot, "Worst pairs")
        shutil.rmtree(run.path)
        await until_drawn(pilot, "deleted", "Worst pairs")
