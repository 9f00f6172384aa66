"""Who hears the feed: screens, also while covered, and how much they draw."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual._compositor import Compositor, LayoutUpdate
from textual.app import ComposeResult
from textual.widgets import Static

from fmnist_tui.runs.metrics import HostSample, SystemRecord
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.messages import OpenRun, RunsListed, SystemSampled
from fmnist_tui.tui.metric_lines import MetricRecord, TrainLines
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.screens.system import SystemScreen
from tests.tui.synthetic import RunMaker, stamp, until, until_drawn


class Watcher(FeedScreen):
    """Writes down what it hears."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.watched_run = run_id
        self.steps: list[int] = []
        self.restarts = 0
        self.gone = False
        self.listed: list[Run] = []

    def compose(self) -> ComposeResult:
        yield Static("watching")

    def runs_listed(self, runs: list[Run]) -> None:
        self.listed = runs

    def run_advanced(self, run: Run, records: Sequence[MetricRecord], restarted: bool) -> None:
        self.restarts += restarted
        self.steps += [int(step) for record in records if isinstance(record, TrainLines) for step in record.steps]

    def run_vanished(self, run_id: str) -> None:
        self.gone = True


async def test_screens_hear_of_their_run_also_while_covered(app: FmnistApp, maker: RunMaker) -> None:
    run, other = maker.make("wrn", State.RUNNING, epoch=3), maker.make("quick", State.RUNNING, epoch=1)
    maker.write_metrics(run, 3)
    maker.write_metrics(other, 7)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "2 runs")
        screen = Watcher(run.id)
        await app.show_screen(screen)
        assert [listed.id for listed in screen.listed] == [listed.id for listed in app.runs], (
            "told at once what is known"
        )
        await until(pilot, lambda: screen.steps == [118, 236, 354])
        await pilot.press("4")
        await until(pilot, lambda: isinstance(app.screen, SystemScreen))
        maker.write_metrics(run, 2, first=4)
        await until(pilot, lambda: len(screen.steps) == 5)
        assert screen.restarts == 1
        shutil.rmtree(run.path)
        await until(pilot, lambda: screen.gone and len(screen.listed) == 1)


async def test_a_run_that_ends_on_its_screen_has_ended_in_the_list_too(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("quick", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("enter")
        await until_drawn(pilot, run.id, "running on cuda:0")
        for epoch in range(4, 8):  # whichever of the feed's looks comes first
            maker.write_status(run, epoch=epoch)
            await until_drawn(pilot, f"epoch {epoch} of 8")
        maker.write_status(run, state=State.FINISHED, ended=stamp(0))
        await until_drawn(pilot, "finished today")
        await pilot.press("escape")
        await until_drawn(pilot, "✓ finished")
        assert not app.runs[0].state.alive, "leaving would say that it goes on"


class Slow(Watcher):
    """Takes its time to appear; hearing of a run before it is there would be an error."""

    ready = False

    async def on_mount(self) -> None:
        await asyncio.sleep(0.3)  # longer than the feed takes to read
        self.ready = True

    def run_advanced(self, run: Run, records: Sequence[MetricRecord], restarted: bool) -> None:
        assert self.ready
        super().run_advanced(run, records, restarted)


async def test_a_covered_screen_draws_nothing(app: FmnistApp, maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change under the run on screen would have all of it drawn anew; it is drawn when it is seen again."""
    run, other = maker.make("wrn", State.RUNNING, epoch=3), maker.make("quick", State.RUNNING, epoch=1)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "2 runs")
        app.post_message(OpenRun(run.id))
        await until_drawn(pilot, "epoch 3 of 200")
        await pilot.pause()
        whole: list[int] = []
        draw = Compositor.render_full_update

        def note(compositor: Compositor, simplify: bool = False) -> LayoutUpdate:
            whole.append(1)
            return draw(compositor, simplify)

        with monkeypatch.context() as patch:
            patch.setattr(Compositor, "render_full_update", note)
            maker.write_status(other, epoch=2, test_accuracy=77.77)
            app.post_message(SystemSampled(SystemRecord(host=HostSample(cpu_percent=42.0)), "no GPU"))
            await until_drawn(pilot, "CPU 42%")
            await until(pilot, lambda: any(run.status and run.status.epoch == 2 for run in app.runs))
            maker.write_status(run, epoch=4)
            await until_drawn(pilot, "epoch 4 of 200")
        assert not whole
        await pilot.press("escape")
        await until_drawn(pilot, "77.77")


async def test_a_screen_that_takes_time_misses_nothing(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    maker.write_metrics(run, 3)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        screen = Slow(run.id)
        app.run_worker(app.show_screen(screen))
        await until(pilot, lambda: screen.steps == [118, 236, 354])
        assert screen.restarts == 1
        assert [listed.id for listed in screen.listed] == [run.id]


async def test_a_problem_of_the_runs_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    app = FmnistApp(tmp_path / "runs", None)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "file; name a directory")
        (tmp_path / "runs").unlink()
        await until_drawn(pilot, "No runs yet.")


async def test_an_app_that_ends_tells_nobody(app: FmnistApp, maker: RunMaker) -> None:
    """The feed's last message can come when the screens' widgets are already gone."""
    run = maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "1 run")
        screen = Watcher(run.id)
        await app.show_screen(screen)
        app.exit()
        app.on_runs_listed(RunsListed([]))
        assert [listed.id for listed in screen.listed] == [run.id]


async def test_a_list_of_runs_that_comes_while_the_app_closes_reaches_no_screen(
    app: FmnistApp, maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Widgets are taken away then, one after the other: a form without its button ended the app with a traceback."""
    maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("2")
        await until_drawn(pilot, "What would happen", "Start")
        await app.screen.query_one("#start").remove()
        with monkeypatch.context() as closing:
            closing.setattr(app, "_running", False)  # as `_shutdown` begins
            app.on_runs_listed(RunsListed(list(app.runs)))
