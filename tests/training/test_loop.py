"""A whole run: what it writes is complete, true, and the same after a stop at any step."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from fmnist_tui.analysis.confusion import read_history
from fmnist_tui.analysis.predictions import read_stored
from fmnist_tui.models.count import parameter_count
from fmnist_tui.runs import store
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord
from fmnist_tui.runs.requests import RequestKind, send_request
from fmnist_tui.training import logbook
from fmnist_tui.training import precision as execution
from fmnist_tui.training.desk import Desk
from fmnist_tui.training.evaluations import Evaluations
from fmnist_tui.training.job import Stopped
from tests.events import events, messages
from tests.training.tiny import Trainer, full_size_config, tiny_config
from tests.training.whole_runs import CUTOUT, SHAKE, result_of, stop_at, without_clock


def test_result_equals_the_predictions_and_the_labels(trainer: Trainer) -> None:
    run = trainer.create(tiny_config())
    trainer.train(run)
    result, labels = result_of(run), trainer.images.test_labels
    saved = np.load(run.predictions)
    assert saved["last_classes"].dtype == np.uint8 and saved["last_probabilities"].shape == (100, 10)
    assert result.test_accuracy == 100.0 * np.mean(saved["last_classes"] == labels)
    assert result.best_accuracy == 100.0 * np.mean(saved["best_classes"] == labels)
    assert (int(saved["last_epoch"]), int(saved["best_epoch"])) == (3, result.best_epoch)
    evaluations = [record for record in trainer.steps(run) if isinstance(record, EvalRecord)]
    assert [record.epoch for record in evaluations] == [1, 2, 3]
    history = read_history(run)
    assert list(zip(history.epochs, history.steps, strict=True)) == [(1, 5), (2, 10), (3, 15)]
    assert [np.trace(matrix) for matrix in history.matrices] == [record.test_accuracy for record in evaluations]
    classes = {2: saved["last_classes"], 1: saved["previous_classes"], result.best_epoch - 1: saved["best_classes"]}
    assert int(saved["previous_epoch"]) == 2
    for at, predicted in classes.items():
        for true in range(10):
            of_class = predicted[labels == true].tolist()
            assert history.matrices[at][true].tolist() == [of_class.count(k) for k in range(10)]
    assert result.test_accuracy == evaluations[-1].test_accuracy
    assert result.best_accuracy == max(record.test_accuracy for record in evaluations)
    assert result.parameters == parameter_count(tiny_config().model) and result.steps == 15 and result.complete
    np.testing.assert_allclose(saved["last_probabilities"].astype(np.float64).sum(1), 1.0, atol=2e-3)


def test_the_saved_weights_give_the_saved_predictions(trainer: Trainer) -> None:
    """An independent reading: load last.pt into a fresh network and predict image by image."""
    from fmnist_tui.models import build_model

    config = tiny_config()
    run = trainer.create(config)
    trainer.train(run)
    model = build_model(config.model)
    model.load_state_dict(torch.load(run.checkpoint("last"), weights_only=True)["model"])
    model.eval()
    pixels = torch.from_numpy(trainer.images.test_images.copy()).float()[:, None] / 255.0
    with torch.inference_mode():
        classes = torch.cat([model((image - 0.2860) / 0.3530).argmax(1) for image in pixels.split(7)])
    assert (classes.numpy() == np.load(run.predictions)["last_classes"]).mean() >= 0.99  # ties may round apart


def test_metric_lines_cover_every_step_once(trainer: Trainer) -> None:
    run = trainer.create(tiny_config())
    trainer.train(run)
    lines = [record for record in trainer.steps(run) if isinstance(record, TrainRecord)]
    assert [line.step for line in lines] == list(range(1, 16))
    assert [line.epoch for line in lines] == [1] * 5 + [2] * 5 + [3] * 5
    rates = [0.05 * (1 + math.cos(math.pi * step / 15)) for step in range(15)]
    assert [line.lr for line in lines] == pytest.approx(rates)


@pytest.mark.parametrize("stop_step", [1, 5, 12])
def test_stopped_and_resumed_equals_uninterrupted(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, stop_step: int
) -> None:
    """Bit for bit: weights, momentum, metrics and predictions, with Shake-Shake's noise, Cutout and the shuffle."""
    config = full_size_config(model=SHAKE, augment=CUTOUT)
    whole, parted = trainer.create(config), trainer.create(config)
    trainer.train(whole)
    with monkeypatch.context() as patch:
        stop_at(trainer, patch, stop_step)
        with pytest.raises(Stopped):
            trainer.train(parted)
    assert torch.load(parted.checkpoint("last"), weights_only=True)["progress"]["step"] == stop_step
    torch.manual_seed(999)  # whatever the process drew meanwhile does not matter
    trainer.train(parted)
    a, b = trainer.weights(whole), trainer.weights(parted)
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    assert without_clock(trainer.steps(whole)) == without_clock(trainer.steps(parted))
    left, right = np.load(whole.predictions), np.load(parted.predictions)
    assert "previous_classes" in left and left.files == right.files
    assert all(np.array_equal(left[key], right[key]) for key in left.files)
    assert whole.confusions.read_bytes() == parted.confusions.read_bytes()
    assert result_of(parted).starts == 2
    assert [event.step for event in events(parted, "resume")] == [stop_step]


def test_resume_from_the_previous_checkpoint_where_the_last_is_cut_off(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    whole, broken = trainer.create(config), trainer.create(config)
    trainer.train(whole)
    with monkeypatch.context() as patch:
        stop_at(trainer, patch, 12)
        with pytest.raises(Stopped):
            trainer.train(broken)
    last = broken.checkpoint("last")
    last.write_bytes(last.read_bytes()[:1000])
    trainer.train(broken)
    warning = events(broken, "warning")[0].message
    assert "last.pt" in warning and "damaged" in warning
    assert without_clock(trainer.steps(whole)) == without_clock(trainer.steps(broken))


def test_a_run_goes_on_where_the_precision_is_another(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """From bf16 or fp32 to a GPU whose precision is fp16, which has a scaler of gradients, and back."""
    run = trainer.create(tiny_config(training={"epochs": 3, "precision": "auto", "deterministic": False}))
    for stop, precision in ((4, "fp32"), (9, "fp16"), (None, "fp32")):
        with monkeypatch.context() as patch:
            patch.setattr(execution, "_auto_precision", lambda device, precision=precision: (precision, "the test's"))
            if stop is not None:
                stop_at(trainer, patch, stop)
            with pytest.raises(Stopped) if stop else nullcontext():
                trainer.train(run)
        state = torch.load(run.checkpoint("last"), weights_only=True)["scaler"]
        assert bool(state) == (precision == "fp16")
    assert result_of(run).precision == "fp32" and result_of(run).steps == 15


def test_what_a_run_goes_back_behind_is_no_evaluation_of_it_any_more(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in epoch 3, taken up again from the best checkpoint (epoch 1), and stopped before epoch 2 ends."""
    run = trainer.create(tiny_config())
    worse, take_in = iter([60.0, 50.0]), Evaluations.take_in
    with monkeypatch.context() as patch:
        patch.setattr(
            Evaluations, "take_in", lambda self, found, s: take_in(self, replace(found, accuracy=next(worse)), s)
        )
        stop_at(trainer, patch, 12)
        with pytest.raises(Stopped):
            trainer.train(run)
    assert (read_stored(run, "last").epoch, read_stored(run, "best").epoch) == (2, 1)
    with monkeypatch.context() as patch:
        stop_at(trainer, patch, 7)
        with pytest.raises(Stopped):
            trainer.train(run, LaunchRequest(checkpoint="best"))
    assert [record.epoch for record in trainer.steps(run) if isinstance(record, EvalRecord)] == [1]
    assert (read_stored(run, "last").epoch, read_stored(run, "best").epoch) == (1, 1)
    for which in ("last", "previous", "best"):
        run.checkpoint(which).unlink()
    with monkeypatch.context() as patch:
        stop_at(trainer, patch, 2)
        with pytest.raises(Stopped):
            trainer.train(run)
    assert not run.predictions.exists(), "begun anew"


def test_resume_from_the_best_checkpoint_goes_back_to_its_epoch(trainer: Trainer) -> None:
    run = trainer.create(tiny_config())
    trainer.train(run)
    first = result_of(run)
    trainer.train(run, LaunchRequest(checkpoint="best"))
    assert result_of(run).test_accuracy == first.test_accuracy
    assert [record.step for record in trainer.steps(run) if isinstance(record, TrainRecord)] == list(range(1, 16))


def test_a_finished_run_goes_on_when_given_more_epochs(trainer: Trainer) -> None:
    run = trainer.create(tiny_config(schedule={"kind": "constant"}))
    trainer.train(run)
    trainer.train(run, LaunchRequest(epochs=4))
    assert result_of(run).epochs == 4
    assert events(run, "edit")[0].data == {"epochs": 4}
    longer = trainer.create(tiny_config(schedule={"kind": "constant"}, training={"epochs": 4}))
    trainer.train(longer)
    assert without_clock(trainer.steps(run)) == without_clock(trainer.steps(longer))


def test_step_limit_ends_the_run_with_a_result_that_says_so(trainer: Trainer) -> None:
    run = trainer.create(tiny_config(training={"max_steps": 7}))
    trainer.train(run)
    result = result_of(run)
    assert (result.steps, result.epochs, result.complete) == (7, 2, False)
    assert events(run, "finish")[-1].epoch == 2, "as the status says"
    status = store.read_status(run)
    assert status is not None and status.steps == 7, "all that were to be done"
    assert [record.epoch for record in trainer.steps(run) if isinstance(record, EvalRecord)] == [1, 2]
    run.result.unlink()  # as if killed before its last words; then told to train for longer
    trainer.train(run, LaunchRequest(epochs=9))
    assert (result_of(run).steps, result_of(run).epochs) == (7, 2)


def test_eval_every_evaluates_its_multiples_and_the_last_epoch(trainer: Trainer) -> None:
    run = trainer.create(tiny_config(training={"epochs": 5, "eval_every": 2}))
    trainer.train(run)
    assert [record.epoch for record in trainer.steps(run) if isinstance(record, EvalRecord)] == [2, 4, 5]


def test_requests_while_training(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer epochs, a checkpoint now, and a stop after the epoch, each answered with an event."""
    monkeypatch.setattr("fmnist_tui.training.control.POLL_SECONDS", 0.0)
    run = trainer.create(tiny_config(training={"epochs": 9}))
    asked: dict[int, tuple[RequestKind, dict[str, int]]] = {
        2: ("edit", {"epochs": 4}),
        6: ("checkpoint", {}),
        8: ("stop_after_epoch", {}),
    }
    original, saved = Desk.after_step, []

    def after_step(self: Desk) -> None:
        if self.progress.step in asked:
            request, values = asked.pop(self.progress.step)
            send_request(self.run, request, **values)
        original(self)

    save = Desk.save_checkpoint

    def save_checkpoint(self: Desk, is_best: bool = False) -> None:
        saved.append(self.progress.step)
        save(self, is_best)

    monkeypatch.setattr(Desk, "after_step", after_step)
    monkeypatch.setattr(Desk, "save_checkpoint", save_checkpoint)
    with pytest.raises(Stopped):
        trainer.train(run)
    assert events(run, "edit")[0].message == "epochs 9 -> 4"
    assert saved == [5, 6, 10]
    (stop,) = events(run, "stop")
    assert stop.message == "stopped after epoch 2, step 10, by a request to stop after the epoch"
    status = store.read_status(run)
    assert status is not None and (stop.epoch, status.epoch, status.where()) == (2, 2, "after epoch 2, step 10")
    assert not run.control.exists()
    trainer.train(run)
    assert messages(run, "resume")[0].startswith("going on after epoch 2, step 10 on ")
    assert result_of(run).epochs == 4


def test_a_checkpoint_is_written_within_a_long_epoch(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer.create(tiny_config(training={"max_steps": 3, "checkpoint_seconds": 0.0}))
    seen = []
    original = Desk.save_checkpoint

    def save_checkpoint(self: Desk, is_best: bool = False) -> None:
        original(self, is_best)
        seen.append(self.progress.batch)

    monkeypatch.setattr(Desk, "save_checkpoint", save_checkpoint)
    trainer.train(run)
    assert seen[:3] == [1, 2, 3]


def test_an_evaluation_is_not_written_twice(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after an evaluation, with a checkpoint of the step before it: found by the soak."""
    config = tiny_config(training={"checkpoint_seconds": 0.0})
    whole, killed = trainer.create(config), trainer.create(config)
    trainer.train(whole)

    class Killed(BaseException):
        pass

    def end_epoch(self: Desk) -> None:
        self.saver.writer.wait()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Desk, "end_epoch", end_epoch)
        with pytest.raises(Killed):
            trainer.train(killed)
    assert torch.load(killed.checkpoint("last"), weights_only=True)["progress"]["step"] == 5
    assert [line.kind for line in trainer.steps(killed)][-1] == "eval"
    trainer.train(killed)
    assert without_clock(trainer.steps(whole)) == without_clock(trainer.steps(killed))
    assert read_history(killed).epochs.tolist() == [1, 2, 3]


def test_slow_run_says_how_long_it_takes(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "SLOW_RUN_SECONDS", 0.0)
    run = trainer.create(tiny_config())
    trainer.train(run)
    said = messages(run, "warning")
    assert len(said) == 1 and "images/s on this CPU; fewer epochs shorten it, so does a GPU" in said[0]


def test_two_seeds_differ_and_one_seed_repeats(trainer: Trainer) -> None:
    runs = [trainer.create(tiny_config(seed=seed, training={"epochs": 1})) for seed in (1, 1, 2)]
    for run in runs:
        trainer.train(run)
    a, b, c = (next(iter(trainer.weights(run).values())) for run in runs)
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_training_learns(trainer: Trainer) -> None:
    """On images it has seen, a few epochs are far better than chance."""
    same = replace(trainer.images, test_images=trainer.images.train_images, test_labels=trainer.images.train_labels)
    trainer.images = same
    run = trainer.create(full_size_config(training={"epochs": 12}, augment={"crop_padding": 0, "flip": False}))
    trainer.train(run)
    assert result_of(run).test_accuracy > 60.0
