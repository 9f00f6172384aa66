"""What became of a run that is not at work, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.runs.status import State
from fmnist_tui.tui.notes import sentence
from fmnist_tui.tui.outcome import outcome
from tests.tui.synthetic_runs import NOW, Plan, make_run, preset


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        (State.STOPPED, {}, ["Stopped after epoch 3, step 354. It has no checkpoint to go on from: press C"]),
        (State.STOPPED, {"epoch": 2}, ["r to start it again"]),
        (State.STOPPED, {"step": 300}, ["Stopped in epoch 3, step 300."]),
        (
            State.FAILED,
            {"error": "loss is NaN at step 300\ntrace"},
            ["Failed in epoch 3: loss is NaN at step 300", "l"],
        ),
        (State.FAILED, {"epoch": 1, "test_accuracy": None}, ["r to start it again", "C to change a copy"]),
        (State.FAILED, {"error": None, "epoch": 0}, ["the log says why", "r to start it again"]),
        (State.LOST, {"epoch": 1}, ["process is gone", "last heard of", "r to start it again", "d to delete"]),
        (State.LOST, {}, ["process is gone", "no checkpoint to go on from", "C to train a copy", "d to delete"]),
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


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.LOST])
def test_where_there_is_a_checkpoint_r_goes_on_from_it(tmp_path: Path, state: State) -> None:
    run, _ = make_run(tmp_path, Plan(done=3.0), state, write=False)
    checkpoint = run.directory.checkpoint("last")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    *_, remedy = outcome(run, NOW)
    assert "Press r to resume from the last checkpoint" in remedy.text


def test_a_finished_run_is_summed_up(tmp_path: Path) -> None:
    run, _ = make_run(
        tmp_path, Plan(config=preset(training__epochs=5), done=5.0, shift=10), State.FINISHED, write=False
    )
    (note,) = outcome(run, NOW)
    assert note.level == "good" and note.text.startswith("Finished: ") and "above the reference" in note.text


def test_a_run_that_an_accuracy_ended_says_so(tmp_path: Path) -> None:
    plan = Plan(config=preset(training__epochs=5), done=5.0)
    run, _ = make_run(tmp_path, plan, State.FINISHED, write=False, epochs=9, stop_at_accuracy=50.0)
    (note,) = outcome(run, NOW)
    assert note.text.endswith(" the reference. It was to stop at 50 %, and did after epoch 5 of 9.")
    for changes in ({"epochs": 5, "stop_at_accuracy": 50.0}, {"epochs": 9, "stop_at_accuracy": None}):
        run, _ = make_run(tmp_path, plan, State.FINISHED, write=False, **changes)
        assert "was to stop" not in outcome(run, NOW)[0].text


def test_a_run_at_work_has_no_outcome(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, Plan(done=3.0), write=False)
    assert outcome(run, NOW) == []


def test_a_file_is_called_by_its_own_name_also_at_the_beginning_of_a_sentence(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, Plan(done=3.0), write=False)
    (note,) = outcome(replace(run, problem="config.json is damaged"), NOW)
    assert note.text == "config.json is damaged."
    assert sentence("training.batch_size is 1") == "training.batch_size is 1."
    assert sentence("out of memory at step 3. Halve it") == "Out of memory at step 3. Halve it."
