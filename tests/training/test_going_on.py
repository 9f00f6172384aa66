"""Which checkpoints a run has once it goes on: after a kill between two of them, and from another than the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fmnist_tui.runs.files import LineWriter
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord
from fmnist_tui.training import checkpoint
from fmnist_tui.training.desk import Desk
from fmnist_tui.training.evaluations import Evaluations
from fmnist_tui.training.job import Stopped
from tests.events import messages
from tests.training.tiny import Trainer, tiny_config
from tests.training.whole_runs import result_of, stop_at, without_clock


class Killed(BaseException):
    pass


@pytest.fixture
def accuracies(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says what the evaluation of each epoch comes to."""
    take_in = Evaluations.take_in

    def set_accuracies(*values: float) -> None:
        def as_said(self: Evaluations, found: Any, seconds: float) -> None:
            take_in(self, replace(found, accuracy=values[self._progress.epoch - 1]), seconds)

        monkeypatch.setattr(Evaluations, "take_in", as_said)

    return set_accuracies


def killed_at(step: int) -> Callable[[Desk], None]:
    """`Desk.after_step` of a worker that is killed after a step, and notices nothing until then."""

    def after_step(self: Desk) -> None:
        if self.progress.step == step:
            raise Killed

    return after_step


def progress_of(run: RunDirectory, which: str) -> dict[str, Any]:
    found: dict[str, Any] = checkpoint.read(run.checkpoint(which))["progress"]
    return found


def test_killed_before_the_best_checkpoint_had_its_name(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, accuracies: Callable[..., None]
) -> None:
    """last.pt of the best epoch is on the disk, best.pt is still of an earlier one."""
    accuracies(20.0, 90.0, 30.0)
    mark_best, marked = checkpoint.mark_best, []

    def killed(run: RunDirectory) -> None:
        marked.append(run)
        if len(marked) == 2:
            raise Killed
        mark_best(run)

    run = trainer.create(tiny_config())
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "mark_best", killed)
        with pytest.raises(Killed):
            trainer.train(run)
    assert (progress_of(run, "last")["best_epoch"], progress_of(run, "best")["best_epoch"]) == (2, 1)
    trainer.train(run)
    assert result_of(run).best_epoch == 2
    assert (progress_of(run, "best")["best_epoch"], progress_of(run, "best")["step"]) == (2, 10)


@pytest.mark.parametrize("which", ["best", "previous"])
def test_killed_before_the_first_checkpoint_from_another_than_the_last(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, accuracies: Callable[..., None], which: Any
) -> None:
    """It went back to epoch 1's end; the next start goes on from there too, not behind a gap in the metric lines."""
    accuracies(90.0, 20.0, 30.0)
    run = trainer.create(tiny_config())
    with monkeypatch.context() as patch:
        stop_at(trainer, patch, 10 if which == "previous" else 12)
        with pytest.raises(Stopped):
            trainer.train(run)

    with monkeypatch.context() as patch:
        patch.setattr(Desk, "after_step", killed_at(7))
        with pytest.raises(Killed):
            trainer.train(run, LaunchRequest(checkpoint=which))
    trainer.train(run)
    steps = [record.step for record in trainer.steps(run) if isinstance(record, TrainRecord)]
    assert steps == list(range(1, 16))
    assert [record.epoch for record in trainer.steps(run) if isinstance(record, EvalRecord)] == [1, 2, 3]


def test_from_a_best_that_is_the_last_the_one_before_it_stays(trainer: Trainer) -> None:
    run = trainer.create(tiny_config())

    def steps() -> list[int]:
        return [int(progress_of(run, name)["step"]) for name in ("last", "previous", "best")]

    for step in (1, 2):
        checkpoint.save(run, {"progress": {"step": step}})
    checkpoint.mark_best(run)
    assert not checkpoint.go_on_from(run, "best", is_best=True) and steps() == [2, 1, 2]
    checkpoint.save(run, {"progress": {"step": 3}})
    assert not checkpoint.go_on_from(run, "best", is_best=True) and steps() == [2, 2, 2]


def test_from_best_nothing_later_stands_in_for_a_last_that_comes_to_harm(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, accuracies: Callable[..., None]
) -> None:
    """previous.pt was of step 12, whose lines are cut: a run that went on from it had none of steps 6 to 12."""
    accuracies(90.0, 20.0, 30.0)
    run = trainer.create(tiny_config())
    for step, which in ((12, "last"), (7, "best")):
        with monkeypatch.context() as patch, pytest.raises(Killed if which == "best" else Stopped):
            if which == "best":
                patch.setattr(Desk, "after_step", killed_at(step))
            else:
                stop_at(trainer, patch, step)
            trainer.train(run, LaunchRequest(checkpoint=which))
    run.checkpoint("last").unlink()
    trainer.train(run)
    assert [record.step for record in trainer.steps(run) if isinstance(record, TrainRecord)] == list(range(1, 16))


@pytest.mark.parametrize("again", [90.0, 30.0])
def test_a_best_checkpoint_that_the_run_went_back_behind(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, accuracies: Callable[..., None], again: float
) -> None:
    """Epoch 3 was the best and is trained again, to the same or, as a GPU may have it, to less than epoch 1."""
    run = trainer.create(tiny_config())
    with monkeypatch.context() as patch:
        accuracies(50.0, 20.0, 90.0)
        trainer.train(run)
        patch.undo()
    accuracies(50.0, 20.0, again)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Desk, "after_step", killed_at(12))
        trainer.train(run, LaunchRequest(checkpoint="previous"))
    assert not run.checkpoint("best").exists()
    trainer.train(run)
    assert result_of(run).best_epoch == (3 if again == 90.0 else 1)
    assert run.checkpoint("best").exists() == (again == 90.0)
    warned = "best.pt is removed: the run went back behind its epoch, and may not come to the same there"
    assert messages(run, "warning") == [warned]


@pytest.mark.parametrize("room_comes", [False, True])
def test_lines_that_a_full_disk_did_not_take_are_in_the_checkpoint_that_it_took(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, room_comes: bool
) -> None:
    """Killed with lines in memory alone, or when they had come to the disk later than that checkpoint."""
    whole = trainer.create(tiny_config())
    trainer.train(whole)
    run = trainer.create(tiny_config(training={"checkpoint_seconds": 0.0}))
    full, write, after_step = [False], LineWriter.write, Desk.after_step

    def write_or_not(self: LineWriter, lines: str) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        write(self, lines)

    def killed(self: Desk) -> None:
        step = self.progress.step
        full[0] = 3 <= step < (8 if room_comes else 99)
        if step == 9:
            self.saver.writer.wait()
            raise Killed
        after_step(self)
        if step >= 8 and room_comes:  # the checkpoint of before is the last
            self.saver.saved_at = 1e12

    with monkeypatch.context() as patch:
        patch.setattr(LineWriter, "write", write_or_not)
        patch.setattr(Desk, "after_step", killed)
        with pytest.raises(Killed):
            trainer.train(run)
    assert checkpoint.read(run.checkpoint("last"))["progress"]["step"] == (7 if room_comes else 8)
    trainer.train(run)
    assert without_clock(trainer.steps(run)) == without_clock(trainer.steps(whole))
    assert run.confusions.read_bytes() == whole.confusions.read_bytes()
    assert len(messages(run, "warning")) == len(set(messages(run, "warning")))
