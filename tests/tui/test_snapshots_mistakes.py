"""Snapshots of the Mistakes screen; see test_snapshots_core for when they hold and how to take them anew."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from fmnist_tui.config import DataConfig
from fmnist_tui.data.source import load_sample
from fmnist_tui.runs.status import State
from tests.predictions_maker import evaluate, write_evaluations
from tests.tui.snapshot_app import StillApp, pytestmark, still_app  # noqa: F401 - when they hold, and a fixture
from tests.tui.synthetic import RunMaker, until_drawn


@pytest.mark.parametrize(
    ("size", "keys"),
    [((80, 24), ()), ((80, 24), ("enter",)), ((120, 40), ())],
    ids=["80x24", "80x24-images", "120x40"],
)
def test_mistakes(snap_compare: Any, app: StillApp, sleeper: int, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    run = RunMaker(app.runs_dir, sleeper).make(
        "quick", State.FINISHED, run_id="20261123-150000-quick-m2st", epoch=6, epochs=6, ago=1.0,
        changes={"data": DataConfig(source="sample", split="standard")},
    )  # fmt: skip
    labels = load_sample().test_labels
    write_evaluations(run, labels, evaluate(labels, 6))

    async def ready(pilot: Pilot[Any]) -> None:
        await until_drawn(pilot, "● running", "GPU 87%")
        app.steering.act(run.id, "mistakes")
        await until_drawn(pilot, "Worst pairs", "Epoch 6 of 6 (last)")
        await pilot.press(*keys)
        await until_drawn(pilot, *(["is Shirt"] if keys or size[1] == 40 else []))

    assert snap_compare(app, terminal_size=size, run_before=ready)
