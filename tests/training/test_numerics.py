"""Training in bf16 ends where training in fp32 does: means over seeds, against the spread between seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fmnist_tui.data import source
from fmnist_tui.data.batches import DeviceDataset, epoch_permutation, train_batch
from fmnist_tui.models import build_model, kernels
from fmnist_tui.models.kernels import convolution
from fmnist_tui.training.evaluate import evaluate
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import choose
from fmnist_tui.training.schedule import learning_rate
from fmnist_tui.training.step import TrainStep
from tests.training.tiny import full_size_config

CPU = torch.device("cpu")
SEEDS = (1, 2, 3)
EPOCHS, BATCH = 2, 32
LEAST_SPREAD = {"train_loss": 0.03, "test_loss": 0.03, "test_accuracy": 2.0}
"""Measured between three seeds: 0.008 to 0.044, 0.013 to 0.023, and 1.4 to 1.8 points."""
LARGEST = 4.0
"""Standard errors between the means that are taken for noise. Found: 0.0 to 0.5. With inputs half as large as they
should be the test loss is off by 87, with losses half as large by 14."""


@dataclass
class End:
    """Where a training ended."""

    train_loss: float
    """Mean of the last epoch's second half."""
    test_loss: float
    test_accuracy: float
    kept: list[torch.Tensor]
    """Weights, momentum and batch norm's statistics."""
    gradients: list[torch.Tensor]


def halved(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 28, 28) to (N, 14, 14), means of 2x2 pixels: a step takes a quarter of the time."""
    return images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).astype(np.uint8)


def train(precision: str, seed: int, train_set: DeviceDataset, test_set: DeviceDataset) -> End:
    """A run's steps and its evaluation, without its files."""
    training = {"precision": precision, "epochs": EPOCHS, "batch_size": BATCH, "deterministic": False}
    config = full_size_config(seed=seed, optimizer={"lr": 0.05}, training=training)
    execution = choose(config.training, CPU)
    torch.manual_seed(seed)
    model = build_model(config.model).to(memory_format=execution.memory_format)
    optimizer = build_optimizer(model, config.optimizer, execution.dtype, execution.fused)
    step = TrainStep(model, optimizer, config, execution)
    per_epoch = len(train_set) // BATCH
    losses = []
    for nth in range(EPOCHS * per_epoch):
        epoch, batch = nth // per_epoch + 1, nth % per_epoch
        images, labels = train_batch(train_set, epoch_permutation(len(train_set), seed, epoch), batch, BATCH)
        losses.append(step(images, labels, learning_rate(nth, config, per_epoch, EPOCHS), epoch, batch)[0])
    found = evaluate(model, model, test_set, execution)
    momentum = [state["momentum_buffer"] for state in optimizer.state.values()]
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    averages = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    tail = torch.stack(losses[-per_epoch // 2 :])
    kept = [*model.parameters(), *momentum, *averages]
    return End(float(tail.mean()), found.loss, found.accuracy, kept, gradients)


def standard_errors(fp32: list[float], bf16: list[float], least_spread: float) -> float:
    """How far the means are apart, in standard errors of a difference of means by fp32's spread between seeds.

    Three values may lie close by chance: the spread counts as `least_spread` at least.
    """
    spread = max(least_spread, statistics.stdev(fp32))
    return abs(statistics.mean(bf16) - statistics.mean(fp32)) / (spread * math.sqrt(2 / len(SEEDS)))


def keeps_float32(tensor: torch.Tensor) -> bool:
    """Whether it is float32 and holds values that bf16 has not."""
    return tensor.dtype is torch.float32 and not torch.equal(tensor, tensor.bfloat16().float())


@pytest.fixture(scope="module")
def sets() -> tuple[DeviceDataset, DeviceDataset]:
    sample = source.load_sample()
    return (
        DeviceDataset(halved(sample.train_images[:1280]), sample.train_labels[:1280]),
        DeviceDataset(halved(sample.test_images[:1000]), sample.test_labels[:1000]),
    )


@pytest.fixture(scope="module")
def fp32(sets: tuple[DeviceDataset, DeviceDataset]) -> list[End]:
    """By torch alone."""
    return [train("fp32", seed, *sets) for seed in SEEDS]


@pytest.fixture
def convolutions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Size]]:
    """bf16 with torch's layers, or with those of `models.kernels`: the filters of the convolutions these make."""
    problem = kernels.problem(torch.bfloat16)  # asked before, because it makes a convolution
    if request.param == "kernels":
        if problem is not None:
            pytest.skip(problem)
        kernels.use(torch.bfloat16)
    made, run = list[torch.Size](), convolution.run_forward

    def noted(x: torch.Tensor, weight: torch.Tensor, y: torch.Tensor) -> None:
        made.append(weight.shape)
        run(x, weight, y)

    monkeypatch.setattr(convolution, "run_forward", noted)
    yield made
    kernels.use(None)


@pytest.mark.parametrize("convolutions", ["torch", "kernels"], indirect=True)
def test_bf16_ends_within_the_noise_of_fp32(
    sets: tuple[DeviceDataset, DeviceDataset], fp32: list[End], convolutions: list[torch.Size]
) -> None:
    """Weights, gradients, momentum and statistics stay float32 throughout; only the activations are rounded."""
    bf16 = [train("bf16", seed, *sets) for seed in SEEDS]
    assert bool(convolutions) == (kernels.in_use() is not None and kernels.convolves(torch.bfloat16))
    assert all(keeps_float32(tensor) for end in bf16 for tensor in end.kept)
    assert all(gradient.dtype is torch.float32 for end in bf16 for gradient in end.gradients)
    assert bf16[0].test_loss != fp32[0].test_loss, "nothing was computed in bf16"
    assert min(end.test_accuracy for end in fp32 + bf16) > 30.0, "nothing was learned that could be lost"
    for what, least_spread in LEAST_SPREAD.items():
        expected, found = ([getattr(end, what) for end in ends] for ends in (fp32, bf16))
        assert standard_errors(expected, found, least_spread) < LARGEST, f"{what}: fp32 {expected}, bf16 {found}"
