"""The histories beside the matrix: after many evaluations the figures are still there to the last digit."""

from __future__ import annotations

import re

import pytest

from fmnist_tui.tui.app import FmnistApp
from tests.tui.mistakes_runs import make, opened
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (119, 40), (120, 40), (140, 40), (200, 60)])
async def test_a_long_history_leaves_room_for_its_figures(maker: RunMaker, size: tuple[int, int]) -> None:
    run = make(maker, epochs=20)
    async with FmnistApp(maker.runs_dir, None).run_test(size=size) as pilot:
        await opened(pilot, run)
        await until_drawn(pilot, "Worst pairs", "recall")
        await until(pilot, lambda: len(figures(pilot.app)) == 4)


async def test_in_ascii_they_go_from_the_first_value_to_the_present_one_too(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMNIST_TUI_ASCII", "1")
    run = make(maker, epochs=20)
    async with FmnistApp(maker.runs_dir, None).run_test(size=(120, 40)) as pilot:
        await opened(pilot, run)
        await until(pilot, lambda: len(figures(pilot.app, "->")) == 4)


def figures(app: object, arrow: str = "→") -> list[str]:
    """The lines that end in a first and a present value."""
    assert isinstance(app, FmnistApp)
    line_of = re.compile(rf"(share|precision|recall|F1) .*\d {arrow} \d+\.\d %\s*$")
    return [line for line in drawn(app) if line_of.search(line)]
