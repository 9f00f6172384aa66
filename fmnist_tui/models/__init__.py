"""The model families: a validated model configuration in, a network out. Called by the trainer and `bench`.

Importing this package (or `fmnist_tui.models.count`) does not import torch, so the app may count parameters
without it; torch comes in with the first call of `build_model`. To add a family: its configuration in
config/models.py, one file here with the network, a branch in `build_model`, and its layers in count.py.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, assert_never

from fmnist_tui.config import (
    DenseNetConfig,
    DualPathNetConfig,
    ModelConfig,
    ShakeShakeConfig,
    TurboConfig,
    WideResNetConfig,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["begin_epoch", "build_model", "count_parameters", "initialise_from", "phase"]


def build_model(config: ModelConfig) -> nn.Module:
    """A freshly initialised network: (B, 1, 28, 28) float images to (B, 10) logits.

    On torch's default device, in its default dtype and in training mode. The initial weights are drawn from
    torch's default generator, so `torch.manual_seed` before the call determines them.
    """
    if isinstance(config, WideResNetConfig):
        from fmnist_tui.models.wide_resnet import WideResNet

        return WideResNet(config)
    if isinstance(config, DenseNetConfig):
        from fmnist_tui.models.densenet import DenseNet

        return DenseNet(config)
    if isinstance(config, DualPathNetConfig):
        from fmnist_tui.models.dual_path_net import DualPathNet

        return DualPathNet(config)
    if isinstance(config, ShakeShakeConfig):
        from fmnist_tui.models.shake_shake import ShakeShake

        return ShakeShake(config)
    if isinstance(config, TurboConfig):
        from fmnist_tui.models.turbo import Turbo

        return Turbo(config)
    assert_never(config)


def initialise_from(model: nn.Module, images: Tensor) -> None:
    """Let a network that wants to see training images before its first step see them: (N, 28, 28) uint8.

    Called once, where a run starts anew; what comes of it is in buffers, so that a checkpoint has it.
    """
    if (look := getattr(model, "initialise_from", None)) is not None:
        look(images)


def begin_epoch(model: nn.Module, epoch: int, epochs: int) -> None:
    """Tell a network that changes with the run which epoch (counted from 1) of how many begins."""
    if (begin := getattr(model, "begin_epoch", None)) is not None:
        begin(epoch, epochs)


def phase(model: nn.Module) -> Hashable:
    """What of the work of a training step `begin_epoch` has changed: equal where the same operations are done."""
    return getattr(model, "phase", None)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters; batch-norm's running statistics are buffers, not parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
