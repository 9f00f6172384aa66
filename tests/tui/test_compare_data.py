"""The Compare screen's data and words: time without pauses, axes, letters, grouped settings."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.analysis import compare
from fmnist_tui.runs.metrics import EventRecord, TrainRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui.compare_data import AXES, METRICS, Axis, Look, RunCurves, Side, chart, extent, time_unit
from fmnist_tui.tui.compare_text import difference_parts, name_parts, paired_parts, standing_parts
from fmnist_tui.tui.format import ASCII, UNICODE, Glyphs
from fmnist_tui.tui.widgets.chart_draw import compose
from fmnist_tui.tui.widgets.chart_view import TimeView
from tests.tui import synthetic_runs as made


def line(second: int, step: int) -> TrainRecord:
    time = f"2026-11-23T10:{second // 60:02}:{second % 60:02}Z"
    return TrainRecord(time=time, step=step, epoch=1, loss=1.0, loss_min=1.0, loss_max=1.0, lr=0.1, images_per_second=1)


def event(second: int, name: str) -> EventRecord:
    return EventRecord(time=f"2026-11-23T10:{second // 60:02}:{second % 60:02}Z", event=name)


def side(runs_dir: Path, run_id: str, state: State = State.FINISHED, done: float = 8.0, **changes: object) -> Side:
    plan = made.Plan(config=made.preset("quick", **changes), done=done, gpu=False)
    run, lines = made.make_run(runs_dir, plan, state, run_id, write=False)
    curves = RunCurves()
    curves.extend(lines)
    return Side(run, curves)


def named(side: Side, name: str) -> Side:
    """The same under a name of its own."""
    assert side.run.config is not None
    config = side.run.config.model_copy(update={"name": name, "preset": None})
    return side._replace(run=replace(side.run, config=config))


@pytest.fixture
def sides(runs_dir: Path) -> list[Side]:
    return [
        side(runs_dir, "20261123-100000-quick-aaaa"),
        side(runs_dir, "20261123-110000-quick-bbbb", optimizer__lr=0.05, training__batch_size=64),
        side(runs_dir, "20261123-120000-quick-cccc", State.RUNNING, 4.5, seed=3),
    ]


def test_time_at_work_leaves_queues_and_pauses_out() -> None:
    curves = RunCurves()
    curves.extend([event(0, "queue"), event(100, "start"), line(110, 10), line(120, 20)])
    assert curves.seconds == 20.0, "the wait of 100 seconds is not work"
    curves.extend([event(125, "stop"), event(700, "resume"), line(710, 30)])
    assert curves.seconds == 35.0
    assert curves.by_time["train_loss"].x.tolist() == [10.0, 20.0, 35.0]
    assert curves.by_step["train_loss"].x.tolist() == [10.0, 20.0, 30.0]


def test_epochs_of_runs_with_other_batches_lie_over_each_other(sides: list[Side]) -> None:
    by_epoch = chart(sides, "test_accuracy", Look())
    ends = [last / curve.per_epoch for curve in by_epoch.curves if (last := curve.series.last_x)]
    assert ends == pytest.approx([8.0, 8.0, 4.0])
    by_step = chart(sides, "test_accuracy", Look(axis="step"))
    ends = [last / curve.per_epoch for curve in by_step.curves if (last := curve.series.last_x)]
    assert ends[:2] == [8 * 47, 8 * 94]
    assert (by_epoch.x_name, by_step.x_name) == ("epoch", "step")
    assert extent(sides, "epoch") == (8.0, 8.0, False)
    assert extent(sides[:2], "step") == (752.0, 752.0, True)


def test_every_metric_on_every_axis_draws_every_letter(sides: list[Side]) -> None:
    for axis in AXES:
        view = TimeView()
        view.latest, view.total, view.ended = extent(sides, axis)
        for metric in METRICS:
            for ascii_only in (False, True):
                content = chart(sides, metric, Look(metric, axis))
                cells = compose(content, view, 100, 20, ascii_only, 0.6).cells
                text = "\n".join(cells.row_text(row) for row in range(20))
                body = text.split("\n", 1)[1]
                assert all(letter in body for letter in "ABC"), (axis, metric, text)
                assert content.x_name in text


def test_no_letter_hides_another(runs_dir: Path) -> None:
    """Runs with the same values, evaluated twice: on the chart their letters would have the same two cells."""
    every: dict[str, Any] = {"training__epochs": 8, "training__eval_every": 4}
    same = [side(runs_dir, f"20261123-1{at}0000-quick-aaa{at}", **every) for at in range(8)]
    view = TimeView()
    view.latest, view.total, view.ended = extent(same, "epoch")
    for width, height, ascii_only in ((72, 8, False), (112, 26, False), (72, 8, True)):
        cells = compose(chart(same, "test_accuracy", Look()), view, width, height, ascii_only, 0.6).cells
        body = "".join(cells.row_text(row) for row in range(1, height - 2))
        assert all(letter in body for letter in "ABCDEFGH"), body


@pytest.mark.parametrize("axis", AXES)
def test_beyond_its_end_a_run_has_no_value_and_one_that_is_over_says_so(runs_dir: Path, axis: Axis) -> None:
    every: dict[str, Any] = {"training__epochs": 16, "training__eval_every": 4}
    long = side(runs_dir, "20261123-100000-quick-aaaa", done=16.0, **every)
    over = side(runs_dir, "20261123-110000-quick-bbbb", done=8.0, **every | {"training__epochs": 8})
    at_work = side(runs_dir, "20261123-120000-quick-cccc", State.RUNNING, 8.2, **every)
    compared = [long, over, at_work]
    content = chart(compared, "test_accuracy", Look(axis=axis))
    view = TimeView()
    view.latest, view.total, view.ended = extent(compared, axis)
    ends = [(curve.series.last_x or 0.0) / curve.per_epoch for curve in content.curves]
    for share, told in ((0.0, r"A \d\d\.\d\d .*B \d\d\.\d\d .*C \d\d\.\d\d "), (0.2, r"A \d\d\.\d\d .*B ended .*C – ")):
        view.cursor = max(ends[1:]) + share * (ends[0] - max(ends[1:]))
        title = compose(content, view, 100, 20, False, 0.6).cells.row_text(0)
        assert re.search(told, title), (share, title)
    before = 0.5 * float(content.curves[0].series.x[0]) / content.curves[0].per_epoch
    view.cursor = before
    title = compose(content, view, 100, 20, False, 0.6).cells.row_text(0)
    assert re.search("A – .*B – .*C – ", title), "no line is drawn before the first evaluation"


def test_the_time_axis_takes_a_unit_that_fits(sides: list[Side]) -> None:
    for seconds, unit in ((100.0, "seconds"), (600.0, "minutes"), (9000.0, "hours"), (4e5, "days")):
        sides[0].curves.seconds = seconds
        assert time_unit(sides[:1])[1] == unit


def test_curves_differ_without_colour(sides: list[Side]) -> None:
    curves = chart(sides, "test_loss", Look()).curves
    assert len({curve.pattern for curve in curves}) == len({curve.glyph for curve in curves}) == 3
    assert len({curve.style for curve in curves}) == 3


def test_a_run_that_went_back_to_a_checkpoint() -> None:
    curves = RunCurves()
    curves.extend([event(0, "start"), line(10, 10), line(20, 20), event(25, "resume"), line(35, 15), line(45, 25)])
    assert curves.by_step["train_loss"].x.tolist() == [10.0, 15.0, 25.0]


def text_of(parts: list[tuple[str, str]]) -> str:
    return "".join(text for text, _ in parts)


@pytest.mark.parametrize("width", [37, 50, 57, 77, 110])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_the_words_fit_and_name_every_run(sides: list[Side], width: int, glyphs: Glyphs) -> None:
    shown = text_of(standing_parts(sides, width, glyphs, [sides[1].run.id]))
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    assert [line[0] for line in lines[:3]] == ["A", "B", "C"] and lines[1].count("deleted") == 1
    for part in ("seed 40000", "lr 0.05", "seed 3", "At epoch 4, the last that all have"):
        assert part in " ".join(shown.split()), part
    ids = [end for end in ("aaaa", "bbbb", "cccc") if end in shown]
    assert len(ids) == 3 or width < 110, "where there is room"


def test_at_60_columns_the_best_epoch_stays_on_its_line(sides: list[Side]) -> None:
    lines = text_of(standing_parts(sides, 57, UNICODE)).splitlines()
    assert re.search(r"best 92\.84 \(8\)$", lines[0]) and lines[1].startswith("B ")


@pytest.mark.parametrize("length", [24, 29])
def test_a_name_is_whole_beside_the_settings_at_120_columns_as_at_80(runs_dir: Path, length: int) -> None:
    names = [f"campaign-turbo-{'x' * (length - 24)}seed4000{at}" for at in range(3)]
    compared = [named(side(runs_dir, f"20261123-1{at}0000-quick-aaa{at}"), name) for at, name in enumerate(names)]
    for width in (70, 77):
        lines = text_of(standing_parts(compared, width, UNICODE)).splitlines()[:3]
        assert max(map(len, lines)) <= width
        for line, name in zip(lines, names, strict=True):
            assert f" {name} " in line and line.endswith("8/8 92.84  best 92.84 (8)")
            assert ("finished" in line) is (length == 24 or width == 77)


@pytest.mark.parametrize("width", [57, 77])
def test_what_tells_runs_apart_does_not_take_their_names_place(runs_dir: Path, width: int) -> None:
    """Of a sweep of four fields, what is said of each run would fill its line."""
    sides = []
    for at in range(8):
        changes: dict[str, Any] = {
            "optimizer__lr": (0.1, 0.05)[at & 1],
            "optimizer__weight_decay": (5e-4, 1e-4)[at >> 1 & 1],
            "training__label_smoothing": (0.1, 0.2)[at >> 2],
        }
        sides.append(side(runs_dir, f"20261123-100000-quick-aaa{at}", **changes))
    lines = text_of(standing_parts(sides, width, UNICODE)).splitlines()[:8]
    assert all(line[6:].startswith("quick lr 0.") for line in lines) and max(map(len, lines)) <= width


def test_names_in_one_line_are_whole_or_what_they_end_in(runs_dir: Path, sides: list[Side]) -> None:
    names = [f"campaign-turbo-seed4000{at}" for at in range(3)]
    compared = [named(each, name) for each, name in zip(sides, names, strict=True)]
    assert text_of(name_parts(compared, 100, UNICODE)).rstrip() == (
        "A ⠶⠶ campaign-turbo-seed40000  B ⠒⠒ campaign-turbo-seed40001  C ⠒ ⠒ campaign-turbo-seed40002"
    )
    assert text_of(name_parts(compared, 78, ASCII)).rstrip() == "A aaa ~seed40000  B bbb ~seed40001  C ccc ~seed40002"
    assert name_parts(compared, 38, UNICODE) == []
    assert text_of(name_parts(sides[:2], 60, UNICODE)).rstrip() == "A ⠶⠶ quick lr 0.1  B ⠒⠒ quick lr 0.05"


def test_every_curve_has_its_letter_in_the_title(runs_dir: Path) -> None:
    """Of eight runs the first and the fifth have one pattern: letters stay longer than values."""
    eight = [side(runs_dir, f"20261123-100000-quick-aaa{at}", seed=at) for at in range(8)]
    view = TimeView()
    view.latest, view.total, view.ended = extent(eight, "epoch")

    def title(width: int, runs: int, ascii_only: bool = False) -> str:
        return compose(chart(eight[:runs], "test_accuracy", Look()), view, width, 20, ascii_only).cells.row_text(0)

    assert "⠶⠶ A 92.84" in title(120, 6) and "⠶⠶ E 92.84" in title(120, 6)
    for width, runs in ((120, 8), (80, 5)):
        found = re.findall(r" ([A-H]) 92\.\d\d", title(width, runs))
        assert "".join(found) == "ABCDEFGH"[:runs], title(width, runs)
    for width, runs in ((80, 8), (60, 8), (40, 6)):
        for ascii_only in (False, True):
            shown = title(width, runs, ascii_only)
            assert re.sub(r"[^A-H]", "", shown.removeprefix(shown[:18])) == "ABCDEFGH"[:runs], shown


def test_settings_are_grouped_by_value(sides: list[Side]) -> None:
    shown = text_of(difference_parts(sides, 77))
    assert "optimizer.lr         A,C 0.1   B 0.05" in shown
    assert "seed                 A,B 40000   C 3" in shown
    assert "momentum" not in shown
    assert "same configuration" in text_of(difference_parts(sides[:1] * 2, 77))


def test_an_edited_length_is_a_different_setting(sides: list[Side]) -> None:
    run, curves = sides[0]
    assert run.status is not None
    edited = run.status.model_copy(update={"epochs": 12, "stop_at_accuracy": 85.0})
    shown = text_of(difference_parts([sides[0], Side(replace(run, status=edited, state=State.RUNNING), curves)], 77))
    assert "training.epochs            A 8   B 12" in shown and "A none   B 85" in shown


def test_what_is_not_tested_yet_is_said() -> None:
    assert "Testing" in text_of(paired_parts(None, 77))
    pair = compare.Pair(0, 1, None, ((1, "is running"),))
    assert text_of(paired_parts([pair], 77)) == "No paired test: B is running.\n"
