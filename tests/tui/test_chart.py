"""The chart widget on a screen: its strips are the composed cells, redrawn where they changed; mouse and resize."""

from __future__ import annotations

import numpy as np
import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Offset

from fmnist_tui.analysis.axis import Log
from fmnist_tui.analysis.series import Series
from fmnist_tui.tui.widgets.chart import Chart
from fmnist_tui.tui.widgets.chart_content import GUTTER, Content, Curve
from fmnist_tui.tui.widgets.chart_draw import compose
from fmnist_tui.tui.widgets.chart_view import TimeView


class ChartApp(App[None]):
    """One chart that fills the screen."""

    def __init__(self, ascii_only: bool = False) -> None:
        super().__init__()
        self.view = TimeView()
        self.view.total = self.view.latest = 100.0
        self.chart = Chart(self.view, ascii_only)
        self.series = Series()
        self.series.extend(np.arange(1, 101), np.exp(-np.arange(1, 101) / 30))
        self.heard: list[object] = []

    def compose(self) -> ComposeResult:
        yield self.chart

    def on_mount(self) -> None:
        self.chart.show(self.content(), 0.0)

    def content(self) -> Content:
        return Content("Loss", [Curve("test", self.series, "test")], Log())

    def on_chart_pointed(self, message: Chart.Pointed) -> None:
        self.heard.append(message)

    def on_chart_zoomed(self, message: Chart.Zoomed) -> None:
        self.heard.append(message)

    def on_chart_panned(self, message: Chart.Panned) -> None:
        self.heard.append(message)


def screen_rows(app: ChartApp) -> list[str]:
    """What the terminal shows of the chart, row by row."""
    return [app.chart.render_line(row).text for row in range(app.chart.size.height)]


def composed_rows(app: ChartApp, size: tuple[int, int]) -> list[str]:
    cells = compose(app.content(), app.view, *size, ascii_only=app.chart.ascii_only).cells
    return [cells.row_text(row) for row in range(cells.height)]


async def test_the_strips_are_the_composed_cells_also_after_resizes() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        assert screen_rows(app) == composed_rows(app, (80, 20))
        for size in ((40, 10), (120, 40), (10, 3), (80, 20)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert tuple(app.chart.size) == size
            assert screen_rows(app) == composed_rows(app, size)


async def test_new_data_redraws_only_rows_that_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        refreshed = []
        monkeypatch.setattr(app.chart, "refresh", lambda *regions, **_: refreshed.extend(regions))
        app.chart.redraw()
        assert refreshed == []
        app.series.append(100, float(app.series.values[-1]) * 1.02)
        app.chart.show(app.content(), 0.0)
        assert 0 < len(refreshed) < 8
        assert screen_rows(app) == composed_rows(app, (80, 20))


async def test_the_same_picture_is_not_composed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        calls = []
        monkeypatch.setattr(app.chart, "redraw", lambda: calls.append(1))
        app.chart.show(app.content(), 0.0)
        assert calls == []
        app.view.cursor = 50.0
        app.chart.show(app.content(), 0.0)
        assert calls == [1]


async def test_another_theme_gives_its_colours() -> None:
    """All of them: the background's came at once, the curves' and words' once stayed those of the theme before."""
    drawn = []
    for first in ("textual-dark", "textual-light"):
        app = ChartApp()
        app.theme = first
        async with app.run_test(size=(80, 20)) as pilot:
            await pilot.pause()
            app.theme = "textual-light"
            await pilot.pause()
            drawn.append([segment for row in range(20) for segment in app.chart.render_line(row)])
    assert drawn[0] == drawn[1]


async def test_curves_have_their_own_colours() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        names = ("train", "test", "ghost", "reference", "error")
        colours = {app.chart.get_component_rich_style(f"chart--{name}").color for name in names}
        assert len(colours) == len(names)


async def test_ascii_charts_are_ascii() -> None:
    app = ChartApp(ascii_only=True)
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        assert "".join(screen_rows(app)).isascii() and "*" in "".join(screen_rows(app))


@pytest.mark.parametrize(("column", "inside"), [(GUTTER, True), (GUTTER + 35, True), (2, False)])
async def test_the_mouse_points_at_epochs(column: int, inside: bool) -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        await pilot.hover(Chart, Offset(column, 8))
        await pilot.pause()
        pointed = [message for message in app.heard if isinstance(message, Chart.Pointed)][-1]
        expected = (column - GUTTER + 0.5) / app.chart.plot_width * 100 if inside else None
        assert pointed.x == (pytest.approx(expected) if inside else None)
        assert pointed.width == app.chart.plot_width == 80 - GUTTER - 1


async def test_the_wheel_asks_to_zoom_at_its_place() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        await pilot._post_mouse_events([_wheel("up")], Chart, Offset(GUTTER + 35, 8))
        await pilot._post_mouse_events([_wheel("down")], Chart, Offset(GUTTER + 35, 8))
        await pilot.pause()
        inward, outward = [message for message in app.heard if isinstance(message, Chart.Zoomed)]
        assert inward.factor < 1 < outward.factor
        assert inward.x == pytest.approx(35.5 / app.chart.plot_width * 100)


async def test_dragging_asks_to_pan() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        drag = events.MouseMove(app.chart, 40, 8, -7, 0, 1, False, False, False)
        app.chart.post_message(drag)
        await pilot.pause()
        (panned,) = [message for message in app.heard if isinstance(message, Chart.Panned)]
        assert panned.share == pytest.approx(7 / app.chart.plot_width), "to the left is later"


def _wheel(direction: str) -> type[events.MouseEvent]:
    return {"up": events.MouseScrollUp, "down": events.MouseScrollDown}[direction]
