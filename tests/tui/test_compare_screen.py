"""The Compare screen in the real app, on real run directories: marks, keys, live runs, paired tests, snapshots."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from fmnist_tui.analysis import compare
from fmnist_tui.data.source import load_sample
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import HostSample, SystemRecord
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.feed import SystemFeed
from fmnist_tui.tui.messages import SystemSampled
from fmnist_tui.tui.screens import runs as runs_screen
from fmnist_tui.tui.screens.compare import CompareScreen
from fmnist_tui.tui.screens.run import RunScreen
from fmnist_tui.tui.screens.runs import RunsScreen
from fmnist_tui.tui.widgets.chart import Chart
from fmnist_tui.tui.widgets.runs_table import RunsTable
from tests.predictions_maker import save_twice
from tests.tui import synthetic_runs as made
from tests.tui.synthetic import drawn, until, until_drawn

A, B, C = (f"20261123-1{hour}0000-quick-{tail}" for hour, tail in ((0, "aaaa"), (1, "bbbb"), (2, "cccc")))


def make(
    runs_dir: Path, run_id: str, wrong: int, state: State = State.FINISHED, done: float = 8.0, **changes: Any
) -> Run:
    """A run of `quick` with predictions, `wrong` of which are wrong."""
    shift = 0.4 - wrong / 1000
    plan = made.Plan(config=made.preset("quick", **changes), done=done, gpu=False, shift=shift, seed=wrong)
    run, _ = made.make_run(runs_dir, plan, state, run_id)
    truth = load_sample().test_labels
    classes = truth.copy()
    classes[:wrong] = (classes[:wrong] + 1) % 10
    probabilities = np.eye(10, dtype=np.float16)[classes]
    save_twice(run.directory.predictions, classes, probabilities, 8)
    return run


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FmnistApp:
    """Two finished runs, one of another learning rate, and a machine that does nothing."""
    monkeypatch.setattr(
        SystemFeed, "run", lambda feed: feed._post(SystemSampled(SystemRecord(host=HostSample(cpu_percent=3)), ""))
    )
    make(Path("runs"), A, 200)
    make(Path("runs"), B, 203, optimizer__lr=0.05)
    return FmnistApp(Path("runs"), None)


def screen_of(pilot: Pilot[Any]) -> CompareScreen:
    assert isinstance(pilot.app.screen, CompareScreen)
    return pilot.app.screen


async def open_comparison(pilot: Pilot[Any], runs: int = 2) -> None:
    await until_drawn(pilot, "✓ finished")
    await pilot.press(*["space"] * runs)
    await until_drawn(pilot, f"{runs} marked (p compares)")
    await pilot.press("p")
    await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))


def test_as_many_can_be_marked_as_compared() -> None:
    assert runs_screen.MOST == compare.MOST


async def test_marks_are_shown_taken_away_and_compared_in_their_order(app: FmnistApp) -> None:
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "✓ finished")
        assert "p Compare" not in drawn(app)[-1], "nothing is marked"
        await pilot.press("down", "space")
        await until_drawn(pilot, "1 marked", "◆ quick")
        await pilot.press("up", "space")
        await until_drawn(pilot, "2 marked")
        screen = app.screen
        assert isinstance(screen, RunsScreen) and screen.to_compare == [A, B]
        await pilot.press("up", "space")
        await until_drawn(pilot, "1 marked")
        assert screen.to_compare in ([A, B], [A]), "the run under the cursor is the second where it is another"
        await pilot.press("down", "space")
        await until(pilot, lambda: "marked" not in "\n".join(drawn(app)))
        await pilot.press("p")
        await until_drawn(pilot, "p compares marked runs: mark two or more with space")
        assert app.screen is screen
        screen.query_one(RunsTable).move_cursor(row=0)
        await pilot.press("space", "up", "p")
        await until_drawn(pilot, "One run is marked: mark another")
        assert app.screen is screen


async def test_it_shows_curves_words_settings_and_the_paired_test(app: FmnistApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await open_comparison(pilot)
        shown = await until_drawn(
            pilot, "Test accuracy %", "A ⠶⠶  quick lr 0.05 bbbb", "B ⠒⠒  quick lr 0.1 aaaa",
            "optimizer.lr  A 0.05   B 0.1",
            "At epoch 8, the last that all have evaluated,", "within noise",
            "2,000 test images: 0 only A has right, 3 only B",
        )  # fmt: skip
        assert "epoch 8" in shown and "Test loss" not in shown
        assert set(screen_of(pilot).watched_runs) == {A, B}
        await pilot.press("v")
        await until_drawn(pilot, "Test loss (log)")
        await pilot.press("y")
        await until(pilot, lambda: "Test loss ─" in "\n".join(drawn(app)))
        await pilot.press("y", "v", "v", "t")
        await until_drawn(pilot, "Learning rate ─", "step 350")
        await pilot.press("t")
        await until_drawn(pilot, "seconds 25")
        await pilot.press("v", "t", "shift+left")
        await until_drawn(pilot, "Test accuracy %", "─ epoch ")
        await pilot.press("escape")
        await until(pilot, lambda: screen_of(pilot).charts.view.cursor is None)
        await pilot.press("i")
        await until(pilot, lambda: "within noise" not in "\n".join(drawn(app)))
        await until_drawn(pilot, "A ⠶⠶ quick lr 0.05  B ⠒⠒ quick lr 0.1")
        await pilot.press("i")
        await until(pilot, lambda: "Test accuracy %" not in "\n".join(drawn(app)))
        await pilot.press("i", "escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_two_charts_on_a_wide_screen(app: FmnistApp) -> None:
    async with app.run_test(size=(200, 60)) as pilot:
        await open_comparison(pilot)
        await until_drawn(pilot, "Test accuracy %", "Test loss (log)", "within noise")


async def test_a_run_that_trains_is_followed_and_tested_when_it_has_ended(app: FmnistApp, sleeper: int) -> None:
    import psutil

    alive = {"pid": sleeper, "pid_started": psutil.Process(sleeper).create_time()}
    run = make(Path("runs"), C, 500, State.RUNNING, 4.5, seed=9)
    status = Status.model_validate_json(run.directory.status.read_bytes())
    run.directory.status.write_text(status.model_copy(update=alive).to_json())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("space", "space", "p")
        await until_drawn(
            pilot, "A ⠶⠶  quick lr 0.1 cccc", "● running", "At epoch 4, the last", "No paired test: A is running"
        )
        lines = made.records(made.Plan(config=made.preset("quick", seed=9), done=8.0, gpu=False))
        later = [line for line in lines if getattr(line, "epoch", 0) > 4]
        with run.directory.metrics.open("a") as file:
            file.writelines(line.to_json() + "\n" for line in later)
        await until_drawn(pilot, "At epoch 8, the last")
        ended = {"state": State.FINISHED, "epoch": 8, "ended": status.heartbeat}
        temporary = run.directory.path / "new"
        temporary.write_text(status.model_copy(update=ended).to_json())
        temporary.rename(run.directory.status)
        await until_drawn(pilot, "B is better beyond noise", "0 only A has right, 297 only B")


async def test_opening_a_run_shows_all_of_it_and_the_comparison_stays(app: FmnistApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await open_comparison(pilot)
        await until_drawn(pilot, "within noise")
        comparison = app.screen
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        shown = app.screen
        assert isinstance(shown, RunScreen)
        await until(pilot, lambda: len(shown.data.evaluations) == 8)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is comparison)
        await until_drawn(pilot, "At epoch 8", "within noise")


async def test_a_deleted_run_stays_in_the_picture(app: FmnistApp) -> None:
    import shutil

    async with app.run_test(size=(120, 40)) as pilot:
        await open_comparison(pilot)
        await until_drawn(pilot, "within noise")
        shutil.rmtree(RunDirectory(Path("runs") / A).path)
        await until_drawn(pilot, "deleted", "At epoch 8")


async def test_the_palette_compares_with_the_best_earlier_run(app: FmnistApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await until_drawn(pilot, "✓ finished")
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert "Compare quick with the best earlier run" in titles
        await pilot.press("space", "space")
        await until_drawn(pilot, "2 marked")
        commands = {command.title: command for command in app.get_system_commands(app.screen)}
        commands["Compare the marked runs"].callback()
        await until_drawn(pilot, "within noise")


@pytest.mark.skipif(importlib.metadata.version("textual") != "8.2.8", reason="taken with Textual 8.2.8")
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_snapshot(snap_compare: Any, app: FmnistApp, size: tuple[int, int]) -> None:
    pytest.importorskip("pytest_textual_snapshot")

    async def ready(pilot: Pilot[Any]) -> None:
        await open_comparison(pilot)
        await until(pilot, lambda: screen_of(pilot)._pairs is not None)
        await until_drawn(pilot, "At epoch 8, the last", "CPU 3%", "optimizer.lr")

    assert snap_compare(app, terminal_size=size, run_before=ready)


@pytest.mark.parametrize(("size", "charts"), [((80, 24), 1), ((120, 40), 1), ((160, 40), 2), ((200, 60), 4)])
async def test_the_charts_take_the_lines_the_words_leave(app: FmnistApp, size: tuple[int, int], charts: int) -> None:
    async with app.run_test(size=size) as pilot:
        await open_comparison(pilot)
        await until_drawn(pilot, "McNemar" if size[1] > 24 else "At epoch")
        screen = screen_of(pilot)
        words = screen.query_one("#words")
        shown = [chart for chart in screen.charts.query(Chart) if chart.display]
        assert len(shown) == charts
        assert screen.charts.size.height + words.size.height == size[1] - 2
        assert words.size.height <= (size[1] // 2 if size[1] < 32 else 0.4 * size[1] + 1)
        if size[1] >= 40:
            blank = [line for line in drawn(app)[screen.charts.size.height + 1 : -1] if not line.strip()]
            assert len(blank) <= 3, "the gaps between its parts"
        if charts == 4:
            await until_drawn(pilot, "Test accuracy %", "Test loss", "Train loss", "Learning rate")
