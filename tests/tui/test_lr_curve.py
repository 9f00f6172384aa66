"""The learning rate's chart: the cells stand where `training.schedule` says."""

from __future__ import annotations

from typing import Any

import pytest

from fmnist_tui.analysis.outlook import plan
from fmnist_tui.config import RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.training.schedule import learning_rate
from fmnist_tui.tui.widgets.lr_curve import lr_axis, lr_chart

WIDTH, HEIGHT = 60, 10
ROWS = HEIGHT - 2


def config_of(preset: str, **changes: Any) -> RunConfig:
    return with_changes(load_preset(preset), {key.replace("__", "."): value for key, value in changes.items()})


def dots(lines: list[str]) -> list[set[int]]:
    """The heights of the dots of the curve in each column of dots, counted from the bottom."""
    body = [line[line.index("┤" if "┤" in line else "│") + 1 :] for line in lines[:-2]]
    columns: list[set[int]] = []
    for x in range(2 * len(body[0])):
        column = set()
        for y in range(4 * len(body)):
            bit = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))[y % 4][x % 2]
            character = body[y // 4][x // 2]
            if character != " " and (ord(character) - 0x2800) & bit:
                column.add(4 * len(body) - 1 - y)
        columns.append(column)
    return columns


CONFIGS = [
    config_of("wrn"),
    config_of("densenet"),
    config_of("quick"),
    config_of("shake-shake-64"),
    config_of("wrn", schedule__warmup_epochs=20.0),
    config_of("wrn", schedule__kind="constant"),
    config_of("wrn", training__max_steps=77),
    config_of("quick", training__epochs=1, schedule__warmup_epochs=0.0),
]


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_every_column_has_the_rate_of_its_steps(config: RunConfig) -> None:
    columns = dots(lr_chart(config, WIDTH, HEIGHT))
    work, axis = plan(config), lr_axis(config)
    for x, heights in enumerate(columns):
        first = x * work.steps // len(columns)
        last = max(first, (x + 1) * work.steps // len(columns) - 1)
        for step in (first, last):
            rate = learning_rate(step, config, work.steps_per_epoch)
            assert round(axis.share(rate) * (4 * ROWS - 1)) in heights, (x, step, rate)
        assert heights == set(range(min(heights), max(heights) + 1)), "joined without a gap"


def test_the_drop_of_a_step_schedule_stands_at_its_milestone() -> None:
    config = config_of("wrn")
    columns = dots(lr_chart(config, WIDTH, HEIGHT))
    drops = [x for x, heights in enumerate(columns) if len(heights) > 1]
    for milestone, x in zip((60, 120, 160), drops, strict=True):
        assert abs(x / len(columns) - (milestone - 1) / 200) <= 1 / len(columns)


@pytest.mark.parametrize(("preset", "ticks"), [("quick", [0, 2, 4, 6, 8]), ("wrn", [0, 50, 100, 150, 200])])
def test_ticks_stand_at_the_epochs_done(preset: str, ticks: list[int]) -> None:
    *_, axis, labels = lr_chart(config_of(preset), WIDTH, HEIGHT)
    assert labels.split() == [*map(str, ticks[:-1]), "epoch", str(ticks[-1])]
    first = axis.index("└") + 1
    cells = len(axis) - first
    places = [at - first for at, character in enumerate(axis) if character == "┬"]
    assert places == [min(cells * tick // ticks[-1], cells - 1) for tick in ticks]


def test_a_step_schedule_that_falls_far_is_drawn_by_its_logarithm_and_says_so() -> None:
    assert lr_axis(config_of("wrn")).log
    assert lr_axis(config_of("wrn")).low == pytest.approx(0.1 * 0.2**3)
    assert not lr_axis(config_of("shake-shake-64")).log
    assert not lr_axis(config_of("wrn", schedule__gamma=0.9)).log
    labels = [line.split("┤")[0].strip() for line in lr_chart(config_of("wrn"), WIDTH, 9) if "┤" in line]
    assert labels == ["0.1", "0.0089", "0.0008"]


def test_a_run_shorter_than_two_epochs_counts_steps() -> None:
    labels = lr_chart(config_of("wrn", training__max_steps=77), WIDTH, HEIGHT)[-1]
    assert labels.split() == ["0", "20", "40", "step", "60"]
    assert lr_chart(config_of("wrn", training__max_steps=1), WIDTH, HEIGHT)[-1].endswith("step 1")


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
@pytest.mark.parametrize(("width", "height"), [(60, 10), (24, 4), (18, 4), (120, 7)])
def test_the_chart_fills_its_room_in_both_alphabets(config: RunConfig, width: int, height: int) -> None:
    for ascii_only in (False, True):
        lines = lr_chart(config, width, height, ascii_only)
        assert len(lines) == height
        assert {len(line) for line in lines} == {width}
        assert all(line.isascii() for line in lines) or not ascii_only
        if ascii_only:
            assert all(line.count("|") == 1 for line in lines[:-2]), "a fall does not look like the axis"


@pytest.mark.parametrize(("width", "height"), [(10, 10), (60, 3), (0, 0)])
def test_no_chart_where_there_is_no_room(width: int, height: int) -> None:
    assert lr_chart(config_of("wrn"), width, height) == []
