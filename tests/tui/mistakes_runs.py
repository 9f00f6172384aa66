"""Runs with mistakes and the screen that shows them, for the tests of Mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
from textual.pilot import Pilot

from fmnist_tui.config import DataConfig
from fmnist_tui.data.source import load_sample
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.mistakes import MistakesScreen
from fmnist_tui.tui.widgets.image_grid import ImageGrid
from tests.predictions_maker import Evaluated, evaluate, write_evaluations
from tests.tui.synthetic import RunMaker, until

SAMPLE = load_sample()
LABELS, IMAGES = SAMPLE.test_labels, SAMPLE.test_images
SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (200, 60)
DATA = {"data": DataConfig(source="sample", split="standard")}


def make(
    maker: RunMaker, epochs: int = 4, state: State = State.FINISHED, seed: int = 0, **changes: Any
) -> RunDirectory:
    run = maker.make(
        "quick", state, changes=DATA | {"name": f"sample-{seed}"} | changes, epoch=epochs, epochs=max(1, epochs)
    )
    if epochs:
        write_evaluations(run, LABELS, evaluate(LABELS, epochs, seed))
    return run


async def opened(pilot: Pilot[Any], run: RunDirectory) -> MistakesScreen:
    """The screen of a run, with what its thread reads at first."""
    app = pilot.app
    assert isinstance(app, FmnistApp)
    await until(pilot, lambda: any(known.id == run.id for known in app.runs))
    app.steering.act(run.id, "mistakes")
    await until(pilot, lambda: isinstance(app.screen, MistakesScreen) and app.screen.reading is not None)
    assert isinstance(app.screen, MistakesScreen)
    return app.screen


def cell(evaluation: Evaluated, true: int, predicted: int) -> list[int]:
    """The images of a cell, by hand: surest first, of equals the first."""
    found = [i for i in range(2_000) if (LABELS[i], evaluation.classes[i]) == (true, predicted)]
    return sorted(found, key=lambda i: (-evaluation.probabilities[i].max(), i))


def shown_images(screen: MistakesScreen) -> list[int]:
    """The indices in the captions of the images on screen; each must be drawn from that image's pixels."""
    indices = []
    for tile in screen.query_one(ImageGrid).tiles:
        index = int(tile.caption.splitlines()[3].split()[1])
        assert np.array_equal(tile.image, IMAGES[index])
        indices.append(index)
    return indices
