"""What the Run screen computes without Textual: the run's data, the time left, the ghost, the header's lines."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_tui.runs.metrics import EvalRecord, EventRecord, GpuSample, HostSample, SystemRecord, TrainRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui.eta import Remaining, evaluations_left, remaining
from fmnist_tui.tui.format import ASCII
from fmnist_tui.tui.ghost import find_ghost, load_ghost
from fmnist_tui.tui.metric_lines import MetricRecord, parse_lines
from fmnist_tui.tui.notes import Note
from fmnist_tui.tui.run_data import RunData, epoch_of, epoch_steps
from fmnist_tui.tui.widgets.run_header import Standing, header_lines
from fmnist_tui.tui.widgets.run_panels import narration_rows
from tests.tui.synthetic_runs import NOW, RUN_ID, Plan, ghost, make_run, preset, records


def data_of(lines: Sequence[MetricRecord], device: str = "cuda:0") -> RunData:
    data = RunData(device)
    data.extend(lines)
    return data


def line(step: int, **values: Any) -> TrainRecord:
    fields: dict[str, Any] = {
        "epoch": 1,
        "loss": 0.5,
        "loss_min": 0.4,
        "loss_max": 0.6,
        "lr": 0.1,
        "images_per_second": 1000.0,
    }
    return TrainRecord(step=step, **(fields | values))


def plain(lines: Iterable[Iterable[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


# --- data


def test_the_series_hold_every_line_however_they_come() -> None:
    lines = records(Plan(done=12.5, resume_at=6))
    whole, parts = data_of(lines), RunData("cuda:0")
    for start in range(0, len(lines), 37):
        parts.extend(lines[start : start + 37])
    train = [record for record in lines if isinstance(record, TrainRecord)]
    assert whole.loss.x.tolist() == [record.step for record in train]
    assert whole.loss.values.tolist() == [record.loss for record in train]
    assert whole.loss.high.tolist() == [record.loss_max for record in train]
    assert len(whole.evaluations) == 12 and len(whole.gpu) > 3
    for name in ("loss", "lr", "speed", "test_loss", "test_accuracy", "train_accuracy", "gpu", "cpu"):
        assert getattr(whole, name).x.tolist() == getattr(parts, name).x.tolist()
        assert getattr(whole, name).values.tolist() == getattr(parts, name).values.tolist()
    assert whole.sessions == parts.sessions and whole.best == parts.best
    assert [event.record.event for event in whole.events] == ["start", "stop", "resume"]


def test_a_run_that_went_back_to_a_checkpoint_forgets_what_it_left() -> None:
    lines = records(Plan(done=5.0))
    data = data_of(lines)
    before = data.best
    data.extend([line(300, epoch=3)])
    assert data.loss.x[-1] == 300 and data.lr.x[-1] == 300
    assert [record.epoch for record in data.evaluations] == [1, 2]
    assert data.best != before and data.best is not None and data.best.epoch <= 2
    assert (data.test_loss.x <= 300).all() and (data.gpu.x <= 300).all()


def test_an_evaluation_written_again_is_there_once() -> None:
    record = EvalRecord(
        epoch=1, step=118, test_loss=0.5, test_accuracy=80, train_loss=0.5, train_accuracy=80, seconds=1
    )
    data = data_of([record, record.model_copy(update={"test_accuracy": 81.0})])
    assert [item.test_accuracy for item in data.evaluations] == [81] and data.test_accuracy.values.tolist() == [81]


def test_a_resume_told_with_an_old_step_lies_where_the_lines_end() -> None:
    data = data_of([line(100), EventRecord(event="resume", step=500, epoch=5)])
    assert data.events[0].step == 100 and data.session.lines == 1


def test_gpu_samples_are_those_of_the_device_of_the_run() -> None:
    gpus = [GpuSample(index=index, name="g", utilization=10.0 * index) for index in range(3)]
    sample = SystemRecord(gpus=gpus, host=HostSample(cpu_percent=7.0))
    assert data_of([sample], "cuda:2").gpu.values.tolist() == [20]
    assert data_of([sample], "cuda:1,2").gpu.values.tolist() == [15], "the mean of those it trains on"
    assert data_of([sample], "cuda").gpu.values.tolist() == [10]
    on_cpu = data_of([sample], "cpu")
    assert len(on_cpu.gpu) == 0 and on_cpu.cpu.values.tolist() == [7]
    unknown = SystemRecord(gpus=[GpuSample(index=0, name="g")])
    assert len(data_of([unknown], "cuda:0").gpu) == 0, "what the driver does not tell is no point and no mark"


def test_200_000_lines_are_taken_in() -> None:
    text = line(12345).to_json().replace("12345", "%d")
    lines = [(text % step).encode() for step in range(1, 200_001)]
    lines[777] = line(778, loss=math.nan).to_json().encode()
    data = data_of(parse_lines(lines))
    assert len(data.loss) == 199_999 and data.loss.marks[0].x == 778
    assert data.last_step == 200_000


def test_epochs_of_steps() -> None:
    assert [epoch_of(step, 118) for step in (0, 1, 118, 119, 236, 237)] == [1, 1, 1, 2, 2, 3]
    config = preset()
    assert epoch_steps(None, config) == 118 and epoch_steps(None, None) == 1


# --- time left


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


# --- ghost


def test_the_ghost_is_the_best_earlier_finished_run_of_the_preset(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, Plan(done=3.0))
    best, lines = ghost(tmp_path)
    assert best.result is not None and best.config is not None
    worse = replace(best, result=best.result.model_copy(update={"test_accuracy": 10.0}))
    assert find_ghost(run, [run, worse, best]) is best
    assert find_ghost(best, [run, best]) is None, "a later run is no ghost, nor is the run itself"
    other = replace(best, config=best.config.model_copy(update={"preset": "dpn"}))
    stopped = replace(best, state=State.STOPPED)
    assert find_ghost(run, [other, stopped]) is None
    evaluations = load_ghost(best.directory)
    assert evaluations == [record for record in lines if isinstance(record, EvalRecord)]
    assert load_ghost(replace(best.directory, path=tmp_path / "gone")) == []


# --- header


def standing_of(
    tmp_path: Path, plan: Plan, state: State = State.RUNNING, left: Remaining | None = None, **changes: Any
) -> Standing:
    run, lines = make_run(tmp_path, plan, state, write=False, **changes)
    data = data_of(lines)
    return Standing(RUN_ID, run, plan.per_epoch, int(data.last_step), left)


def test_the_header_says_who_how_far_how_long_and_how_good(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=36.7), left=Remaining(302.0, 320.0))
    who, overall, pace, measures = plain(header_lines(standing, NOW, 80))
    assert who.startswith(f" ● wrn   {RUN_ID}") and who.endswith("running on cuda:0 ")
    assert "epoch 37 of 200" in overall and "18.3 %" in overall
    assert "82/118" in pace and "img/s" in pace and "5m 02s – 5m 20s left, " in pace
    assert standing.run is not None and standing.run.status is not None
    status = standing.run.status
    assert f"test {status.test_accuracy:.2f} %" in measures and f"({status.best_epoch})" in measures
    assert "reference 93.28 %" in measures and "lr 0.1" in measures


def test_the_bars_are_as_long_as_they_should(tmp_path: Path) -> None:
    _, overall, _, _ = plain(header_lines(standing_of(tmp_path, Plan(done=100.0)), NOW, 80))
    filled, rest = overall.count("━") + 0.5 * overall.count("╸"), overall.count("─")
    assert abs(filled - rest) <= 1


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("state", list(State))
def test_no_line_is_wider_than_the_screen(tmp_path: Path, width: int, state: State) -> None:
    standing = standing_of(tmp_path, Plan(done=3.4), state, left=Remaining(3000.0, 99_999.0))
    for shown in (standing, replace(standing, deleted=True), replace(standing, run=None)):
        lines = header_lines(shown, NOW, width)
        assert len(lines) == 4
        if width >= 40:
            assert all(len(text) <= width for text in plain(lines)[:2]), plain(lines)
        if width >= 80:
            assert all(len(text) <= width for text in plain(lines)), plain(lines)


def test_the_end_of_a_run_is_told_instead_of_the_time_left(tmp_path: Path) -> None:
    plan = Plan(config=preset(training__epochs=3), done=3.0, resume_at=1)
    pace = plain(header_lines(replace(standing_of(tmp_path, plan, State.FINISHED), starts=2), NOW, 80))[2]
    assert "finished today" in pace and "14m 53s at work" in pace and "2 starts" in pace and "left" not in pace
    lost = plain(header_lines(standing_of(tmp_path, Plan(done=3.0), State.LOST), NOW, 80))[2]
    assert "last heard of today" in lost and "left" not in lost


def test_a_queued_run_has_no_pace_but_a_place_and_a_time_to_its_start(tmp_path: Path) -> None:
    behind: dict[str, Any] = {"queue_place": 2, "queue_behind": RUN_ID, "starts_in_seconds": 31.0, "device": "cpu"}
    standing = standing_of(tmp_path, Plan(done=0.0), State.QUEUED, **behind)
    pace = plain(header_lines(standing, NOW, 120))[2]
    assert "starts in 31s, waits since " in pace and f"2nd on cpu, behind {RUN_ID}" in pace
    assert "measuring" not in pace and "img/s" not in pace


def test_a_resumed_run_that_starts_has_no_time_left_yet(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=3.4), State.STARTING, left=Remaining(2.0, 4.0))
    assert "time left: measuring" in plain(header_lines(standing, NOW, 120))[2]


def test_a_silent_run_is_told(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=3.0))
    assert "no heartbeat for 40s" in plain(header_lines(standing, NOW + timedelta(seconds=40), 80))[0]


def test_the_phase_is_told(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=3.0), phase="evaluating")
    assert "running on cuda:0, evaluating" in plain(header_lines(standing, NOW, 80))[0]


def test_an_ascii_header_is_ascii(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=3.4), left=Remaining(302.0, 320.0))
    assert "".join(plain(header_lines(standing, NOW, 80, ASCII))).isascii()


# --- narration rows


def test_notes_are_wrapped_and_what_to_press_is_kept() -> None:
    error = Note("error", 7, "Failed in epoch 7: " + "a long explanation of what went wrong here " * 8)
    remedy = Note("error", 7, "Press r to resume from the last checkpoint, l for the log, d to delete it.")
    rows = narration_rows([error, remedy, Note("good", 1, "Passed.")], 80, 4)
    assert len(rows) == 4 and rows[2][2].endswith("…") and rows[3][2] == remedy.text
    assert all(len(text) <= 77 for _, _, text in rows)
    assert narration_rows([error, remedy], 80, 1)[0][2].endswith("…")


def test_a_note_that_does_not_fit_after_another_is_left_out() -> None:
    long = Note("info", 1, "word " * 40)
    assert len(narration_rows([Note("good", 1, "Passed."), long], 80, 2)) == 1
    assert narration_rows([], 80, 2) == []


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
