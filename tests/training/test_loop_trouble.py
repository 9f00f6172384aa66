"""A run in trouble: losses and weights that are not finite, a disk that is full, a checkpoint of another model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from fmnist_tui.training import patience
from fmnist_tui.training.control import CutShort
from fmnist_tui.training.desk import Desk
from fmnist_tui.training.evaluations import Evaluations
from fmnist_tui.training.job import Stopped
from fmnist_tui.training.losses import NonFiniteLoss
from fmnist_tui.training.optim import InPlaceSGD
from fmnist_tui.training.requests import Requests
from fmnist_tui.training.step import TrainStep
from tests.events import events, messages
from tests.training.tiny import Trainer, tiny_config


def test_loss_that_is_not_finite_ends_the_run_and_keeps_the_good_checkpoint(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = trainer.create(tiny_config(training={"epochs": 2}))
    trainer.train(good)

    steps: list[int] = []
    original = InPlaceSGD.step

    def explode_later(self: InPlaceSGD, closure: Any = None) -> Any:
        done = original(self, closure)
        steps.append(1)
        if len(steps) == 7:
            with torch.no_grad():
                next(iter(self.param_groups[0]["params"])).fill_(math.nan)
        return done

    run = trainer.create(tiny_config())
    with monkeypatch.context() as patch, pytest.raises(NonFiniteLoss) as caught:
        patch.setattr(InPlaceSGD, "step", explode_later)
        trainer.train(run)
    assert caught.value.step == 8 and caught.value.epoch == 2
    kept = torch.load(run.checkpoint("last"), weights_only=True)
    assert kept["progress"]["step"] == 5
    assert all(tensor.isfinite().all() for tensor in kept["model"].values())
    line = json.loads([text for text in run.metrics.read_text().splitlines() if '"train"' in text][-1])
    assert line["loss"] == "NaN" and line["step"] == 8


def test_weights_that_are_not_finite_are_never_saved(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of an epoch spoils the weights: its own loss was still finite."""
    original = Desk.end_epoch

    def end_epoch(self: Desk) -> None:
        with torch.no_grad():
            next(self.model.parameters()).fill_(math.inf)
        original(self)

    monkeypatch.setattr(Desk, "end_epoch", end_epoch)
    run = trainer.create(tiny_config())
    with pytest.raises(NonFiniteLoss, match=r"a weight was not finite \(nan\) at step 5 in epoch 1"):
        trainer.train(run)
    assert not run.checkpoint("last").exists()


def test_a_full_disk_at_a_checkpoint_is_a_warning(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second checkpoint fails half-way; training goes on, the first stays whole, the third is written."""
    from fmnist_tui.training import checkpoint

    original, calls = torch.save, []

    def save(content: Any, file: Any) -> None:
        calls.append(content["progress"]["epoch"])
        if len(calls) == 2:
            file.write(b"half a checkpoint")
            raise OSError(28, "No space left on device")
        original(content, file)

    monkeypatch.setattr(checkpoint.torch, "save", save)
    run = trainer.create(tiny_config())
    trainer.train(run)
    warnings = messages(run, "warning")
    assert any("No space left" in text for text in warnings) and any("again" in text for text in warnings)
    assert checkpoint.read(run.checkpoint("previous"))["progress"]["step"] == 5
    assert checkpoint.read(run.checkpoint("last"))["progress"]["step"] == 15
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["best.pt", "last.pt", "previous.pt"]


def test_the_best_state_waits_for_room(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full from the end of the best epoch on; best.pt is written from memory once there is room."""
    from fmnist_tui.training import checkpoint

    original, full = torch.save, [True]

    def save(content: Any, file: Any) -> None:
        if full[0] and content["progress"]["epoch"] > 2:
            raise OSError(28, "No space left on device")
        original(content, file)

    def take_in(self: Evaluations, evaluation: Any, seconds: float) -> None:
        best_at_2 = {1: 10.0, 2: 90.0}.get(self._progress.epoch, 20.0)
        as_wanted(self, replace(evaluation, accuracy=best_at_2), seconds)
        full[0] = self._progress.epoch < 4

    as_wanted = Evaluations.take_in
    monkeypatch.setattr(checkpoint.torch, "save", save)
    monkeypatch.setattr(Evaluations, "take_in", take_in)
    run = trainer.create(tiny_config(training={"epochs": 4}))
    trainer.train(run)
    best = checkpoint.read(run.checkpoint("best"))
    assert (best["progress"]["best_epoch"], best["progress"]["step"]) == (2, 10)
    assert checkpoint.read(run.checkpoint("last"))["progress"]["step"] == 20
    assert checkpoint.read(run.checkpoint("previous"))["progress"]["step"] == 5
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["best.pt", "last.pt", "previous.pt"]


def test_a_best_state_without_room_to_the_end_is_said(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    from fmnist_tui.training import checkpoint

    def no_room(path: Any, *_: Any) -> None:
        if path.name == "best.pt":
            raise OSError(28, "No space left on device")
        write(path, *_)

    write = checkpoint.write
    monkeypatch.setattr(checkpoint, "write", no_room)
    monkeypatch.setattr(checkpoint, "mark_best", lambda run: no_room(run.checkpoint("best")))
    monkeypatch.setattr(patience, "WAITS", (0.0,))
    run = trainer.create(tiny_config(training={"epochs": 1}))
    trainer.train(run)
    assert "best.pt could not be written: No space left" in events(run, "warning")[-1].message


def test_a_stop_in_the_step_after_a_failed_checkpoint_tries_again(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes longer than checkpoints are apart; the disk was full, and has room again when somebody stops."""
    from fmnist_tui.training import checkpoint

    original, full = torch.save, [False]

    def save(content: Any, file: Any) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        original(content, file)

    def train_step(self: TrainStep, *arguments: Any) -> Any:
        taken.append(1)
        full[0] = 4 <= len(taken) <= 7
        if len(taken) == 8:
            raise CutShort
        return take_step(self, *arguments)

    def see(self: Requests) -> None:
        if len(taken) == 8:
            self._job.stop_signal.received = "SIGTERM"
        look(self)

    taken: list[int] = []
    take_step, look = TrainStep.__call__, Requests.see
    monkeypatch.setattr(checkpoint.torch, "save", save)
    monkeypatch.setattr(TrainStep, "__call__", train_step)
    monkeypatch.setattr(Requests, "see", see)
    run = trainer.create(tiny_config(training={"checkpoint_seconds": 0.0}))
    with pytest.raises(Stopped):
        trainer.train(run)
    assert checkpoint.read(run.checkpoint("last"))["progress"]["step"] == 7
    assert messages(run, "warning")[-1] == "checkpoints can be written again"


def test_a_checkpoint_of_another_model_is_refused(trainer: Trainer, images: Any) -> None:
    from fmnist_tui.training.checkpoint import CheckpointError

    run = trainer.create(tiny_config(training={"epochs": 1}))
    trainer.train(run)
    other = trainer.create(tiny_config(model={"kind": "wide_resnet", "depth": 16, "widen_factor": 1}))
    other.checkpoint("last").write_bytes(run.checkpoint("last").read_bytes())
    with pytest.raises(CheckpointError, match=r"another model \(model.depth: 10 there, 16 here\)"):
        trainer.train(other)
