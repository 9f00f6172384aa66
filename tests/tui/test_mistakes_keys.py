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


async def test_enter_promises_nothing_before_the_first_evaluation(maker: RunMaker) -> None:
    run = make(maker, epochs=0)
    app = FmnistApp(maker.runs_dir, None)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, run)
        assert of_enter(app) == ""
