"""The Run screen: what it draws for each kind of run, at each size, and of many lines."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from textual.screen import Screen
from textual.widgets import Static

from fmnist_tui.runs.metrics import TrainRecord
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.run_charts import CHARTS
from fmnist_tui.tui.screens import run as run_screen
from fmnist_tui.tui.widgets import run_panes
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.run_panels import TextPanel
from fmnist_tui.tui.widgets.run_panes import pages_of
from tests.tui.run_screen_host import LARGE, MIDDLE, SMALL, Host, chart_text, live, screen_text, show, until
from tests.tui.synthetic import until_drawn
from tests.tui.synthetic_runs import RUN_ID, ghost, make_run, preset, records

pytestmark = pytest.mark.usefixtures("quick_redraws")


# --- what is drawn


@pytest.mark.parametrize("size", [SMALL, MIDDLE, LARGE])
async def test_a_run_at_work(tmp_path: Path, size: tuple[int, int]) -> None:
    app = Host()
    async with app.run_test(size=size) as pilot:
        run, lines = make_run(tmp_path, live())
        best, _ = ghost(tmp_path)
        await show(pilot, run, lines, [best])
        await until(pilot, lambda: "best wrn" in screen_text(app))
        text = screen_text(app)
        assert "running on cuda:0" in text and "epoch 37 of 200" in text and "82/118" in text and " left, " in text
        assert "reference 93.28 %" in text and "Loss (log)" in text
        assert text.splitlines()[-1].split()[:2] == ["s", "Stop"] and "q Detach" in text.splitlines()[-1]
        titles = {SMALL: 1, MIDDLE: 2, LARGE: 4}[size]
        charts = [name for name in CHARTS if app.shown.panes.chart(name).display]
        assert charts == list(CHARTS[:titles])
        for name in charts:
            assert app.shown.panes.chart(name).drawn is not None
            assert any(0x2800 <= ord(char) <= 0x28FF for char in chart_text(app, name))
        assert ("─ Events ─" in text) == ("─ Log ─" in text) == (size == LARGE)


async def test_the_curve_grows_and_the_header_follows(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        plan = live(done=30.0)
        whole = records(replace(plan, done=31.5))
        run, lines = make_run(tmp_path, plan)
        await show(pilot, run, lines)
        before = chart_text(app, "loss")
        more = whole[len(lines) :]
        assert run.status is not None
        status = run.status.model_copy(update={"epoch": 32, "step": 3717, "test_accuracy": 77.77})
        app.shown.run_advanced(replace(run, status=status), more, False)
        await until(pilot, lambda: "epoch 32 of 200" in screen_text(app) and chart_text(app, "loss") != before)
        assert "77.77 %" in screen_text(app)
        assert isinstance(more[-1], TrainRecord) and app.shown.data.last_step == more[-1].step


async def test_a_run_with_nothing_yet(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, _ = make_run(tmp_path, live(done=0.01), State.STARTING, phase="loading data", epoch=0, step=0)
        await show(pilot, run, [])
        text = screen_text(app)
        assert "starting: loading data" in text and "Starting: loading data." in text
        assert "starting on cuda:0, loading data" in text


async def test_before_the_feed_has_spoken() -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await until(pilot, lambda: RUN_ID in screen_text(app) and "loading" in screen_text(app))
        await pilot.press("v", "y", "f", "plus", "up", "shift+left", "c", "s", "r")
        assert app.asked == []


async def test_a_nan_run_is_marked_and_says_what_to_press(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        error = "loss is NaN at step 812 (epoch 7); the last good checkpoint is of step 708"
        run, lines = make_run(tmp_path, live(done=9, nan_at=812), State.FAILED, error=error, exit_code=4)
        run.directory.checkpoint("last").parent.mkdir(parents=True, exist_ok=True)
        run.directory.checkpoint("last").touch()
        await show(pilot, run, lines)
        text = screen_text(app)
        assert "×" in chart_text(app, "loss") and "train NaN" in chart_text(app, "loss")
        assert "Failed in epoch 7: loss is NaN at step 812" in text
        assert "Press r to resume from the last checkpoint" in text
        assert "r Resume" in text and "s Stop" not in text and " left, " not in text


async def test_a_finished_run_opened_later(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=MIDDLE) as pilot:
        plan = live(config=preset(training__epochs=60), done=60.0, resume_at=20)
        run, lines = make_run(tmp_path, plan, State.FINISHED)
        await show(pilot, run, lines)
        text = screen_text(app)
        assert "finished today" in text and "14m 53s at work" in text and "2 starts" in text
        assert "Finished: " in text and " left, " not in text
        assert "■↻" in chart_text(app, "loss"), "the stop and the resume are on the time axis"
        assert "best " in chart_text(app, "accuracy") and "◆" in chart_text(app, "accuracy")


async def test_a_lost_run_says_so(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=12.0), State.LOST)
        await show(pilot, run, lines)
        text = screen_text(app)
        assert "Lost: its process is gone" in text and "last heard of today" in text and "r Resume" in text


async def test_a_run_deleted_under_the_screen(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=12.0))
        await show(pilot, run, lines)
        app.shown.run_vanished(run.id)
        await until(pilot, lambda: "This run was deleted. Press esc to go back." in screen_text(app))
        await pilot.press("s", "e", "l", "r", "d")
        assert app.asked == [] and "Stop" not in screen_text(app).splitlines()[-1]
        await pilot.press("escape")
        assert app.went_back == 1


async def test_the_last_points_of_a_long_run_are_drawn_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the next redraw for new data is due, which is never here."""
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=12.0))
        await show(pilot, run, lines[:40])
        monkeypatch.setattr(run_screen, "REDRAW_SECONDS", 1e6)
        monkeypatch.setattr(run_panes, "CHART_SECONDS", 1e6)
        app.shown.changed()  # takes note of the new times
        await pilot.pause(0.05)
        before = chart_text(app, "loss")
        app.shown.run_advanced(run, lines[40:], False)
        app.shown.run_caught_up(run.id)
        assert chart_text(app, "loss") != before


async def test_lines_written_anew_replace_the_old(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=12.0))
        await show(pilot, run, lines)
        app.shown.run_advanced(run, lines[:40], True)
        assert app.shown.data.last_step == max(r.step for r in lines[:40] if isinstance(r, TrainRecord))


async def test_a_damaged_run_is_told(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, _ = make_run(tmp_path, live(done=2.0))
        damaged = Run(run.directory, None, None, None, State.LOST, "config.json is missing")
        await pilot.pause()
        app.shown.run_advanced(damaged, [], True)
        await until(pilot, lambda: "config.json is missing." in screen_text(app) and " lost " in screen_text(app))


async def test_a_silent_run_without_new_lines_is_noticed(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=3.0), heartbeat="2026-01-01T00:00:00.000Z")
        await show(pilot, run, lines)
        assert "no heartbeat for" in screen_text(app) and " left, " not in screen_text(app)


async def test_everything_is_ascii_where_the_terminal_is(tmp_path: Path) -> None:
    app = Host(ascii_only=True)
    async with app.run_test(size=MIDDLE) as pilot:
        run, lines = make_run(tmp_path, live(done=20.0))
        await show(pilot, run, lines)
        assert "epoch 20 of 200" in screen_text(app) and "o" in chart_text(app, "loss")
        for view in (("Loss (log)", "Accuracy"), ("Learning rate", " W 61 C"), ("Events",)):
            await until_drawn(pilot, *view)
            # Textual's own borders and scroll bars pass through the app's filter.
            drawn = "".join(char for char in screen_text(app) if char not in "─▁▂▃▄▅▆▇█")
            assert drawn.isascii(), [char for char in drawn if not char.isascii()]
            await pilot.press("v")


async def test_no_colours_are_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Host()
    async with app.run_test(size=LARGE) as pilot:
        run, lines = make_run(tmp_path, live(done=20.0))
        await show(pilot, run, lines)
        await pilot.press("shift+left")
        assert "Loss (log)" in screen_text(app)


async def test_under_another_screen_it_takes_data_in_and_does_not_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        plan = live(done=30.0)
        run, lines = make_run(tmp_path, plan)
        await show(pilot, run, lines)
        app.push_screen(Screen())
        await pilot.pause()
        drawn: list[object] = []
        monkeypatch.setattr(app.shown.panes, "show", drawn.append)
        assert run.status is not None
        newer = replace(run, status=run.status.model_copy(update={"epoch": 32}))
        app.shown.run_advanced(newer, records(replace(plan, done=31.5))[len(lines) :], False)
        await pilot.pause(0.3)
        assert drawn == [] and app.shown.data.last_step > 31 * 118
        app.pop_screen()
        await until(pilot, lambda: "epoch 32 of 200" in screen_text(app) and bool(drawn))


# --- sizes


async def test_a_resize_to_40x10_and_back(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=20.0))
        await show(pilot, run, lines)
        before = chart_text(app, "loss")
        await pilot.resize_terminal(40, 10)
        await until(pilot, lambda: app.shown.panes.chart("loss").size.width == 40)
        await pilot.pause()
        small = screen_text(app)
        assert "epoch 20 of 200" in small and "Loss" in small and "running" in small
        assert len(small.splitlines()) == 10
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: chart_text(app, "loss") == before)
        await pilot.resize_terminal(*LARGE)
        await until(pilot, lambda: all(app.shown.panes.chart(name).display for name in CHARTS))
        await pilot.press("v", "v")
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: app.shown.panes.chart("accuracy").display)


def test_the_pages_of_each_size() -> None:
    for size, charts in ((SMALL, 1), (MIDDLE, 2), (LARGE, 4), ((200, 24), 2), ((40, 10), 1)):
        pages, _ = pages_of(*size)
        assert len([name for name in pages[0] if name in CHARTS]) == charts
        assert {name for page in pages for name in page} == {*CHARTS, "lists"}, "everything can be reached"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
async def test_the_keys_fit_on_one_line(tmp_path: Path, width: int) -> None:
    app = Host()
    async with app.run_test(size=(width, 24)) as pilot:
        run, lines = make_run(tmp_path, live(done=2.0))
        await show(pilot, run, lines)
        bar = app.shown.query_one(KeyBar)
        assert bar.size.height == 1
        row = screen_text(app).splitlines()[-1]
        assert row.rstrip().endswith("q Detach")
        wanted = ["s Stop", "e Edit", "l Log", "c Config", "m Mistakes", "v View", "? Keys"] if width >= 80 else []
        wanted += ["y Scale", "f Follow"] if width >= 120 else []
        for key in wanted:
            assert key in row


# --- many lines


async def test_200_000_lines_arrive_in_parts_and_are_all_there(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=10.0), write=False)
        await show(pilot, run, lines)
        train = [record for record in lines if isinstance(record, TrainRecord)]
        template = train[-1]
        assert run.status is not None
        status = run.status.model_copy(update={"epochs": 1800, "epoch": 1700})
        for part in range(14):
            batch = []
            for nth in range(14_300):
                record = TrainRecord.model_construct(**template.__dict__)
                record.step = template.step + 1 + part * 14_300 + nth
                batch.append(record)
            if part == 7:
                batch[5000].loss = math.nan
                batch[6000].loss_max = 50.0
            app.shown.run_advanced(replace(run, status=status), batch, False)
            await pilot.pause()
        await until(pilot, lambda: "epoch 1,700 of 1,800" in screen_text(app) and "×" in chart_text(app, "loss"))
        assert len(app.shown.data.loss) == len(train) + 14 * 14_300 - 1
        top = chart_text(app, "loss").splitlines()[1:4]
        assert any(0x2800 < ord(char) <= 0x28FF for row in top for char in row[20:]), "the spike is drawn"


async def test_a_panel_keeps_its_place_when_scrolled_up(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=LARGE) as pilot:
        run, lines = make_run(tmp_path, live(done=30.0))
        await show(pilot, run, lines)
        panel = app.shown.query_one("#panel-log", TextPanel)
        await until(pilot, lambda: panel.max_scroll_y > 0 and panel.scroll_offset.y == panel.max_scroll_y)
        panel.scroll_to(y=0, animate=False)
        await until(pilot, lambda: panel.scroll_offset.y == 0)
        with run.directory.worker_log.open("a") as log:
            log.write("one more line\n")
        await until(pilot, lambda: "one more line" in str(panel.query_one(Static).render()))
        assert panel.scroll_offset.y == 0
