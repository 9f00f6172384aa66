"""Snapshots of the main screens: what people see, cell by cell. Time, ids and the machine's state are fixed.

They hold for the version of Textual they were taken with, because SVG details are its own; with another they
are skipped. Take them anew with `pytest tests/tui/test_snapshots_core.py --snapshot-update` and look at them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from fmnist_tui.tui.messages import OpenRun
from tests.tui.snapshot_app import StillApp, pytestmark, still_app  # noqa: F401 - when they hold, and a fixture
from tests.tui.synthetic import NOW, until_drawn
from tests.tui.synthetic_runs import RUN_ID, Plan, ghost, make_run

pytest.importorskip("pytest_textual_snapshot")
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


@SIZES
def test_runs(snap_compare: Any, app: StillApp, size: tuple[int, int]) -> None:
    async def ready(pilot: Pilot[Any]) -> None:
        await until_drawn(pilot, "● running", "GPU 87%")
        await pilot.press(*["down"] * 4)
        await until_drawn(pilot, "CUDA out of memory: tried to allocate 2.4 GiB with 1.1 GiB free.")

    assert snap_compare(app, terminal_size=size, run_before=ready)


@SIZES
def test_run(snap_compare: Any, app: StillApp, size: tuple[int, int]) -> None:
    """A wrn run at work with its ghost, the reference, a step of the learning rate and a resume."""
    shutil.rmtree(Path("runs") / RUN_ID)
    make_run(Path("runs"), Plan(done=73.4, resume_at=40, now=NOW))
    ghost(Path("runs"), NOW)

    async def ready(pilot: Pilot[Any]) -> None:
        await until_drawn(pilot, "● running", "GPU 87%")
        app.post_message(OpenRun(RUN_ID))
        await until_drawn(pilot, "epoch 74 of 200", "best wrn", "Test accuracy passed the reference", " left, ")

    assert snap_compare(app, terminal_size=size, run_before=ready)


@SIZES
def test_new_run(snap_compare: Any, app: StillApp, size: tuple[int, int]) -> None:
    async def ready(pilot: Pilot[Any]) -> None:
        await until_drawn(pilot, "● running", "GPU 87%")
        await pilot.press("n")
        await until_drawn(pilot, *(("No changes from quick", "Ankle boot") if size[0] >= 120 else ("shake-shake-64",)))

    assert snap_compare(app, terminal_size=size, run_before=ready)


def test_stop_dialog(snap_compare: Any, app: StillApp) -> None:
    async def ready(pilot: Pilot[Any]) -> None:
        await until_drawn(pilot, "● running", "GPU 87%")
        await pilot.press("down", "s")
        await until_drawn(pilot, "Stop wrn?", "Kill it")

    assert snap_compare(app, terminal_size=(80, 24), run_before=ready)


def test_gpu(snap_compare: Any, app: StillApp) -> None:
    async def ready(pilot: Pilot[Any]) -> None:
        await until_drawn(pilot, "● running", "GPU 87%")
        await pilot.press("4")
        await until_drawn(pilot, "512 / 700 W", "wrn says cuda:0")

    assert snap_compare(app, terminal_size=(80, 24), run_before=ready)


def test_benchmarks(snap_compare: Any, app: StillApp) -> None:
    async def ready(pilot: Pilot[Any]) -> None:
        await until_drawn(pilot, "● running", "GPU 87%")
        await pilot.press("3")
        await until_drawn(pilot, "No result could be read; these are", "93.2775")

    assert snap_compare(app, terminal_size=(80, 24), run_before=ready)
