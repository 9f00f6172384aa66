"""The time left of a run: a range that holds what it will take."""

from __future__ import annotations

import statistics
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_tui.runs.metrics import TrainRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui.eta import Remaining, evaluations_left, remaining
from tests.tui.synthetic_runs import NOW, Plan, data_of, make_run, preset


def left_of(
    tmp_path: Path, plan: Plan, now: datetime = NOW, state: State = State.RUNNING, **changes: Any
) -> Remaining | None:
    run, lines = make_run(tmp_path, plan, state, write=False, **changes)
    return remaining(run, data_of(lines), now)


def true_seconds(plan: Plan) -> float:
    """What the synthetic trainer takes for the rest, without noise."""
    images = (200 - plan.done) * 30_000
    return images / plan.speed + (200 - int(plan.done)) * 1.3


def test_the_range_holds_what_it_will_take_and_is_narrow(tmp_path: Path) -> None:
    plan = Plan(done=36.7)
    found = left_of(tmp_path, plan)
    assert found is not None and found.low < found.high
    assert found.low * 0.97 < true_seconds(plan) < found.high * 1.03
    assert found.high / found.low < 1.1


def test_warm_up_is_left_out(tmp_path: Path) -> None:
    slow_start = left_of(tmp_path, Plan(done=0.4))
    assert slow_start is not None and slow_start.high < 2 * true_seconds(Plan(done=0.4))


def test_evaluations_count(tmp_path: Path) -> None:
    with_them = left_of(tmp_path, Plan(done=36.7))
    config = preset(training__eval_every=200)
    without = left_of(tmp_path, Plan(config=config, done=36.7))
    assert with_them is not None and without is not None
    assert with_them.low - without.low > 100


def test_a_fall_of_the_speed_is_felt_at_once(tmp_path: Path) -> None:
    before, after, later = (
        left_of(tmp_path, plan)
        for plan in (Plan(done=36.0), Plan(done=37.9, slow_from=36), Plan(done=44.0, slow_from=36))
    )
    assert before is not None and after is not None and later is not None
    assert after.high > 1.5 * before.high and after.low <= before.high, "it may be fast again"
    assert later.low > 1.3 * before.high, "it is slow by now"


def test_what_was_slow_before_is_not_expected_of_every_epoch_to_come(tmp_path: Path) -> None:
    plan = Plan(done=37.99, speed=9870.0 / 2)  # somebody else was at work until the 38th epoch
    run, lines = make_run(tmp_path, plan, write=False)
    lines = [
        record.model_copy(update={"images_per_second": 2 * record.images_per_second})
        if isinstance(record, TrainRecord) and record.epoch == 38
        else record
        for record in lines
    ]
    found = remaining(run, data_of(lines), NOW)
    assert found is not None and found.low < 1.25 * true_seconds(Plan(done=37.99))


def test_a_resumed_run_is_measured_anew(tmp_path: Path) -> None:
    plan = Plan(done=36.7, resume_at=30)
    run, lines = make_run(tmp_path, plan, write=False)
    lines = [
        record.model_copy(update={"images_per_second": record.images_per_second / 10})
        if isinstance(record, TrainRecord) and record.epoch <= 30
        else record
        for record in lines
    ]
    found = remaining(run, data_of(lines), NOW)
    assert found is not None and found.low * 0.97 < true_seconds(plan) < found.high * 1.03
    just_resumed = [r for r in lines if not (isinstance(r, TrainRecord) and r.epoch > 30)]
    assert remaining(run, data_of(just_resumed), NOW) is None, "nothing is measured yet"


@pytest.mark.parametrize("state", [State.LOST, State.FINISHED, State.FAILED, State.STOPPED, State.STOPPING])
def test_a_run_not_at_work_has_no_time_left(tmp_path: Path, state: State) -> None:
    assert left_of(tmp_path, Plan(done=36.7), state=state) is None


def test_the_range_expires_with_the_heartbeat_and_counts_down_before(tmp_path: Path) -> None:
    now = left_of(tmp_path, Plan(done=36.7))
    later = left_of(tmp_path, Plan(done=36.7), now=NOW + timedelta(seconds=2))
    assert now is not None and later is not None and later.low == pytest.approx(now.low - 2)
    assert left_of(tmp_path, Plan(done=36.7), now=NOW + timedelta(seconds=120)) is None


def test_a_step_limit_and_an_edit_of_the_epochs_are_kept_to(tmp_path: Path) -> None:
    limited = left_of(tmp_path, Plan(config=preset(training__max_steps=4_800), done=36.7))
    assert limited is not None and limited.high < 30
    longer, usual = left_of(tmp_path, Plan(done=36.7), epochs=400), left_of(tmp_path, Plan(done=36.7))
    assert longer is not None and usual is not None and longer.low > 2 * usual.high


@pytest.mark.parametrize(
    ("step", "evaluated", "total", "every", "expected"),
    [
        (0, 0, 1000, 1, 10),
        (450, 400, 1000, 1, 6),
        (500, 400, 1000, 1, 6),
        (500, 500, 1000, 1, 5),
        (450, 0, 1000, 3, 3),
        (1000, 900, 1000, 1, 1),
        (1000, 1000, 1000, 1, 0),
        (450, 400, 730, 1, 4),
    ],
)
def test_evaluations_left(step: int, evaluated: int, total: int, every: int, expected: int) -> None:
    assert evaluations_left(step, evaluated, total, 100, every) == expected


def test_the_spread_of_the_range_is_that_of_the_speeds(tmp_path: Path) -> None:
    run, lines = make_run(tmp_path, Plan(done=20.0), write=False)
    rng = np.random.default_rng(0)
    wide = [
        r.model_copy(update={"images_per_second": float(r.images_per_second * rng.choice([0.5, 1.5]))})
        if isinstance(r, TrainRecord)
        else r
        for r in lines
    ]
    narrow, broad = remaining(run, data_of(lines), NOW), remaining(run, data_of(wide), NOW)
    assert narrow is not None and broad is not None
    assert (broad.high - broad.low) > 5 * (narrow.high - narrow.low)
    assert statistics.fmean(broad) > 0
