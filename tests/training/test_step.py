"""One step: micro-batches, running out of memory, and what a step is a function of."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_tui.config import RunConfig
from fmnist_tui.data.augment import cutmix
from fmnist_tui.data.source import Images
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import choose
from fmnist_tui.training.step import OutOfMemory, TrainStep
from tests.training.tiny import full_size_config


class Linear(nn.Module):
    """A model without batch-norm that runs out of memory above `limit` images."""

    def __init__(self, limit: int = 10_000) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)
        self.limit = limit
        self.sizes: list[int] = []
        self._before: weakref.ref[Tensor] | None = None
        self.kept: list[bool] = []
        """Whether the activations of a pass that failed were still in memory when the next one began."""

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if self._before is not None:
            self.kept.append(self._before() is not None)
        logits: Tensor = self.layer(x.flatten(1))
        if len(x) > self.limit:
            self._before = weakref.ref(logits)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB. More text.")
        return logits


def make_step(config: RunConfig, limit: int = 10_000) -> TrainStep:
    torch.manual_seed(0)
    model = Linear(limit)
    return TrainStep(
        model, build_optimizer(model, config.optimizer), config, choose(config.training, torch.device("cpu"))
    )


def layer_of(step: TrainStep) -> nn.Linear:
    assert isinstance(step.model, Linear)
    return step.model.layer


@pytest.fixture
def batch(images: Images) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(images.train_images[:30].copy()), torch.from_numpy(images.train_labels[:30].copy()).long()


@pytest.mark.parametrize("probability", [0.0, 1.0])
@pytest.mark.parametrize("micro_batch", [1, 7, 15, 30])
def test_accumulated_gradients_equal_the_whole_batch(
    batch: tuple[Tensor, Tensor], micro_batch: int, probability: float
) -> None:
    augment = {"cutmix_probability": probability}
    whole = make_step(full_size_config(augment=augment, training={"batch_size": 30}))
    parts = make_step(full_size_config(augment=augment, training={"batch_size": 30, "micro_batch": micro_batch}))
    (loss_a, correct_a), (loss_b, correct_b) = (step(*batch, 0.1, 1, 0) for step in (whole, parts))
    torch.testing.assert_close(loss_a, loss_b)
    assert int(correct_a) == int(correct_b)
    torch.testing.assert_close(layer_of(whole).weight, layer_of(parts).weight)
    assert isinstance(parts.model, Linear) and max(parts.model.sizes) == micro_batch


def test_cutmix_weighs_the_losses_of_both_labels_by_their_shares(batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    step = make_step(
        full_size_config(augment={"cutmix_probability": 1.0}, training={"batch_size": 30, "label_smoothing": 0.1})
    )
    inputs = step.inputs(images, 1, 0)
    mixed, targets = cutmix(inputs, labels, step.config.augment, step.generator)
    theirs = float((mixed != inputs).any(1).float().mean())  # some pixels are alike in both
    logits = layer_of(step)(mixed.flatten(1)).detach()
    first = int((labels != labels.roll(1)).nonzero()[0])  # an image of another class than the one before
    share = float(targets[first, labels[first - 1]])
    assert 0 < theirs <= share < 1
    own, other = (F.cross_entropy(logits, target, label_smoothing=0.1) for target in (labels, labels.roll(1)))
    loss, correct = step(images, labels, 0.1, 1, 0)
    torch.testing.assert_close(loss, (1 - share) * own + share * other)
    most = torch.where(torch.tensor(share) > 0.5, labels.roll(1), labels)
    assert int(correct) == int((logits.argmax(1) == most).sum())


def test_auto_halves_the_micro_batch_until_it_fits(batch: tuple[Tensor, Tensor]) -> None:
    whole = make_step(full_size_config(training={"batch_size": 30}))
    split = make_step(full_size_config(training={"batch_size": 30, "micro_batch": "auto"}), limit=8)
    whole(*batch, 0.1, 1, 0)
    split(*batch, 0.1, 1, 0)
    assert split.micro_batch == 8 and isinstance(split.model, Linear) and split.model.sizes == [30, 15, 8, 8, 8, 6]
    torch.testing.assert_close(layer_of(whole).weight, layer_of(split).weight)


def test_out_of_memory_says_what_was_asked_for_and_what_fits(batch: tuple[Tensor, Tensor]) -> None:
    step = make_step(full_size_config(training={"batch_size": 30}), limit=8)
    with pytest.raises(OutOfMemory) as caught:
        step(*batch, 0.1, 1, 0)
    text = str(caught.value)
    assert "training.micro_batch = 30" in text and "3.00 GiB" in text and "training.micro_batch=8" in text


@pytest.mark.parametrize("setting", ["auto", "full"])
def test_less_is_tried_only_once_what_failed_is_out_of_memory(batch: tuple[Tensor, Tensor], setting: str) -> None:
    """An error that is being handled holds the frames it came through, and with them every activation."""
    step = make_step(full_size_config(training={"batch_size": 30, "micro_batch": setting}), limit=0)
    with pytest.raises(OutOfMemory):
        step(*batch, 0.1, 1, 0)
    assert isinstance(step.model, Linear) and step.model.kept and not any(step.model.kept)


def test_out_of_memory_with_one_image_says_that_nothing_fits(batch: tuple[Tensor, Tensor]) -> None:
    for setting in ("auto", "full"):
        step = make_step(full_size_config(training={"batch_size": 30, "micro_batch": setting}), limit=0)
        with pytest.raises(OutOfMemory, match="not even one image"):
            step(*batch, 0.1, 1, 0)


def test_a_step_is_a_function_of_seed_epoch_and_step(batch: tuple[Tensor, Tensor]) -> None:
    """Not of what was drawn before it."""

    def weights(epoch: int, index: int, seed: int, before: int) -> Tensor:
        step = make_step(full_size_config(seed=seed, augment={"cutout_size": 8}, training={"batch_size": 30}))
        torch.manual_seed(before)
        step(*batch, 0.1, epoch, index)
        return layer_of(step).weight.detach()

    first = weights(1, 0, 7, before=1)
    assert torch.equal(first, weights(1, 0, 7, before=2))
    for other in (weights(2, 0, 7, 1), weights(1, 1, 7, 1), weights(1, 0, 8, 1)):
        assert not torch.equal(first, other)


def test_sgd_equals_torchs_plain_sgd(batch: tuple[Tensor, Tensor]) -> None:
    """Three steps of the fused optimizer against the update written out, weight decay and Nesterov included."""
    config = full_size_config(
        augment={"crop_padding": 0, "flip": False},
        optimizer={"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        training={"batch_size": 30},
    )
    step = make_step(config)
    inputs = ((batch[0].double() / 255 - 0.2860) / 0.3530).flatten(1)
    weight = layer_of(step).weight.detach().double().clone()
    bias = layer_of(step).bias.detach().double().clone()
    velocity: list[Tensor | float] = [0.0, 0.0]
    for index, lr in enumerate((0.1, 0.1, 0.02)):
        step(*batch, lr, 1, index)
        probabilities = (inputs @ weight.T + bias).softmax(1)
        error = (probabilities - nn.functional.one_hot(batch[1], 10)) / len(inputs)
        for i, (parameter, gradient) in enumerate(((weight, error.T @ inputs), (bias, error.sum(0)))):
            gradient = gradient + 0.01 * parameter
            velocity[i] = 0.9 * velocity[i] + gradient
            parameter -= lr * (gradient + 0.9 * velocity[i])
    torch.testing.assert_close(layer_of(step).weight.double(), weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(layer_of(step).bias.double(), bias, rtol=1e-4, atol=1e-6)
