"""The Run screen's keys: what it asks the app to do, its views, scale, smoothing, cursor, zoom, and the mouse."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.geometry import Offset

from fmnist_tui.runs.metrics import EventRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui.run_charts import ChartName
from fmnist_tui.tui.widgets.chart import Chart
from tests.tui.run_screen_host import LARGE, MIDDLE, SMALL, Host, chart_text, live, screen_text, show, until
from tests.tui.synthetic import until_drawn
from tests.tui.synthetic_runs import RUN_ID, make_run

pytestmark = pytest.mark.usefixtures("quick_redraws")


async def test_what_may_be_asked_of_a_run_at_work(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=2.0))
        await show(pilot, run, lines)
        await pilot.press("s", "e", "l", "c", "C", "r", "d")
        await pilot.pause()
        assert app.asked == [(RUN_ID, what) for what in ("stop", "edit", "log", "config", "clone")]


async def test_what_may_be_asked_of_a_run_that_has_ended(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=2.0), State.STOPPED)
        await show(pilot, run, lines)
        await pilot.press("s", "e", "r", "l", "d")
        await pilot.pause()
        assert app.asked == [(RUN_ID, "resume"), (RUN_ID, "log"), (RUN_ID, "delete")]


async def test_v_goes_through_every_view(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=20.0, resume_at=5))
        await show(pilot, run, lines)
        for title in ("Accuracy %", "Learning rate (log)", "GPU, host %"):
            await pilot.press("v")
            await until_drawn(pilot, title)
        assert "GPU " in screen_text(app) and " W" in screen_text(app)
        await pilot.press("v")
        await until(pilot, lambda: "going on after epoch 5" in screen_text(app))
        await until(pilot, lambda: "epoch 20: test" in screen_text(app))
        await pilot.press("v")
        await until(pilot, lambda: "Loss (log)" in screen_text(app))


async def test_new_lines_of_the_log_appear(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=LARGE) as pilot:
        run, lines = make_run(tmp_path, live(done=2.0))
        await show(pilot, run, lines)
        await until(pilot, lambda: "epoch 2: test" in screen_text(app))
        with run.directory.worker_log.open("a") as log:
            log.write("something new [with brackets]\n")
        await until(pilot, lambda: "something new [with brackets]" in screen_text(app))


async def test_events_appear_as_they_happen(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=LARGE) as pilot:
        run, lines = make_run(tmp_path, live(done=10.0))
        await show(pilot, run, lines)
        assert "◊" not in chart_text(app, "loss")
        event = EventRecord(event="edit", step=590, epoch=6, message="epochs 200 -> 300")
        app.shown.run_advanced(run, [event], False)
        await until(pilot, lambda: "epochs 200 -> 300" in screen_text(app) and "◊" in chart_text(app, "loss"))
        row = chart_text(app, "loss").splitlines()[-2]
        chart = app.shown.panes.chart("loss")
        low, high = app.shown.panes.view.limits
        assert abs(row.index("◊") - 8 - (5 - low) / (high - low) * chart.plot_width) <= 1


async def test_y_changes_the_scale(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=MIDDLE) as pilot:
        run, lines = make_run(tmp_path, live(done=20.0))
        await show(pilot, run, lines)
        await pilot.press("y")
        await pilot.pause()
        assert "Loss (log)" not in screen_text(app) and "Accuracy % (log error)" in screen_text(app)
        await pilot.press("y")
        await pilot.pause()
        assert "Loss (log)" in screen_text(app)


async def test_smoothing_is_changed_and_told(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=MIDDLE) as pilot:
        run, lines = make_run(tmp_path, live(done=20.0))
        await show(pilot, run, lines)
        before = chart_text(app, "loss")
        assert "smoothed 0.6" in before
        await pilot.press("+", "+", "+")
        await pilot.pause()
        assert "smoothed 0.95" in chart_text(app, "loss")
        assert chart_text(app, "loss").splitlines()[1:] != before.splitlines()[1:]
        await pilot.press(*"----------")
        await pilot.pause()
        assert "not smoothed" in chart_text(app, "loss")


async def test_the_cursor_shows_the_values_there_on_every_chart(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=MIDDLE) as pilot:
        run, lines = make_run(tmp_path, live(done=40.0))
        await show(pilot, run, lines)
        await pilot.press(*["shift+left"] * 12)
        await pilot.pause()
        cursor = app.shown.panes.view.cursor
        assert cursor is not None and cursor == round(cursor) and 20 < cursor < 40
        record = next(r for r in app.shown.data.evaluations if r.epoch == cursor)
        values: dict[ChartName, str] = {
            "loss": f"test {record.test_loss:.4f}",
            "accuracy": f"test {record.test_accuracy:.2f}",
        }
        for name, value in values.items():
            title = chart_text(app, name).splitlines()[0]
            assert f"epoch {cursor:.0f} " in title and value in title
        columns = {name: chart_text(app, name).splitlines()[-2].index("┴") for name in values}
        assert columns["loss"] == columns["accuracy"]
        await pilot.press("escape")
        await pilot.pause()
        assert app.shown.panes.view.cursor is None and app.went_back == 0
        assert "┴" not in screen_text(app)


async def test_zoom_pan_follow_and_the_way_back(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(done=40.0))
        await show(pilot, run, lines)
        view = app.shown.panes.view
        assert view.limits == (0, 100)
        await pilot.press("up", "up", "up")
        assert view.limits[1] - view.limits[0] == pytest.approx(34.3)
        await pilot.pause()
        assert "zoomed" in screen_text(app)
        before = view.limits
        await pilot.press("right")
        assert view.limits[0] > before[0]
        await pilot.press("f")
        assert view.limits[1] == pytest.approx(40.0, abs=0.01)
        await pilot.press("left")
        assert not view.follow and view.limits[1] < 40
        await pilot.press("0")
        assert view.limits == (0, 200)
        await pilot.pause()
        assert "whole run" in screen_text(app) and "epoch 200" in screen_text(app)
        await pilot.press("escape")
        assert view.limits == (0, 100) and app.went_back == 0
        await pilot.press("escape")
        assert app.went_back == 1


async def test_the_mouse_moves_the_cursor_and_zooms(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=MIDDLE) as pilot:
        run, lines = make_run(tmp_path, live(done=40.0))
        await show(pilot, run, lines)
        await pilot.hover("#chart-loss", Offset(40, 6))
        await pilot.pause()
        view = app.shown.panes.view
        assert view.cursor is not None
        column = app.shown.panes.chart("loss").plot_width
        assert abs(view.cursor - (40 - 8 + 0.5) / column * 100) <= 1
        await pilot.hover("TopBar", Offset(0, 0))
        await pilot.pause()
        assert view.cursor is None
        chart = app.shown.panes.chart("loss")
        chart.post_message(Chart.Zoomed(chart, 0.5, 20.0))
        await until(pilot, lambda: view.window is not None)
        assert view.limits == (10, 60)
