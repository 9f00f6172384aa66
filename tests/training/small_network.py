"""A small network, its training step and compilers of it for the tests of compiling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import choose
from fmnist_tui.training.step import TrainStep
from tests.training.tiny import full_size_config

Batches = list[tuple[Tensor, Tensor]]
NOISY = {"kind": "shake_shake", "depth": 8, "base_channels": 4}


class Small(nn.Module):
    """What a trial may disturb, batch norm's statistics and random numbers, and little to trace: most of a test's time.

    A trial traces its network twice; Shake-Shake in its place took 20 s where this takes less than one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.linear = nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) float images to (B, 10) logits."""
        features = F.relu(self.bn(self.conv(images)))
        logits: Tensor = self.linear(F.dropout(features, 0.2, self.training).mean((2, 3)))
        return logits


def make_step(try_compile: bool = True, **training: Any) -> TrainStep:
    config = full_size_config(training={"deterministic": False, "batch_size": 8, **training})
    torch.manual_seed(0)
    model = Small()
    execution = replace(choose(config.training, torch.device("cpu")), try_compile=try_compile)
    return TrainStep(model, build_optimizer(model, config.optimizer), config, execution)


def wrong(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    """A compiler whose networks answer half of what they should."""
    return lambda *values: [0.5 * value for value in module(*values)]


def broken(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    raise RuntimeError("no C++ compiler here")
