"""The Mistakes screen where something is missing: the data set, the history, an evaluation, the run itself."""

from __future__ import annotations

from pathlib import Path

from fmnist_tui.config import DataConfig
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from tests.predictions_maker import evaluate, write_evaluations
from tests.tui.mistakes_runs import LABELS, LARGE, MIDDLE, SMALL, make, opened
from tests.tui.synthetic import RunMaker, until_drawn


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
        await pilot.press("escape")
        write_evaluations(run, LABELS, evaluate(LABELS, 1))
        await until_drawn(pilot, "Epoch 1 (last, best)")
        assert screen.cursor == (6, 0)


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
