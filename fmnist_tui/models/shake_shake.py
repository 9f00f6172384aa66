"""Shake-Shake (Gastaldi, arXiv 1705.07485). Built by `fmnist_tui.models.build_model`.

A block adds a random mixture of two branches to its shortcut. The mixture of the forward pass and that of
the backward pass are drawn independently; at test time both branches count one half.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fmnist_tui.config import CLASSES, ShakeShakeConfig
from fmnist_tui.models.init import initialise
from fmnist_tui.models.kernels import norm_mixture
from fmnist_tui.models.layers import BatchNormReLU, Classifier, conv1x1, conv3x3
from fmnist_tui.models.noise import rand_per_image


def draw_branch_weights(x: Tensor, level: str) -> tuple[Tensor, Tensor]:
    """The weights a and b of `Mix` for the images of x (B, C, H, W): independent, each U(0, 1), of x's dtype.

    (B, 1, 1, 1) for level "image", (1, 1, 1, 1) for "batch". From the default generator of x's device. Drawn
    in float32 and then cast, so that precision does not change the sequence of draws. One draw for both: by
    itself, torch.compile would move b's into the backward pass, and the order of draws would change.
    """
    if level == "image":
        drawn = rand_per_image(2, x)
    else:
        drawn = torch.rand((2, 1, 1, 1, 1), dtype=torch.float32, device=x.device)
    a, b = drawn.to(x.dtype).unbind()
    return a, b


class ShakeBlock(nn.Module):
    """shortcut(x) plus the mixture of two branches ReLU-3x3-BN-ReLU-3x3-BN."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, config: ShakeShakeConfig) -> None:
        super().__init__()
        # The ReLU that opens both branches and the shortcut is computed once, by the block before.
        self.branch1 = self._branch(in_channels, out_channels, stride)
        self.branch2 = self._branch(in_channels, out_channels, stride)
        self.shortcut: nn.Module | None = None
        if in_channels != out_channels:
            self.shortcut = Shortcut(in_channels, out_channels)
        self.shake_forward = config.shake_forward
        self.shake_backward = config.shake_backward
        self.shake_level = config.shake_level

    @staticmethod
    def _branch(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            conv3x3(in_channels, out_channels, stride),
            BatchNormReLU(out_channels),
            conv3x3(out_channels, out_channels),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor, activated: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, in_channels, H, W) and ReLU(x) to y (B, out_channels, H / stride, W / stride) and ReLU(y)."""
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(activated)
        (first, norm1), (second, norm2) = (_but_norm(branch, activated) for branch in (self.branch1, self.branch2))
        return norm_mixture((norm1, norm2), (first, second), self._weights(first), shortcut)

    def _weights(self, branch: Tensor) -> tuple[Tensor, Tensor] | None:
        """The weights a and b of `Mix`; None where both branches count one half."""
        if not self.training or not (self.shake_forward or self.shake_backward):
            return None
        a, b = draw_branch_weights(branch, self.shake_level)
        if not self.shake_forward:
            a = torch.full_like(a, 0.5)
        if not self.shake_backward:
            b = a
        return a, b


def _but_norm(branch: nn.Sequential, x: Tensor) -> tuple[Tensor, nn.BatchNorm2d]:
    """What enters a branch's last layer, and that layer."""
    *layers, norm = branch
    for layer in layers:
        x = layer(x)
    return x, cast(nn.BatchNorm2d, norm)  # or what several GPUs have in its place


class Shortcut(nn.Module):
    """Halves the image and changes the width: two 1x1 convolutions of every second pixel, side by side, BN.

    The first sees the pixels at even rows and columns, the second those at odd ones, which are the even ones
    after a shift by one pixel. (The zeros that such a shift brings in are never met: 28 and 14 are even.)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_even = conv1x1(in_channels, out_channels // 2)
        self.conv_odd = conv1x1(in_channels, out_channels // 2)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, activated: Tensor) -> Tensor:
        """(B, in_channels, H, W) after ReLU, H and W even, to (B, out_channels, H / 2, W / 2)."""
        even, odd = EvenAndOdd.apply(activated)
        y: Tensor = self.norm(torch.cat([self.conv_even(even), self.conv_odd(odd)], dim=1))
        return y


class EvenAndOdd(torch.autograd.Function):
    """The pixels of x (B, C, H, W) at even rows and columns, and those at odd ones: (B, C, H / 2, W / 2) each.

    A slice's own gradient is made of zeros in the default memory format, once for each dimension, and adding it to
    one in channels_last copies again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shape, ctx.layout = x.shape, _layout(x)
        even, odd = x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]
        return even.contiguous(memory_format=ctx.layout), odd.contiguous(memory_format=ctx.layout)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        even, odd = grad_outputs
        grad = torch.empty(ctx.shape, dtype=even.dtype, device=even.device, memory_format=ctx.layout).zero_()
        grad[:, :, ::2, ::2] = even
        grad[:, :, 1::2, 1::2] = odd
        return grad


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


class ShakeShake(nn.Module):
    """Three stages of blocks, `base_channels` wide, then twice and four times that."""

    def __init__(self, config: ShakeShakeConfig) -> None:
        super().__init__()
        blocks_per_stage = (config.depth - 2) // 6
        channels = config.base_channels
        self.stem = nn.Sequential(conv3x3(1, channels), nn.BatchNorm2d(channels))
        blocks = []
        for stage in range(3):
            width = config.base_channels * 2**stage
            for _ in range(blocks_per_stage):
                stride = 1 if channels == width else 2
                blocks.append(ShakeBlock(channels, width, stride, config))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = Classifier(channels, len(CLASSES))
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) float images to (B, 10) logits."""
        x: Tensor = self.stem(images)
        activated = F.relu(x)  # not in place: an identity shortcut adds the raw x
        for block in self.blocks:
            x, activated = block(x, activated)
        logits: Tensor = self.classifier(activated)
        return logits
