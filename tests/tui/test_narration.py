"""Each sentence of the narration on the training itself: when it is said, when it is not, and what it says."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.runs.metrics import EvalRecord, EventRecord, TrainRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui import narration
from fmnist_tui.tui.notes import Surroundings, surroundings
from fmnist_tui.tui.run_data import RunData
from tests.tui.narrated import AROUND, around, data_of, line
from tests.tui.synthetic_runs import Plan, make_run, records

# --- loss not finite


def test_a_loss_that_is_not_finite_is_an_error_with_its_step() -> None:
    note = narration.not_finite(data_of(line(100), line(812, math.nan), line(900)), AROUND)
    assert note is not None and note.level == "error" and note.epoch == 9
    assert note.text == "Loss was not finite (NaN) by step 812, epoch 9."


def test_more_of_them_are_counted() -> None:
    note = narration.not_finite(data_of(line(10, math.inf), line(20, math.nan), line(30, math.nan)), AROUND)
    assert note is not None and note.text.endswith("(inf) by step 10, epoch 1, and 2 times since.")


def test_what_the_runs_error_says_is_not_said_twice(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, Plan(done=8, nan_at=812), State.FAILED, error="loss is NaN at step 812", write=False)
    data = data_of(line(100), line(812, math.nan))
    assert narration.not_finite(data, surroundings(run, None)) is None
    run, _ = make_run(tmp_path, Plan(done=8, nan_at=812), State.FAILED, error="out of memory", write=False)
    assert narration.not_finite(data, surroundings(run, None)) is not None


def test_a_finite_loss_is_no_news() -> None:
    assert narration.not_finite(data_of(line(100), line(200)), AROUND) is None


# --- learning rate


def rates(*values: float) -> RunData:
    return data_of(*(line(50 * (i + 1), lr=value) for i, value in enumerate(values)))


def test_a_step_of_the_learning_rate_is_told_with_its_epoch() -> None:
    note = narration.rate_drop(rates(0.1, 0.1, 0.1, 0.1, 0.02, 0.02), AROUND)
    assert note is not None and note.text == "Learning rate dropped from 0.1 to 0.02 in epoch 3."


def test_it_is_told_at_the_first_line_of_the_new_rate() -> None:
    assert narration.rate_drop(rates(0.1, 0.1, 0.02), AROUND) is not None


def test_a_smooth_decay_is_no_step() -> None:
    assert rates(*(0.1 * 0.6**i for i in range(20))).rate_steps == []
    assert rates(*(0.05 * (1 + math.cos(math.pi * i / 40)) for i in range(41))).rate_steps == []


def test_a_step_is_no_news_for_ever() -> None:
    flat = [0.1] * 4 + [0.02] * 60
    assert len(rates(*flat).rate_steps) == 1
    assert narration.rate_drop(rates(*flat), around(epochs=20)) is None


def test_steps_are_found_however_the_lines_come() -> None:
    values = [0.1] * 10 + [0.02] * 10 + [0.004] * 10
    lines = [line(50 * (i + 1), lr=value) for i, value in enumerate(values)]
    at_once, one_by_one = RunData(), RunData()
    at_once.extend(lines)
    for item in lines:
        one_by_one.extend([item])
        assert one_by_one.rate_steps is not None
    assert [(s.step, s.before, s.after) for s in at_once.rate_steps] == [(550, 0.1, 0.02), (1050, 0.02, 0.004)]
    assert one_by_one.rate_steps == at_once.rate_steps


# --- speed


def speeds(*values: float) -> RunData:
    return data_of(*(line(10 * (i + 1), speed=value) for i, value in enumerate(values)))


def test_a_lasting_fall_of_the_speed_is_a_warning() -> None:
    note = narration.speed_fell(speeds(*[1000.0] * 60, *[480.0] * 12), AROUND)
    assert note is not None and note.level == "warning"
    assert note.text == "Speed fell by half, from 1,000 to 480 img/s, in epoch 7."


def test_it_is_still_told_when_the_slow_stretch_is_long() -> None:
    note = narration.speed_fell(speeds(*[1000.0] * 60, *[300.0] * 100), AROUND)
    assert note is not None and "to 30 %" in note.text and "in epoch 7" in note.text


def test_a_short_dip_warm_up_and_noise_are_not() -> None:
    assert narration.speed_fell(speeds(*[1000.0] * 60, 200.0, 200.0), AROUND) is None
    assert narration.speed_fell(speeds(50.0, *[1000.0] * 60), AROUND) is None
    assert narration.speed_fell(speeds(*([1000.0, 850.0] * 40)), AROUND) is None
    assert narration.speed_fell(speeds(*[1000.0] * 10, *[100.0] * 10), AROUND) is None, "too few to tell"


def test_a_slower_machine_after_a_resume_is_not_a_fall() -> None:
    data = data_of(*(line(10 * (i + 1), speed=1000.0) for i in range(60)))
    data.extend([EventRecord(event="resume", step=600, epoch=6)])
    data.extend([line(600 + 10 * (i + 1), speed=300.0) for i in range(60)])
    assert narration.speed_fell(data, AROUND) is None


def test_images_that_grow_are_no_fall_and_a_fall_after_it_is() -> None:
    grows = around(low_resolution_epochs=6, low_resolution=20)
    assert narration.speed_fell(speeds(*[1000.0] * 60, *[480.0] * 12), grows) is None
    assert narration.speed_fell(speeds(*[1000.0] * 60, *[480.0] * 40), grows) is None
    note = narration.speed_fell(speeds(*[1000.0] * 60, *[480.0] * 40, *[200.0] * 12), grows)
    assert note is not None and note.text == "Speed fell by half, from 480 to 200 img/s, in epoch 11."
    note = narration.speed_fell(speeds(*[1000.0] * 40, *[480.0] * 12), grows)
    assert note is not None, "while they are small"


# --- what the worker warns of


def event(kind: str, message: str = "", epoch: int = 1, **data: Any) -> EventRecord:
    return EventRecord(event=kind, message=message, step=100 * epoch, epoch=epoch, data=data)


FULL = event("warning", "the run's files cannot be written: No space left on device", 3, trouble="disk")
WELL = event("warning", "the run's files can be written again", 4, trouble="disk", over=True)


def warned(*events: EventRecord, at: int = 500, **changes: Any) -> list[tuple[str, str]]:
    notes = narration.worker_warnings(data_of(*events, line(at)), around(**({"worker_since": 0.0} | changes)))
    return [(note.level, note.text) for note in notes]


def test_the_workers_warnings_are_sentences_the_newest_first() -> None:
    said = warned(event("warning", "runs beside x on cpu"), event("start"), FULL, event("warning", "it is slow.", 4))
    assert said == [
        ("warning", "It is slow."),
        ("warning", "The run's files cannot be written: No space left on device."),
        ("warning", "Runs beside x on cpu."),
    ]


def test_a_trouble_is_told_until_it_is_over_and_anything_else_while_it_is_news() -> None:
    assert warned(event("start"), FULL, WELL) == [("info", "The run's files can be written again.")]
    late = warned(event("start"), event("warning", "it is slow"), FULL, at=6000)
    assert [text[:15] for _, text in late] == ["The run's files"]
    assert warned(event("start"), event("warning", "it is slow"), FULL, WELL, at=6000) == []
    again = warned(event("start"), FULL, WELL, event("warning", "the run's files cannot be written", 5, trouble="disk"))
    assert again == [("warning", "The run's files cannot be written.")]


def test_how_long_a_run_takes_is_no_news_once_its_length_was_changed() -> None:
    slow = event("warning", "this run takes about 5 hours", eta_seconds=18000.0)
    assert warned(event("start"), slow, event("edit", stop_at_accuracy=90.0)) != []
    assert warned(event("start"), slow, event("edit", epochs=3)) == []


def test_warnings_of_an_earlier_start_and_of_a_run_that_has_ended_are_no_news() -> None:
    old = event("warning", "old").model_copy(update={"time": "2026-11-23T12:00:00Z"})
    new = event("warning", "runs beside x").model_copy(update={"time": "2026-11-23T12:30:00Z"})
    began = datetime.fromisoformat("2026-11-23T12:29:59Z").timestamp()
    assert warned(event("start"), old, new, worker_since=began) == [("warning", "Runs beside x.")]
    assert warned(old, worker_since=None) == [], "one that waits for Slurm has no worker"
    assert warned(event("start"), event("warning", "slow"), FULL, event("finish"), ended=True) == [
        ("warning", "The run's files cannot be written: No space left on device.")
    ]


def test_warnings_never_push_away_a_loss_that_is_not_finite() -> None:
    many = [event("warning", f"number {n}", n) for n in range(1, 9)]
    notes = narration.narrate(
        data_of(event("start"), line(100, loss=math.nan), *many, line(900)), around(worker_since=0.0)
    )
    assert notes[0].level == "error" and "NaN" in notes[0].text
    assert [note.text for note in notes[1:]] == ["Number 8.", "Number 7.", "Number 6."]


# --- all together


def test_errors_come_first_then_warnings_then_news() -> None:
    plan = Plan(done=40, slow_from=30, overfit_from=14, nan_at=4600)
    data = RunData()
    data.extend(records(plan))
    notes = narration.narrate(data, Surroundings(per_epoch=118, epochs=200, reference=93.28, milestones=(60,)))
    assert [note.level for note in notes] == sorted((n.level for n in notes), key=narration._ORDER.index)
    assert notes[0].level == "error" and "NaN" in notes[0].text
    assert any("rising since epoch" in note.text for note in notes)
    assert any("Speed fell by half" in note.text for note in notes)


@pytest.mark.parametrize("seed", range(6))
def test_an_ordinary_noisy_run_is_never_warned_about(seed: int) -> None:
    lines = records(Plan(done=58, seed=seed, lines_every=118))
    for epoch in range(5, 58, 3):
        data = RunData()
        data.extend([line for line in lines if isinstance(line, TrainRecord | EvalRecord) and line.epoch <= epoch])
        notes = narration.narrate(data, Surroundings(per_epoch=118, epochs=200))
        assert not [note for note in notes if note.level in ("error", "warning")]


def test_nothing_is_said_of_nothing() -> None:
    assert narration.narrate(RunData(), AROUND) == []
