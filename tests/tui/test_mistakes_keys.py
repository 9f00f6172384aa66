"""What enter does on the Mistakes screen: the key line says what it does now, and nothing where it does nothing."""

from __future__ import annotations

import re

import pytest

from fmnist_tui.tui.app import FmnistApp
from tests.tui.mistakes_runs import LARGE, MIDDLE, SMALL, make, opened
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn


def of_enter(app: FmnistApp) -> str:
    """What the line of keys says of enter."""
    found = re.search(r"enter (\w+)", drawn(app)[-1])
    return found[1] if found else ""


async def test_where_one_is_shown_enter_goes_from_the_matrix_to_the_images_and_back(maker: RunMaker) -> None:
    run = make(maker)
    app = FmnistApp(maker.runs_dir, None)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, run)
        await until(pilot, lambda: of_enter(app) == "Images")
        await pilot.press("enter")
        await until_drawn(pilot, "most confident first")
        await until(pilot, lambda: of_enter(app) == "Matrix")
        await pilot.press("enter")
        await until_drawn(pilot, "Worst pairs")
        await until(pilot, lambda: of_enter(app) == "Images")


@pytest.mark.parametrize("size", [MIDDLE, LARGE])
async def test_where_both_are_shown_enter_stands_there_for_another_list(maker: RunMaker, size: tuple[int, int]) -> None:
    run = make(maker)
    app = FmnistApp(maker.runs_dir, None)
    async with app.run_test(size=size) as pilot:
        await opened(pilot, run)
        await until_drawn(pilot, "Shirt taken for T-shirt/top, most confident first")
        assert of_enter(app) == ""
        await pilot.press("m")
        await until_drawn(pilot, "All mistakes of epoch 4")
        await until(pilot, lambda: of_enter(app) == "Cell")
        await pilot.press("enter")
        await until_drawn(pilot, "Shirt taken for T-shirt/top, most confident first")
        await until(pilot, lambda: of_enter(app) == "")


@pytest.mark.parametrize("size", [SMALL, MIDDLE])
async def test_another_evaluation_does_not_stand_above_images_that_are_not_its_own(
    maker: RunMaker, size: tuple[int, int]
) -> None:
    runs = [make(maker, seed=seed) for seed in (1, 2)]
    app = FmnistApp(maker.runs_dir, None)
    async with app.run_test(size=size) as pilot:
        await opened(pilot, runs[0])
        for key, title in (("a", "Wrong in all 2"), ("u", "Learned from epoch 3 (the one before) to epoch 4")):
            await pilot.press(key, "f")
            await until_drawn(pilot, "Epoch 4 of 4 (last)", title)
            await pilot.press("b")
            await until_drawn(pilot, "Epoch 3 of 4 (best)", "Shirt taken for T-shirt/top, most confident first")
            await pilot.press("f")
        await pilot.press("m", "b")
        await until_drawn(pilot, "Epoch 3 of 4 (best)", "All mistakes of epoch 3")


async def test_a_page_of_one_image_has_one_number(maker: RunMaker) -> None:
    run = make(maker)
    app = FmnistApp(maker.runs_dir, None)
    async with app.run_test(size=(40, 30)) as pilot:
        await opened(pilot, run)
        await pilot.press("enter")
        await until(pilot, lambda: bool(re.search(r": 1 of \d+", drawn(app)[3])))


async def test_enter_promises_nothing_before_the_first_evaluation(maker: RunMaker) -> None:
    run = make(maker, epochs=0)
    app = FmnistApp(maker.runs_dir, None)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, run)
        assert of_enter(app) == ""
