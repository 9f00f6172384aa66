"""Whole runs of the turbo family: learning, what stays frozen, resuming bit for bit, and what is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fmnist_tui.config import RunConfig
from fmnist_tui.models import build_model, initialise_from
from fmnist_tui.report.finished import finished_run
from fmnist_tui.report.rows import make_rows
from fmnist_tui.report.tables import results_table
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.training import step as step_module
from fmnist_tui.training.job import Stopped
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import choose
from fmnist_tui.training.progress import Pace, Progress
from fmnist_tui.training.step import TrainStep
from tests.training.tiny import Trainer, full_size_config
from tests.training.whole_runs import result_of, stop_at, without_clock

TURBO: dict[str, Any] = {
    "model": {"kind": "turbo", "widths": (20, 24), "whitening_bias_share": 0.34},
    "augment": {
        "crop_padding": 2,
        "flip_mode": "alternating",
        "cutout_size": 6,
        "low_resolution": 20,
        "low_resolution_share": 0.67,
    },
    "optimizer": {"kind": "muon", "lr": 0.1},
    "schedule": {"kind": "linear"},
}


def turbo_config(cutmix: float = 0.0, **training: Any) -> Any:
    augment = {**TURBO["augment"], "cutmix_probability": cutmix, "cutmix_share": 0.67}
    training = {"label_smoothing": 0.2, "tta": "flip", **training}
    return full_size_config(**TURBO | {"augment": augment}, training=training)


@pytest.mark.parametrize(
    ("precision", "cpu_kernels"), [("fp32", "auto"), ("fp32", "on"), ("bf16", "auto"), ("bf16", "on")]
)
def test_stopped_and_resumed_equals_uninterrupted(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, precision: str, cpu_kernels: str
) -> None:
    """Bit for bit, stopped in an epoch of low resolution and CutMix, at its end, and in one without either."""
    config = turbo_config(cutmix=0.7, precision=precision, memory_format="channels_last", cpu_kernels=cpu_kernels)
    whole = trainer.create(config)
    trainer.train(whole)
    for stop_step in (1, 7, 10, 12):
        parted = stopped_and_resumed(trainer, monkeypatch, config, stop_step)
        a, b = trainer.weights(whole), trainer.weights(parted)
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), stop_step
        assert any(key.startswith("momentum") for key in a)
        assert without_clock(trainer.steps(whole)) == without_clock(trainer.steps(parted)), stop_step
        left, right = np.load(whole.predictions), np.load(parted.predictions)
        assert all(np.array_equal(left[key], right[key]) for key in left.files), stop_step


def stopped_and_resumed(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, config: RunConfig, stop_step: int
) -> RunDirectory:
    """A run that was stopped after this step and went on to its end."""
    run = trainer.create(config)
    with monkeypatch.context() as patch:
        stop_at(trainer, patch, stop_step)
        with pytest.raises(Stopped):
            trainer.train(run)
    seen = torch.load(run.checkpoint("last"), weights_only=True)
    assert seen["progress"]["step"] == stop_step
    torch.manual_seed(999)
    with monkeypatch.context() as patch:
        # A resume must take the whitening from the checkpoint: other images would give another one.
        patch.setattr(trainer, "images", replace(trainer.images))
        patch.setattr("fmnist_tui.training.loop.initialise_from", lambda *_: pytest.fail("whitened again"))
        trainer.train(run)
    return run


def test_frozen_parts_stay_and_all_others_move(trainer: Trainer) -> None:
    config = turbo_config()
    run = trainer.create(config)
    trainer.train(run)
    after = torch.load(run.checkpoint("last"), weights_only=True)["model"]
    from fmnist_tui.data.batches import step_seed

    torch.manual_seed(step_seed(config.seed, "weights", 0, 0))
    model = build_model(config.model)
    initialise_from(model, torch.from_numpy(trainer.images.train_images.copy()))
    before = model.state_dict()
    assert before.keys() == after.keys()
    frozen = {name for name in before if name.endswith("filters") or ("norm" in name and name.endswith("weight"))}
    assert len(frozen) == 5
    for name in before:
        assert torch.equal(before[name], after[name]) == (name in frozen), name
    assert all((after[name] == 1).all() for name in frozen if "norm" in name)


def test_training_learns(trainer: Trainer) -> None:
    trainer.images = replace(
        trainer.images, test_images=trainer.images.train_images, test_labels=trainer.images.train_labels
    )
    run = trainer.create(turbo_config(epochs=12))
    trainer.train(run)
    assert result_of(run).test_accuracy > 70.0


def test_averaging_is_a_figure_of_its_own(trainer: Trainer) -> None:
    """Against the logits of the saved weights on the images and their mirror images; the headline is not it."""
    config = turbo_config()
    run, plain = trainer.create(config), trainer.create(turbo_config(tta="none"))
    trainer.train(run)
    trainer.train(plain)
    result = result_of(run)
    model = build_model(config.model)
    model.load_state_dict(torch.load(run.checkpoint("last"), weights_only=True)["model"])
    model.eval()
    pixels = torch.from_numpy(trainer.images.test_images.copy()).float()[:, None] / 255.0
    inputs, labels = (pixels - 0.2860) / 0.3530, trainer.images.test_labels
    with torch.inference_mode():
        single, mirrored = model(inputs), model(torch.flip(inputs, (3,)))
    assert result.test_accuracy == pytest.approx(100.0 * np.mean(single.argmax(1).numpy() == labels), abs=1.0)
    averaged = 100.0 * np.mean((single + mirrored).argmax(1).numpy() == labels)
    assert result.tta_accuracy == pytest.approx(averaged, abs=1.0)
    evaluations = [record for record in trainer.steps(run) if isinstance(record, EvalRecord)]
    assert [record.tta_accuracy is not None for record in evaluations] == [True] * 3
    assert evaluations[-1].tta_accuracy == result.tta_accuracy
    other = result_of(plain)
    assert other.tta_accuracy is None and other.test_accuracy == result.test_accuracy
    finished = [finished_run(result, config), finished_run(other, turbo_config(tta="none"))]
    (row,) = make_rows(finished)  # looking at averages makes no other experiment
    assert row.tta_accuracy is not None and row.tta_accuracy.mean == result.tta_accuracy
    columns = [column.heading for column in results_table([row]).columns]
    cells = dict(zip(columns, results_table([row]).rows[0], strict=True))
    assert cells["With flip averaging"] == f"{result.tta_accuracy:.2f} (1 of 2)"
    assert cells["Accuracy (Prec@1)"].startswith(f"{result.test_accuracy:.2f}")
    without = results_table(make_rows(finished[1:])).columns
    assert "With flip averaging" not in [column.heading for column in without]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_training_loss_is_torchs_with_label_smoothing(monkeypatch: pytest.MonkeyPatch, smoothing: float) -> None:
    """The loss a step returns, in two micro-batches, against the definition written out."""
    config = full_size_config(
        model=TURBO["model"],
        augment={"crop_padding": 0, "flip": False},
        training={"batch_size": 30, "micro_batch": 15, "label_smoothing": smoothing},
    )
    torch.manual_seed(0)
    model = build_model(config.model)
    made: list[torch.Tensor] = []
    model.register_forward_hook(lambda _module, _inputs, output: made.append(output.detach()))
    step = TrainStep(
        model, build_optimizer(model, config.optimizer), config, choose(config.training, torch.device("cpu"))
    )
    images, labels = torch.randint(0, 256, (30, 28, 28), dtype=torch.uint8), torch.arange(30) % 10
    loss, _ = step(images, labels, 0.0, 1, 0)
    targets = (1 - smoothing) * F.one_hot(labels, 10) + smoothing / 10
    expected = -(targets * torch.cat(made).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(loss, F.cross_entropy(torch.cat(made), labels, label_smoothing=smoothing))


def test_the_loop_hands_flips_and_sizes_to_the_step(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image comes mirrored in one of two epochs running and not in the other, at the epoch's size."""
    from fmnist_tui.data import augment

    calls: list[tuple[torch.Tensor, torch.Tensor, int]] = []
    original = augment.apply

    def apply(images: torch.Tensor, draws: Any, *rest: Any) -> torch.Tensor:
        result = original(images, draws, *rest)
        calls.append((images, draws.flip, result.shape[-1]))
        return result

    monkeypatch.setattr(step_module.augment, "apply", apply)
    run = trainer.create(turbo_config())
    trainer.train(run)
    assert [size for _, _, size in calls] == [20] * 10 + [28] * 5
    by_epoch: list[dict[bytes, bool]] = []
    for epoch in range(3):
        seen = calls[5 * epoch : 5 * epoch + 5]
        pairs = [pair for images, flips, _ in seen for pair in zip(images, flips, strict=True)]
        by_epoch.append({image.numpy().tobytes(): bool(flip) for image, flip in pairs})
    assert len(by_epoch[0]) == 150
    assert all(by_epoch[1][key] == (not flip) and by_epoch[2][key] == flip for key, flip in by_epoch[0].items())


def test_the_loop_mixes_the_first_epochs(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[int] = []
    original = step_module.augment.cutmix

    def noted(images: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        epochs.append(len(epochs) // 5 + 1)
        return original(images, *rest)

    monkeypatch.setattr(step_module.augment, "cutmix", noted)
    trainer.train(trainer.create(turbo_config(cutmix=1.0)))
    assert epochs == [1] * 5 + [2] * 5, "of three epochs"


def test_the_estimate_knows_that_low_resolution_is_cheaper() -> None:
    config = full_size_config(**TURBO, training={"epochs": 4})  # 3 of 4 epochs at 20 pixels
    pace = Pace(config, test_images=0)
    for speed in (1.0, 100.0, 100.0):
        pace.line(speed, epoch=1, epochs=4)
    left = pace.left(Progress(epochs=4, steps_per_epoch=5, epoch=1, batch=0), 100)
    assert left == pytest.approx(3 + (28 / 20) ** 2)
    assert pace.images_per_second == 100.0
