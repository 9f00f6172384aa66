"""Scales and ticks of the charts, and the window over the time axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_tui.analysis.axis import Linear, Log, LogError, Scale, Tick, epoch_ticks, linear_ticks, nice_ceiling
from fmnist_tui.tui.widgets.chart_view import MIN_SPAN, TimeView


def labels(ticks: list[Tick]) -> list[str]:
    return [tick.label for tick in ticks]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 1, 6, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (85.3, 95.7, 6, ["86", "88", "90", "92", "94"]),
        (0, 100, 6, ["0", "20", "40", "60", "80", "100"]),
        (0.1, 0.1003, 5, ["0.1000", "0.1001", "0.1002", "0.1003"]),
        (0, 1e9, 4, ["0", "5e8", "1e9"]),
    ],
)
def test_linear_ticks_are_round(low: float, high: float, most: int, expected: list[str]) -> None:
    assert labels(linear_ticks(low, high, most)) == expected


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.09, 2.5, 7, ["0.1", "0.2", "0.5", "1", "2"]),
        (0.09, 2.5, 4, ["0.1", "0.3", "1"]),
        (1e-5, 3.0, 4, ["1e-4", "0.01", "1"]),
        (0.00001, 0.1, 6, ["1e-5", "1e-4", "0.001", "0.01", "0.1"]),
        (0.18, 0.22, 4, ["0.18", "0.20", "0.22"]),
    ],
)
def test_log_ticks_are_one_two_five_or_decades(low: float, high: float, most: int, expected: list[str]) -> None:
    assert labels(Log().ticks(low, high, most)) == expected


def test_log_ticks_lie_at_their_values() -> None:
    for tick in Log().ticks(0.01, 100.0, 12):
        assert float(tick.label) == pytest.approx(tick.value)


def test_error_ticks_are_accuracies() -> None:
    assert labels(LogError().ticks(0.0, 99.0, 9)) == ["0", "50", "80", "90", "95", "98", "99"]
    assert labels(LogError().ticks(92.1, 94.2, 5)) == ["92.5", "93.0", "93.5", "94.0"]


@given(st.floats(1e-6, 1e6), st.floats(1.0001, 1e6), st.integers(2, 12), st.sampled_from([Linear(), Log()]))
def test_ticks_are_inside_rising_and_not_too_many(low: float, factor: float, most: int, scale: Scale) -> None:
    high = low * factor
    ticks = scale.ticks(low, high, most)
    values = [tick.value for tick in ticks]
    assert len(ticks) <= most
    assert values == sorted(set(values))
    assert all(low * (1 - 1e-6) <= value <= high * (1 + 1e-6) for value in values)
    assert all(len(tick.label) <= 7 for tick in ticks)


@given(st.floats(1e-4, 99.0), st.floats(0.01, 50))
def test_limits_hold_what_they_are_made_from(low: float, span: float) -> None:
    highest: list[tuple[Scale, float]] = [
        (Linear(), low + span),
        (Log(), low + span),
        (LogError(), min(99.9, low + span)),
    ]
    for scale, high in highest:
        bottom, top = scale.limits(low, high)
        assert bottom <= low and top >= high and top > bottom
        positions = scale.position([bottom, low, high, top])
        assert np.isfinite(positions).all() and (np.diff(positions) >= 0).all()


def test_scales_take_values_that_have_no_logarithm() -> None:
    assert np.isfinite(Log().position([0.0, -1.0])).all()
    assert np.isfinite(LogError().position([100.0])).all()
    assert Linear((0.0, 100.0)).limits(0.0, 100.0) == (0.0, 100.0)


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 200, 8, ["0", "50", "100", "150", "200"]),
        (0, 1800, 8, ["0", "500", "1000", "1500"]),
        (30, 37.4, 8, ["30", "31", "32", "33", "34", "35", "36", "37"]),
        (0, 2.2, 5, ["0", "1", "2"]),
        (36.2, 37.1, 6, ["36.2", "36.4", "36.6", "36.8", "37.0"]),
    ],
)
def test_the_time_axis_has_whole_epochs(low: float, high: float, most: int, expected: list[str]) -> None:
    assert labels(epoch_ticks(low, high, most)) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.0, 1), (1.2, 2), (3.0, 5), (7.0, 10), (59.0, 100), (100.0, 100)])
def test_round_numbers_above(value: float, expected: int) -> None:
    assert nice_ceiling(value) == expected


def view(total: float = 200.0, latest: float = 37.0, **values: Any) -> TimeView:
    found = TimeView()
    found.total, found.latest = total, latest
    for name, value in values.items():
        setattr(found, name, value)
    return found


def test_the_usual_window_goes_a_little_beyond_now_and_never_beyond_the_run() -> None:
    assert view(latest=0.0).limits == (0, 1)
    assert view(latest=1.4).limits == (0, 5)
    assert view(latest=37).limits == (0, 100)
    assert view(latest=90).limits == (0, 200)
    assert view(latest=200).limits == (0, 200)
    assert view(latest=52.5, ended=True).limits == (0, 52.5)


def test_zooming_keeps_the_center_and_ends_at_the_whole() -> None:
    shown = view()
    shown.zoom(0.5, 40)
    assert shown.limits == (20, 70) and shown.words == "zoomed"
    assert (40 - shown.limits[0]) / 50 == pytest.approx(0.4)
    for _ in range(10):
        shown.zoom(2.0)
    assert shown.limits == (0, 100) and shown.words == ""
    for _ in range(100):
        shown.zoom(0.5)
    assert shown.limits[1] - shown.limits[0] == pytest.approx(MIN_SPAN)


def test_panning_stops_at_both_ends() -> None:
    shown = view()
    shown.pan(1)
    assert shown.limits == (0, 100), "what is shown as a whole does not move"
    shown.zoom(0.2, 50)
    for _ in range(50):
        shown.pan(1)
    assert shown.limits == pytest.approx((80, 100))
    for _ in range(50):
        shown.pan(-1)
    assert shown.limits == pytest.approx((0, 20))


def test_following_keeps_the_newest_at_the_right_edge() -> None:
    shown = view()
    shown.toggle_follow()
    assert shown.limits == (0, 37) and shown.words == "so far"
    shown.zoom(0.1)
    assert shown.limits == pytest.approx((33.3, 37)) and shown.words == "latest"
    shown.latest = 50
    assert shown.limits == pytest.approx((46.3, 50))
    shown.toggle_follow()
    assert shown.limits == (0, 100)


def test_the_whole_run_and_back() -> None:
    shown = view()
    shown.toggle_whole()
    assert shown.limits == (0, 200) and shown.words == "whole run"
    shown.toggle_whole()
    assert shown.limits == (0, 100)


def test_the_cursor_takes_whole_epochs_and_stays_inside() -> None:
    shown = view()
    shown.move_cursor(-1, 71)
    assert shown.cursor == 37, "it begins at the newest point"
    before = shown.cursor
    shown.move_cursor(-1, 71)
    assert before - 3 < shown.cursor < before and shown.cursor == round(shown.cursor)
    for _ in range(200):
        shown.move_cursor(-1, 71)
    assert shown.cursor in (0.0, 1.0)
    for _ in range(200):
        shown.move_cursor(1, 71)
    assert 98 <= shown.cursor <= 100
    columns = set()
    shown.place_cursor(0, 71)
    for _ in range(71):
        columns.add(math.floor(shown.cursor / 100 * 71 + 1e-9))
        shown.move_cursor(1, 71)
    assert columns == set(range(71)), "each press moves by one column"
