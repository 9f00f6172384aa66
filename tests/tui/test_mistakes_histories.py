"""The histories beside the matrix: after many evaluations the figures are still there to the last digit."""

from __future__ import annotations

import re

import pytest

from fmnist_tui.tui.app import FmnistApp
from tests.tui.mistakes_runs import make, opened
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (200, 60)])
async def test_a_long_history_leaves_room_for_its_figures(maker: RunMaker, size: tuple[int, int]) -> None:
    run = make(maker, epochs=20)
    async with FmnistApp(maker.runs_dir, None).run_test(size=size) as pilot:
        await opened(pilot, run)
        await until_drawn(pilot, "Worst pairs", "recall")
        await until(pilot, lambda: len(figures(pilot.app)) == 4)


def figures(app: object) -> list[str]:
    """The lines that end in a first and a present value."""
    assert isinstance(app, FmnistApp)
    return [line for line in drawn(app) if re.search(r"(share|precision|recall|F1) .*\d to \d+\.\d %\s*$", line)]
