"""Series: appending, smoothing, decimation, and that nothing is lost on the way to the screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from fmnist_tui.analysis.series import Floats, Mark, Series, between, decimate, log10, smooth


def identity(values: ArrayLike) -> Floats:
    return np.asarray(values, float)


def plain_smooth(values: Iterable[float], weight: float) -> list[float]:
    """The formula as it is written, without blocks."""
    carry = 0.0
    found: list[float] = []
    for count, value in enumerate(values, 1):
        carry = weight * carry + (1 - weight) * value
        found.append(carry / (1 - weight**count))
    return found


def filled(values: Sequence[float] | Floats, step: float = 1.0) -> Series:
    series = Series()
    series.extend(np.arange(1, len(values) + 1) * step, values)
    return series


def test_appended_points_are_kept_while_the_arrays_grow() -> None:
    series = Series()
    for i in range(1000):
        series.append(i, i * 2.0, i * 2.0 - 1, i * 2.0 + 1)
    assert len(series) == 1000
    assert series.x[-1] == 999 and series.values[-1] == 1998 and series.low[-1] == 1997 and series.high[-1] == 1999
    assert series.last == 1998 and series.last_x == 999


def test_points_that_are_not_finite_become_marks_at_their_place() -> None:
    series = filled([1.0, math.nan, 2.0, math.inf, -math.inf, 3.0])
    assert series.values.tolist() == [1, 2, 3]
    assert series.x.tolist() == [1, 3, 6]
    assert series.marks == [Mark(2, "NaN"), Mark(4, "inf"), Mark(5, "-inf")]
    assert series.last_x == 6


def test_a_finite_mean_of_steps_of_which_one_was_infinite_is_drawn_and_marked() -> None:
    series = Series()
    series.append(10, 0.5, 0.4, math.inf)
    assert series.values.tolist() == [0.5] and series.high.tolist() == [0.5]
    assert series.marks == [Mark(10, "inf")]


def test_the_newest_point_may_be_a_mark() -> None:
    assert filled([1.0, math.nan]).last_x == 2


def test_points_before_the_end_replace_what_the_run_went_back_behind() -> None:
    series = filled([1, 2, 3, math.nan, 5])
    series.append(3, 30.0)
    assert series.x.tolist() == [1, 2, 3] and series.values.tolist() == [1, 2, 30] and series.marks == []


def test_points_at_the_same_place_are_all_kept() -> None:
    series = filled([1, 2])
    series.append(2, 5.0)
    assert series.values.tolist() == [1, 2, 5]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=700),
    st.sampled_from([0.3, 0.6, 0.9, 0.99]),
    st.integers(1, 300),
)
def test_smoothing_in_blocks_and_in_parts_is_the_formula(values: list[float], weight: float, part: int) -> None:
    expected = plain_smooth(values, weight)
    assert smooth(values, weight) == pytest.approx(expected, abs=1e-9)
    series = Series()
    for start in range(0, len(values), part):
        series.extend(np.arange(start, min(start + part, len(values))), values[start : start + part])
        series.smoothed(weight)  # so that each part continues from the one before
    assert series.smoothed(weight) == pytest.approx(expected, abs=1e-9)


def test_smoothing_is_not_drawn_towards_zero_at_the_beginning() -> None:
    assert smooth([5.0, 5.0, 5.0], 0.99) == pytest.approx([5, 5, 5])


def test_smoothing_follows_another_weight_and_a_run_that_went_back() -> None:
    series = filled([1.0, 2.0, 3.0, 4.0])
    assert series.smoothed(0.9) == pytest.approx(plain_smooth([1, 2, 3, 4], 0.9))
    assert series.smoothed(0.5) == pytest.approx(plain_smooth([1, 2, 3, 4], 0.5))
    series.rewind(2)
    series.append(3, 9.0)
    assert series.smoothed(0.5) == pytest.approx(plain_smooth([1, 2, 9], 0.5))
    assert series.smoothed(0.0).tolist() == [1, 2, 9]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(-5, 5)), min_size=1, max_size=80),
    st.integers(1, 30),
    st.floats(0, 50),
    st.floats(1, 60),
)
def test_each_column_has_the_least_and_greatest_of_its_points(
    points: list[tuple[float, float]], columns: int, start: float, span: float
) -> None:
    points = sorted(points)
    x, y = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    window = (start, start + span)
    edges = np.linspace(*window, columns + 1)
    found = decimate(x, y, y, window, columns)
    for at in range(columns):
        last = at == columns - 1
        inside = y[(x >= edges[at]) & ((x <= edges[at + 1]) if last else (x < edges[at + 1]))]
        if inside.size:
            assert (found.low[at], found.high[at]) == (inside.min(), inside.max())
        else:
            assert math.isnan(found.low[at]) and math.isnan(found.high[at])


def test_a_spike_of_one_step_in_200_000_survives() -> None:
    values = np.full(200_000, 0.2)
    values[123_456] = 9.0
    series = filled(values)
    found = decimate(series.x, series.low, series.high, (0, 200_000), 140)
    assert np.nanmax(found.high) == 9.0
    assert int(np.nanargmax(found.high)) == int(123_457 / 200_000 * 140)


def test_the_line_between_points_is_straight_and_ends_with_them() -> None:
    series = filled([0.0, 4.0], step=10)
    line = between(series.x, series.values, (0, 40), 8, identity)
    assert np.isnan(line[[0, 1, 4, 5, 6, 7]]).all()
    assert line[[2, 3]] == pytest.approx([1.0, 3.0])


def test_the_line_between_points_is_straight_on_the_axis_own_scale() -> None:
    series = filled([1.0, 100.0], step=10)
    assert between(series.x, series.values, (10, 20), 1, log10)[0] == pytest.approx(1.0)


def test_no_line_bridges_a_value_that_was_not_finite() -> None:
    series = filled([1.0, math.nan, 1.0, 1.0], step=10)
    line = between(series.x, series.values, (0, 40), 40, identity, series.marks)
    assert np.isnan(line[10:30]).all() and np.isfinite(line[30:40]).all()


def test_the_nearest_point() -> None:
    series = filled([5.0, 6.0, 7.0], step=10)
    assert [series.nearest(x) for x in (-5, 14, 16, 99)] == [0, 0, 1, 2]
    assert Series().nearest(3) is None


def test_a_logarithm_of_nothing_is_the_lower_end() -> None:
    assert log10([0.0, -1.0, 100.0]).tolist() == [-math.inf, -math.inf, 2.0]


def test_the_version_tells_of_every_change() -> None:
    series = Series()
    seen = {series.version}
    series.append(1, 1.0)
    seen.add(series.version)
    series.append(2, math.nan)
    seen.add(series.version)
    series.rewind(0)
    seen.add(series.version)
    assert len(seen) == 4
