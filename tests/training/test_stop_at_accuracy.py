"""A run that ends once its test accuracy is high enough: the limit, its edits, and going on after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.requests import send_request
from fmnist_tui.runs.store import read_status
from fmnist_tui.training.desk import Desk
from fmnist_tui.training.job import Stopped
from fmnist_tui.training.reporter import Reporter
from tests.events import events, messages
from tests.training.tiny import Trainer, tiny_config
from tests.training.whole_runs import result_of, stop_at


def test_stop_at_accuracy_finishes_early(trainer: Trainer) -> None:
    run = trainer.create(tiny_config(training={"stop_at_accuracy": 1.0}))
    trainer.train(run)
    result = result_of(run)
    assert result.epochs == 1 and result.test_accuracy >= 1.0
    assert events(run, "finish")[-1].epoch == 1, "as the status says"
    assert "reached 1 %" in events(run, "finish")[0].message
    assert events(run, "finish")[1].message.endswith(" % after 1 epoch")


def test_the_accuracy_to_stop_at_is_told_changed_and_taken_back(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status has it from the launch on, and at once after each change."""
    monkeypatch.setattr("fmnist_tui.training.control.POLL_SECONDS", 0.0)
    run = trainer.create(tiny_config(training={"epochs": 2, "stop_at_accuracy": 100.0}))
    status = read_status(run)
    assert status is not None
    told = [status.stop_at_accuracy]
    original, asked = Desk.after_step, {2: 90.0, 3: 0.0}

    def after_step(self: Desk) -> None:
        if self.progress.step in asked:
            send_request(self.run, "edit", stop_at_accuracy=asked.pop(self.progress.step))
        original(self)
        told.append(self.reporter.status.stop_at_accuracy)

    monkeypatch.setattr(Desk, "after_step", after_step)
    trainer.train(run)
    assert told[:5] == [100.0, 100.0, 90.0, None, None]
    assert messages(run, "edit") == [
        "stops at 90 % test accuracy", "goes on to its last epoch, at any accuracy",
    ]  # fmt: skip
    assert result_of(run).epochs == 2


def test_a_run_that_its_accuracy_limit_ended_goes_on_without_it(trainer: Trainer) -> None:
    run = trainer.create(tiny_config(training={"epochs": 2, "stop_at_accuracy": 1.0}))
    trainer.train(run)
    assert result_of(run).epochs == 1
    trainer.train(run, LaunchRequest(epochs=3))
    assert result_of(run).epochs == 1, "the limit is reached still: no epoch is trained"
    trainer.train(run, LaunchRequest(stop_at_accuracy=0.0))
    assert result_of(run).epochs == 3, "as many as it was told before"
    assert "goes on to its last epoch, at any accuracy" in messages(run, "edit")


def test_an_edit_at_work_outlives_another_start_of_the_same_launch(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a requeued Slurm job begins again: its launch request has older epochs and another limit."""
    monkeypatch.setattr("fmnist_tui.training.control.POLL_SECONDS", 0.0)
    run = trainer.create(tiny_config(training={"epochs": 1}))
    trainer.train(run)
    launch = LaunchRequest(epochs=2, stop_at_accuracy=100.0)
    with monkeypatch.context() as patch:
        patch.setattr("fmnist_tui.training.desk.Desk.collect_losses", _edited(Desk.collect_losses, step=6))
        stop_at(trainer, patch, 8)
        with pytest.raises(Stopped):
            trainer.train(run, launch)
    assert not run.control.exists(), "answered, and forgotten at the stop"
    told = messages(run, "edit")
    assert told[-2:] == ["epochs 2 -> 3", "goes on to its last epoch, at any accuracy"]
    trainer.train(run, launch)
    assert messages(run, "edit") == told, "the launch's changes are not taken in once more"
    assert result_of(run).epochs == 3


def _edited(original: Callable[..., None], step: int) -> Callable[..., None]:
    """`Desk.collect_losses`, which at a step asks for three epochs, at any accuracy."""
    sent: list[int] = []

    def collect_losses(self: Desk, wait: bool = False) -> None:
        if self.progress.step == step and not sent:
            sent.append(step)
            send_request(self.run, "edit", epochs=3, stop_at_accuracy=0.0)
        original(self, wait)

    return collect_losses


def test_going_back_to_an_older_checkpoint_keeps_the_run_s_length(trainer: Trainer) -> None:
    """best.pt may be older than an edit: its epochs and its limit are not the run's any more."""
    run = trainer.create(tiny_config(training={"epochs": 3, "stop_at_accuracy": 1.0}))
    trainer.train(run)
    older = run.checkpoint("last").read_bytes()
    trainer.train(run, LaunchRequest(epochs=2, stop_at_accuracy=0.0))
    run.checkpoint("best").write_bytes(older)
    trainer.train(run, LaunchRequest(checkpoint="best"))
    assert result_of(run).epochs == 2


def test_an_edit_that_is_told_holds(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever kills the worker right after the edit's event finds it in the status: a resume goes on with it."""
    run = trainer.create(tiny_config(training={"epochs": 2}))
    held, original = [], Reporter.event

    def event(self: Reporter, kind: str, message: str, **data: Any) -> None:
        original(self, kind, message, **data)
        status = read_status(run)
        if kind == "edit" and status is not None:
            held.append((status.epochs, status.stop_at_accuracy))

    monkeypatch.setattr(Reporter, "event", event)
    send_request(run, "edit", epochs=1, stop_at_accuracy=99.0)
    trainer.train(run)
    assert held == [(1, None), (1, 99.0)]


@pytest.mark.parametrize("eval_every", [1, 2])
def test_a_run_that_was_stopped_after_an_epoch_may_end_with_it(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, eval_every: int
) -> None:
    """Where that was evaluated; else there is no result without the next."""
    run = trainer.create(tiny_config(training={"eval_every": eval_every}))
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Desk, "end_epoch", stopping(Desk.end_epoch))
        trainer.train(run)
    trainer.train(run, LaunchRequest(epochs=1))
    assert result_of(run).epochs == eval_every
    assert messages(run, "edit") == [f"epochs 3 -> {eval_every}"]
    trainer.train(run, LaunchRequest(epochs=3))
    assert [record.step for record in trainer.steps(run) if record.kind == "train"] == list(range(1, 16))


def stopping(end_epoch: Callable[[Desk], None]) -> Callable[[Desk], None]:
    """The end of an epoch, with a wish to stop after it."""

    def end(self: Desk) -> None:
        self.requests.stop, self.requests.stopped_by = "epoch", "a request"
        end_epoch(self)

    return end
