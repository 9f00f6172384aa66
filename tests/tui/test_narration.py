"""Each sentence of the narration: when it is said, when it is not, and what it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, TrainRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui import narration
from fmnist_tui.tui.narration import Ghost, Surroundings
from fmnist_tui.tui.outcome import outcome
from fmnist_tui.tui.run_data import RunData
from tests.tui.synthetic_runs import NOW, Plan, make_run, preset, records

AROUND = Surroundings(per_epoch=100, epochs=200)


def evaluations(accuracies: Sequence[float], losses: Sequence[float] | None = None) -> list[EvalRecord]:
    losses = losses or [0.2] * len(accuracies)
    return [
        EvalRecord(
            epoch=epoch,
            step=100 * epoch,
            test_loss=loss,
            test_accuracy=accuracy,
            train_loss=0.1,
            train_accuracy=99.0,
            seconds=1.0,
        )
        for epoch, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), 1)
    ]


def line(step: int, loss: float = 0.2, lr: float = 0.1, speed: float = 1000.0) -> TrainRecord:
    return TrainRecord(
        step=step,
        epoch=(step - 1) // 100 + 1,
        loss=loss,
        loss_min=loss,
        loss_max=loss,
        lr=lr,
        images_per_second=speed,
    )


def data_of(*lines: TrainRecord | EventRecord) -> RunData:
    data = RunData()
    data.extend(lines)
    return data


def around(**values: Any) -> Surroundings:
    return replace(AROUND, **values)


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
    assert narration.not_finite(data, narration.surroundings(run, None)) is None
    run, _ = make_run(tmp_path, Plan(done=8, nan_at=812), State.FAILED, error="out of memory", write=False)
    assert narration.not_finite(data, narration.surroundings(run, None)) is not None


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


def test_why_accuracy_is_low_at_low_resolution_is_told_until_it_is_over() -> None:
    low = around(low_resolution_epochs=3, low_resolution=20)
    note = narration.low_resolution(evaluations([50, 60, 65]), low)
    assert note is not None and note.level == "info"
    assert note.text == "Trains at 20 px up to epoch 3; at 28 px test accuracy is low until then."
    assert narration.low_resolution(evaluations([50, 60, 65, 93]), low) is None
    assert narration.low_resolution([], low) is None and narration.low_resolution(evaluations([90]), AROUND) is None
    assert narration.low_resolution(evaluations([50]), around(low_resolution_epochs=3, ended=True)) is None


def test_the_resolution_is_that_of_the_run(tmp_path: Path) -> None:
    config = with_changes(load_preset("turbo-long"), {"training.epochs": 12})
    run = store.load_run(starting.create_run(tmp_path, config))
    here = narration.surroundings(run, None)
    assert (here.low_resolution, here.low_resolution_epochs) == (20, 6)


# --- test loss


RISING = [0.5, 0.4, 0.3, 0.25, 0.22, 0.2, 0.2, 0.2, 0.2, 0.21, 0.22, 0.23, 0.24, 0.25, 0.26, 0.27, 0.28]


def test_test_loss_rising_while_accuracy_holds() -> None:
    note = narration.rising_test_loss(evaluations([90.0] * 17, RISING))
    assert note is not None and note.level == "warning"
    assert note.text == "Test loss has been rising since epoch 8 while accuracy holds."


def test_test_loss_rising_and_accuracy_falling() -> None:
    note = narration.rising_test_loss(evaluations([90.0] * 10 + [89, 88, 87, 86, 85, 84, 83], RISING))
    assert note is not None and "accuracy is falling" in note.text


@pytest.mark.parametrize(
    "losses",
    [
        [0.5, 0.4, 0.3, 0.25, 0.22, 0.2, 0.19, 0.18, 0.17, 0.16, 0.15, 0.15],
        [0.2, 0.17, 0.23, 0.2, 0.19, 0.24, 0.21, 0.17, 0.19, 0.2, 0.23, 0.24, 0.21, 0.22],
        [0.5, 0.4, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3],
        [0.2, 0.3],
        [*[0.2] * 6, math.nan, *[0.3] * 8],
    ],
)
def test_a_falling_noisy_short_or_broken_test_loss_is_not_rising(losses: list[float]) -> None:
    assert narration.rising_test_loss(evaluations([90.0] * len(losses), losses)) is None


# --- accuracy


def test_passing_the_reference_is_told_with_its_epoch() -> None:
    note = narration.passed_reference(evaluations([90, 93.2, 93.3, 93.1, 94]), around(reference=93.2775))
    assert note is not None and note.level == "good"
    assert note.text == "Test accuracy passed the reference (93.28 %) in epoch 3."


def test_a_reference_not_passed_or_not_there_is_not() -> None:
    assert narration.passed_reference(evaluations([90, 93.2]), around(reference=93.2775)) is None
    assert narration.passed_reference(evaluations([90, 99]), AROUND) is None


def test_a_new_best_is_told_while_it_is_the_newest() -> None:
    note = narration.new_best(evaluations([80, 85, 90, 91, 90, 90.5, 91.25]), AROUND)
    assert note is not None and note.text == "New best test accuracy: 91.25 % in epoch 7 (+0.25)."
    assert narration.new_best(evaluations([80, 85, 90, 91, 90, 91.25, 91.0]), AROUND) is None
    assert narration.new_best(evaluations([80, 85, 90]), AROUND) is None, "in the beginning each one is"
    assert narration.new_best(evaluations([80, 85, 90, 91, 90, 90.5, 91.25]), around(ended=True)) is None


def test_a_plateau_says_when_the_rate_drops_next() -> None:
    accuracies = [80, 90, 93] + [92.5] * 24
    note = narration.plateau(evaluations(accuracies), around(milestones=(60, 120)))
    assert note is not None
    assert note.text == (
        "No better test accuracy for 24 epochs (best 93.00 % in epoch 3); the learning rate drops in epoch 60."
    )


def test_a_small_gain_does_not_end_a_plateau_and_a_real_one_does() -> None:
    assert narration.plateau(evaluations([80, 90, 93] + [93.02] * 24), AROUND) is not None
    assert narration.plateau(evaluations([80, 90, 93] + [92.5] * 22 + [93.4, 93.1]), AROUND) is None
    assert narration.plateau(evaluations([80, 90, 93] + [92.5] * 10), AROUND) is None
    assert narration.plateau(evaluations([80, 90, 93] + [92.5] * 24), around(ended=True)) is None


def test_ahead_of_and_behind_the_ghost_at_the_same_epoch() -> None:
    steady = [90, 90.1, 90.2, 90.1, 90.2, 90.3]
    ghost = Ghost("the best wrn run", evaluations([*steady, 99, 99]))
    ahead = narration.against_ghost(evaluations([value + 1 for value in steady]), around(ghost=ghost))
    assert ahead is not None and ahead.text == "1.00 points ahead of the best wrn run at the same epoch."
    behind = narration.against_ghost(evaluations([value - 1 for value in steady]), around(ghost=ghost))
    assert behind is not None and behind.text == "1.00 points behind the best wrn run at the same epoch."


def test_a_difference_within_the_noise_is_a_tie() -> None:
    noisy = [90, 92, 89.5, 91.5, 90, 92]
    ghost = Ghost("the best wrn run", evaluations(noisy))
    assert narration.against_ghost(evaluations([value + 1 for value in noisy]), around(ghost=ghost)) is None


def test_a_tie_or_a_ghost_that_was_shorter_is_not_compared() -> None:
    ghost = Ghost("the best wrn run", evaluations([90.0] * 8))
    assert narration.against_ghost(evaluations([90.1] * 8), around(ghost=ghost)) is None
    assert narration.against_ghost(evaluations([95.0] * 8), around(ghost=ghost)) is not None
    assert narration.against_ghost(evaluations([95.0] * 9), around(ghost=ghost)) is None
    assert narration.against_ghost(evaluations([95.0] * 8), AROUND) is None


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


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        (State.STOPPED, {}, ["Stopped in epoch 3", "r to resume"]),
        (
            State.FAILED,
            {"error": "loss is NaN at step 300\ntrace"},
            ["Failed in epoch 3: loss is NaN at step 300", "l"],
        ),
        (State.FAILED, {"error": None, "epoch": 0}, ["the log says why", "r to start it again"]),
        (State.LOST, {}, ["process is gone", "last heard of", "r to resume", "d to delete"]),
        (State.QUEUED, {}, ["Queued"]),
    ],
)
def test_what_became_of_a_run_and_what_to_press(
    tmp_path: Path, state: State, changes: dict[str, Any], words: list[str]
) -> None:
    run, _ = make_run(tmp_path, Plan(done=3.0), state, write=False, **changes)
    text = " ".join(note.text for note in outcome(run, NOW + timedelta(minutes=5)))
    for word in words:
        assert word in text
    assert "trace" not in text


def test_a_finished_run_is_summed_up(tmp_path: Path) -> None:
    run, _ = make_run(
        tmp_path, Plan(config=preset(training__epochs=5), done=5.0, shift=10), State.FINISHED, write=False
    )
    (note,) = outcome(run, NOW)
    assert note.level == "good" and note.text.startswith("Finished: ") and "above the reference" in note.text


def test_a_run_at_work_has_no_outcome(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, Plan(done=3.0), write=False)
    assert outcome(run, NOW) == []
