"""Layers that several families are made of. Used by the family files beside it only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fmnist_tui.models.kernels import convolve, norm_activation, norm_activation_beside
from fmnist_tui.models.noise import dropout


class Convolution(nn.Conv2d):
    """torch's, in fewer multiplications where there is a kernel for it."""

    def forward(self, x: Tensor) -> Tensor:
        return convolve(self, x)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the image size (divides it by `stride`); no bias, batch norm has one."""
    return Convolution(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """1x1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


class BatchNormReLU(nn.Module):
    """Batch norm, then ReLU: what stands before nearly every convolution of these networks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return norm_activation(self.bn, x, "relu")

    def beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The result and x, for a layer that also passes x on: so the gradients of both meet in one pass."""
        return norm_activation_beside(self.bn, x, "relu")


class PreActivationBlock(nn.Module):
    """Pre-activation basic residual block (arXiv 1603.05027): BN-ReLU-3x3-BN-ReLU-(dropout)-3x3 plus shortcut.

    `project`: the shortcut is a 1x1 convolution of the activated input; else it is the raw input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, project: bool, drop_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = BatchNormReLU(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.norm2 = BatchNormReLU(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.shortcut = conv1x1(in_channels, out_channels, stride) if project else None
        self.drop_rate = drop_rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        activated = self.norm1(x)
        y: Tensor = self.norm2(self.conv1(activated))
        y = self.conv2(dropout(y, self.drop_rate, self.training))
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(activated)
        return y + shortcut


class Classifier(nn.Module):
    """Global average and a linear layer: (B, channels, H, W) to (B, classes) logits."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(torch.mean(x, dim=(2, 3)))
        return logits
