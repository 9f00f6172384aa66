"""Comments in the app: written with #, shown where the run is, kept where they can't be written."""

from __future__ import annotations

import pytest

from fmnist_tui.runs.comments import write_comment
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.run import RunScreen
from fmnist_tui.tui.screens.runs import RunsScreen
from tests.full_disk import disk_full
from tests.tui.synthetic import RunMaker, drawn, seen, until, until_drawn


async def test_a_comment_is_written_on_runs_and_changed_on_run(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("number_sign")
        await until_drawn(pilot, "Comment on wrn", run.id)
        await pilot.press(*"lr too high", "enter")
        await until_drawn(pilot, "wrn: comment written.", "# lr too high")
        assert run.comment.read_text() == "lr too high\n"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until_drawn(pilot, "# lr too high")
        await pilot.press("number_sign")
        await until_drawn(pilot, "Comment on wrn")
        await pilot.press("ctrl+u", "enter")
        await until_drawn(pilot, "wrn: comment removed.")
        assert not run.comment.exists()
        await until(pilot, lambda: not seen(app, "# lr too high"))


async def test_what_is_urgent_stands_before_a_comment(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.FAILED, epoch=3, error="out of memory: 3 GB were asked for")
    write_comment(run, "the widest that may fit")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✗ failed", "# the widest that may fit")
        await pilot.press("enter")
        await until_drawn(pilot, "out of memory", "# the widest that may fit")
        texts = ("out of memory", "# the widest that may fit")
        error, comment = (next(y for y, line in enumerate(drawn(app)) if text in line) for text in texts)
        assert error < comment


async def test_escape_and_a_full_disk_leave_it_as_it_was(
    app: FmnistApp, maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = maker.make("wrn", State.FINISHED)
    write_comment(run, "as it was")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "# as it was")
        await pilot.press("number_sign")
        await until_drawn(pilot, "Comment on wrn")
        await pilot.press(*" and more", "escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        disk_full(monkeypatch)
        await pilot.press("number_sign")
        await until_drawn(pilot, "Comment on wrn")
        await pilot.press(*" and more", "enter")
        await until_drawn(pilot, "wrn keeps its comment", "space left on device")
        assert run.comment.read_text() == "as it was\n"
