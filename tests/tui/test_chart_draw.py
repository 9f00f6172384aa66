"""Composed charts: the cells of a curve are where its data say, and nothing is hidden or silently dropped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from fmnist_tui.analysis.axis import Linear, Log, LogError, Scale
from fmnist_tui.analysis.series import Series
from fmnist_tui.tui.widgets.chart_content import GUTTER, STYLE, Content, Curve, Flag, Level, Point
from fmnist_tui.tui.widgets.chart_draw import compose
from fmnist_tui.tui.widgets.chart_raster import BRAILLE_DOTS, Cells, Layer, Pattern, draw
from fmnist_tui.tui.widgets.chart_view import TimeView

WIDTH, HEIGHT = 80, 16
_DOT_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def dots_of(cells: Cells) -> NDArray[np.bool_]:
    """The braille dots of a grid of cells, `(4 * height, 2 * width) bool`."""
    found = np.zeros((cells.height * 4, cells.width * 2), bool)
    for row in range(cells.height):
        for column in range(cells.width):
            code = int(cells.chars[row, column])
            if 0x2800 <= code <= 0x28FF:
                for down, bits in enumerate(_DOT_BITS):
                    for across, bit in enumerate(bits):
                        found[row * 4 + down, column * 2 + across] = bool((code - 0x2800) & bit)
    return found


def plot_of(cells: Cells) -> Cells:
    """The cells between the axes of a composed chart."""
    plot = Cells(cells.width - GUTTER - 1, cells.height - 3)
    plot.chars = cells.chars[1:-2, GUTTER:-1]
    plot.styles = cells.styles[1:-2, GUTTER:-1]
    return plot


def text_of(cells: Cells) -> str:
    return "\n".join(cells.row_text(row) for row in range(cells.height))


def series_of(x: ArrayLike, values: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None) -> Series:
    series = Series()
    series.extend(x, values, low, high)
    return series


def view_of(total: float = 100.0, latest: float = 100.0, **values: Any) -> TimeView:
    view = TimeView()
    view.total, view.latest = total, latest
    for name, value in values.items():
        setattr(view, name, value)
    return view


def drawn(
    content: Content, view: TimeView | None = None, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any
) -> Cells:
    return compose(content, view or view_of(), *size, **options).cells


def y_tick_rows(cells: Cells) -> dict[float, int]:
    """Row in the plot of each labelled y tick."""
    rows: dict[float, int] = {}
    for row in range(1, cells.height - 2):
        label, axis = cells.row_text(row)[: GUTTER - 1].strip(), cells.row_text(row)[GUTTER - 1]
        assert bool(label) == (axis in "┤+")
        if label:
            rows[float(label)] = row - 1
    return rows


@pytest.mark.parametrize("scale", [Linear(), Log()])
def test_a_curve_is_drawn_where_the_axis_says(scale: Scale) -> None:
    """Constant curves at the ticks' values cover the ticks' rows from edge to edge."""
    content = Content("T", [Curve("c", series_of([0, 100], [0.1, 10.0]), "test")], scale)
    for value, tick_row in y_tick_rows(drawn(content)).items():
        flat = Content("T", [Curve("c", series_of([0, 100], [value, value]), "test")], scale)
        flat.limits = scale.limits(0.1, 10.0)
        plot = plot_of(drawn(flat))
        rows = np.flatnonzero(dots_of(plot).any(axis=1))
        assert len(rows) == 1 and rows[0] // 4 == tick_row
        assert dots_of(plot)[rows[0]].all(), "the line has a dot in every column"


def test_a_rising_line_goes_from_corner_to_corner() -> None:
    content = Content("T", [Curve("c", series_of([0, 100], [0.0, 1.0]), "test")], limits=(0.0, 1.0))
    dots = dots_of(plot_of(drawn(content)))
    rows, columns = dots.shape
    assert dots[-1, 0] and dots[0, -1] and not dots[0, 0] and not dots[-1, -1]
    middle = np.array([np.flatnonzero(dots[:, column]).mean() for column in range(columns)])
    expected = (rows - 1) * (1 - (np.arange(columns) + 0.5) / columns)
    assert np.abs(middle - expected).max() < 1.0
    assert (np.diff([np.flatnonzero(dots[:, column]).min() for column in range(columns)]) <= 0).all()


def test_a_step_has_no_gap() -> None:
    content = Content("T", [Curve("c", series_of([0, 50, 50.01, 100], [0, 0, 1, 1]), "test")], limits=(0.0, 1.0))
    dots = dots_of(plot_of(drawn(content)))
    assert dots.any(axis=1).all(), "every row of the step's rise has a dot"


def test_a_point_is_in_its_column() -> None:
    content = Content("T", [Curve("c", series_of([25.0], [0.5]), "test")], limits=(0.0, 1.0))
    dots = dots_of(plot_of(drawn(content)))
    (row,), (column,) = np.nonzero(dots)
    assert column == int(0.25 * dots.shape[1])
    assert abs(row - (dots.shape[0] - 1) / 2) <= 1


def test_a_spike_of_one_step_is_drawn_in_full() -> None:
    steps = np.arange(1, 20_001)
    values = np.full(20_000, 0.2)
    high = values.copy()
    high[5_000] = 8.0
    series = series_of(steps, values, values, high)
    content = Content("T", [Curve("train", series, "train", per_epoch=200.0, smooth=True)], Log())
    plot = plot_of(drawn(content, smoothing=0.9))
    dots = dots_of(plot)
    column = int(np.flatnonzero(dots[: dots.shape[0] // 2].any(axis=0))[0])
    assert column == int(5_000 / 200 / 100 * dots.shape[1])
    top = int(np.flatnonzero(dots[:, column])[0])
    assert top <= 4, "the spike reaches the top of the plot"
    assert np.diff(np.flatnonzero(dots[:, column])).max() <= 2, "and goes all the way"


def test_a_spike_is_not_hidden_by_a_curve_that_crosses_it() -> None:
    low, high = Series(), Series()
    low.extend([0, 50, 100], [0.5, 0.5, 0.5])
    high.extend([0, 49.9, 50, 50.1, 100], [0.1, 0.1, 0.9, 0.1, 0.1])
    both = dots_of(
        plot_of(drawn(Content("T", [Curve("a", low, "test"), Curve("b", high, "train")], limits=(0.0, 1.0))))
    )
    alone = dots_of(plot_of(drawn(Content("T", [Curve("b", high, "train")], limits=(0.0, 1.0)))))
    assert (both & alone == alone).all()


def test_the_first_curve_gives_a_shared_cell_its_colour() -> None:
    one, other = series_of([0, 100], [0.5, 0.5]), series_of([0, 100], [0.5, 0.5])
    plot = plot_of(drawn(Content("T", [Curve("a", one, "test"), Curve("b", other, "train")], limits=(0.0, 1.0))))
    assert set(plot.styles[plot.chars > 0x2800].tolist()) == {STYLE["test"]}


def test_patterns_differ_without_colour() -> None:
    shapes = {}
    for pattern in (Pattern.THIN, Pattern.THICK, Pattern.DOTTED, Pattern.DASHED):
        cells = Cells(12, 3)
        height = np.full(24, 0.5)
        draw([Layer(height, height, 1, pattern)], cells, BRAILLE_DOTS)
        shapes[pattern] = dots_of(cells).sum()
    assert len(set(shapes.values())) == 4
    assert shapes[Pattern.DOTTED] < shapes[Pattern.DASHED] < shapes[Pattern.THIN] < shapes[Pattern.THICK]


def test_values_that_are_not_finite_are_marked_where_they_are() -> None:
    values = [0.5, 0.4, math.nan, 0.4, 0.3, math.inf, 0.3]
    series = series_of([10, 20, 30, 40, 50, 60, 70], values)
    cells = drawn(Content("Loss", [Curve("train", series, "train")], Log()))
    plot = plot_of(cells)
    crosses = [at for at, char in enumerate(plot.row_text(0)) if char == "×"]
    assert crosses == [int(0.3 * plot.width), int(0.6 * plot.width)]
    assert plot.styles[0, crosses[0]] == STYLE["error"]
    assert "train NaN" in plot.row_text(0)
    dots = dots_of(plot)
    assert not dots[:, int(0.22 * dots.shape[1]) : int(0.38 * dots.shape[1])].any(), "the line is broken there"
    assert "┊" in plot.row_text(5)


def test_a_run_of_nothing_but_nan_is_marked_and_not_called_empty() -> None:
    series = series_of([10, 20], [math.nan, math.nan])
    text = text_of(drawn(Content("Loss", [Curve("train", series, "train")], Log(), empty="nothing")))
    assert "×" in text and "nothing" not in text


def test_a_loss_of_zero_is_at_the_lower_edge_of_a_log_axis() -> None:
    content = Content("Loss", [Curve("c", series_of([0, 50, 100], [1.0, 0.0, 1.0]), "test")], Log())
    dots = dots_of(plot_of(drawn(content)))
    assert dots[-8:, dots.shape[1] // 2].any()


def test_a_chart_of_nothing_makes_up_no_scale() -> None:
    def scale_of(series: Series) -> list[str]:
        cells = drawn(Content("Loss", [Curve("train", series, "train")], Log()))
        return [text for row in range(1, HEIGHT - 2) if (text := cells.row_text(row)[:GUTTER].strip())]

    assert not any(any(map(str.isdigit, text)) for text in scale_of(Series()))
    assert any("0.5" in text for text in scale_of(series_of([0, 100], [1.0, 0.2])))


def test_an_empty_chart_says_why() -> None:
    background = Curve("best wrn", series_of([0, 100], [0.4, 0.3]), "ghost", Pattern.DOTTED, background=True)
    content = Content("Loss", [Curve("train", Series(), "train"), background], empty="starting: compiling")
    assert "starting: compiling" in text_of(drawn(content))


def test_the_x_axis_has_whole_epochs_below_their_columns() -> None:
    cells = drawn(Content("T", [Curve("c", series_of([0, 100], [0, 1]), "test")]))
    axis, below = cells.row_text(HEIGHT - 2), cells.row_text(HEIGHT - 1)
    assert below.split() == ["0", "20", "40", "60", "80", "epoch", "100"]
    width = WIDTH - GUTTER - 1
    for epoch in (20, 40, 60, 80):
        column = GUTTER + int(epoch / 100 * width)
        assert axis[column] == "┬"
        assert below[column - 1 : column + 1] == str(epoch)


def test_levels_points_and_flags_are_where_they_belong() -> None:
    content = Content(
        "Accuracy %",
        [Curve("test", series_of([10, 60], [80.0, 90.0]), "test")],
        levels=[Level(85.0, "reference 85.00")],
        points=[Point(60, 90.0, "best 90.00 (60)")],
        flags=[Flag(30, "■", "S", "event"), Flag(30, "↻", "R", "event")],
        limits=(80.0, 90.0),
    )
    cells = drawn(content)
    plot = plot_of(cells)
    dots = dots_of(plot)
    middle = round(0.5 * (plot.height * 4 - 1))
    assert dots[middle].mean() > 0.5, "the reference is dashed across the whole plot"
    assert "reference 85.00" in text_of(cells)
    assert plot.row_text(0)[int(0.6 * plot.width)] == "◆" and "best 90.00 (60)" in text_of(cells)
    column = GUTTER + int(0.3 * plot.width)
    assert cells.row_text(HEIGHT - 2)[column : column + 2] == "■↻"


def test_a_focused_chart_lets_the_beginning_run_out_of_the_picture() -> None:
    epochs = np.arange(1, 101)
    series = series_of(epochs, 95 - 60 * np.exp(-epochs / 2.0))
    plain, focused = (
        drawn(Content("A", [Curve("test", series, "test")], focus=focus), view_of(latest=100.0))
        for focus in (False, True)
    )
    assert min(y_tick_rows(plain)) < 70 and min(y_tick_rows(focused)) > 90
    assert dots_of(plot_of(focused))[-1].any(), "the curve comes in from below"


def test_the_legend_has_the_newest_values_and_at_a_cursor_those_there() -> None:
    series = series_of([10, 20, 30], [0.3, 0.2, 0.1])
    ghost = series_of([10, 20, 30, 40], [0.5, 0.4, 0.35, 0.31])
    curves = [
        Curve("test", series, "test", reach=5),
        Curve("best wrn", ghost, "ghost", Pattern.DOTTED, reach=5, shown_until=30.0),
    ]
    title = drawn(Content("Loss", curves, Log())).row_text(0)
    assert "Loss (log)" in title and "test 0.1000" in title and "best wrn 0.3500" in title
    at_cursor = drawn(Content("Loss", curves, Log()), view_of(cursor=20.0)).row_text(0)
    assert "test 0.2000" in at_cursor and "best wrn 0.4000" in at_cursor and "epoch 20" in at_cursor
    beyond = drawn(Content("Loss", curves, Log()), view_of(cursor=40.0)).row_text(0)
    assert "test –" in beyond and "best wrn 0.3100" in beyond


def test_the_legend_says_nan_at_a_mark() -> None:
    series = series_of([10, 20, 30], [0.3, math.nan, 0.1])
    assert "train NaN" in drawn(Content("L", [Curve("train", series, "train")]), view_of(cursor=20.0)).row_text(0)


def test_the_cursor_is_a_line_that_leaves_the_curve_alone() -> None:
    content = Content("T", [Curve("c", series_of([0, 100], [0.5, 0.5]), "test")], limits=(0.0, 1.0))
    without, with_cursor = plot_of(drawn(content)), plot_of(drawn(content, view_of(cursor=50.0)))
    column = int(0.5 * without.width)
    assert [with_cursor.row_text(row)[column] for row in (0, 1, 11, 12)] == ["│"] * 4
    assert (dots_of(without) == dots_of(with_cursor)).all()


@pytest.mark.parametrize("size", [(24, 5), (30, 8), (40, 7), (80, 16), (200, 50), (10, 2), (1, 1)])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("scale", [Linear(), Log(), LogError()])
def test_every_size_is_drawn_within_its_cells(size: tuple[int, int], ascii_only: bool, scale: Scale) -> None:
    series = series_of([1, 50, 99], [20.0, 90.0, 95.0])
    content = Content(
        "Accuracy %",
        [Curve("test", series, "test", Pattern.THICK)],
        scale,
        [Level(93.0, "reference 93.00")],
        [Flag(3, "■", "S", "event")],
        [Point(99, 95.0, "best 95.00 (99)")],
    )
    cells = drawn(content, size=size, ascii_only=ascii_only)
    assert cells.chars.shape == (size[1], size[0])
    if ascii_only:
        assert text_of(cells).isascii()


def test_ascii_charts_have_the_curve_in_its_cells() -> None:
    content = Content("T", [Curve("c", series_of([0, 100], [0.0, 1.0]), "test", glyph="o")], limits=(0.0, 1.0))
    plot = plot_of(drawn(content, ascii_only=True))
    assert plot.row_text(0).rstrip().endswith("o") and plot.row_text(plot.height - 1).startswith("o")
    for row in range(plot.height):
        assert "o" in plot.row_text(row)


@pytest.mark.parametrize("scale", [Linear(), Log()])
def test_ascii_curves_are_drawn_where_the_axis_says(scale: Scale) -> None:
    content = Content("T", [Curve("c", series_of([0, 100], [0.1, 10.0]), "test")], scale)
    for value, tick_row in y_tick_rows(drawn(content, ascii_only=True)).items():
        flat = Content("T", [Curve("c", series_of([0, 100], [value, value]), "test", glyph="o")], scale)
        flat.limits = scale.limits(0.1, 10.0)
        plot = plot_of(drawn(flat, ascii_only=True))
        assert [row for row in range(plot.height) if plot.row_text(row) == "o" * plot.width] == [tick_row]


def test_200_000_points_are_drawn() -> None:
    steps = np.arange(1, 200_001)
    values = 0.2 + 0.1 * np.sin(steps / 3000)
    series = series_of(steps, values, values - 0.05, values + 0.05)
    content = Content("L", [Curve("train", series, "train", per_epoch=2000.0, smooth=True)], Log())
    dots = dots_of(plot_of(drawn(content, smoothing=0.9)))
    assert dots.any(axis=0).all()
