"""A dual path network (Chen et al., arXiv 1707.01629) of basic blocks. Built by `fmnist_tui.models.build_model`.

The channels of a feature map are two paths side by side: the first `filters` are the residual path, which
units add to; the rest is the dense path, which units append to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fmnist_tui.config import CLASSES, DualPathNetConfig
from fmnist_tui.models.init import initialise
from fmnist_tui.models.layers import BatchNormReLU, Classifier, PreActivationBlock, conv3x3


class FirstUnit(nn.Module):
    """The first unit of a stage makes both paths anew from all it is given, and downsamples by `stride`."""

    def __init__(self, in_channels: int, filters: int, growth_rate: int, stride: int) -> None:
        super().__init__()
        self.residual = PreActivationBlock(in_channels, filters, stride, project=True)
        self.dense = conv3x3(in_channels, 2 * growth_rate, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, filters + 2 * growth_rate, H / stride, W / stride)."""
        return torch.cat([self.residual(x), self.dense(x)], dim=1)


class DualPathUnit(nn.Module):
    """BN-ReLU-3x3-BN-ReLU-3x3 of both paths; one part of the result is added, the other appended."""

    def __init__(self, in_channels: int, filters: int, growth_rate: int) -> None:
        super().__init__()
        self.filters = filters
        width = filters + growth_rate
        self.layers = nn.Sequential(
            BatchNormReLU(in_channels), conv3x3(in_channels, width), BatchNormReLU(width), conv3x3(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, in_channels + growth_rate, H, W)."""
        y = self.layers(x)
        # Split, not sliced: a slice's gradient is made of zeros in the default memory format, and every convolution
        # that follows in the backward pass would copy it into its own.
        residual, dense = x.split([self.filters, x.shape[1] - self.filters], dim=1)
        added, appended = y.split([self.filters, y.shape[1] - self.filters], dim=1)
        return torch.cat([residual + added, dense, appended], dim=1)


class DualPathNet(nn.Module):
    """Stages of `blocks[i]` units each; every stage but the first halves the image."""

    def __init__(self, config: DualPathNetConfig) -> None:
        super().__init__()
        self.stem = conv3x3(1, 16)
        channels = 16
        units: list[nn.Module] = []
        for stage, (blocks, filters, growth_rate) in enumerate(
            zip(config.blocks, config.filters, config.growth_rate, strict=True)
        ):
            units.append(FirstUnit(channels, filters, growth_rate, stride=1 if stage == 0 else 2))
            channels = filters + 2 * growth_rate
            for _ in range(blocks - 1):
                units.append(DualPathUnit(channels, filters, growth_rate))
                channels += growth_rate
        self.units = nn.Sequential(*units)
        self.norm = BatchNormReLU(channels)
        self.classifier = Classifier(channels, len(CLASSES))
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) float images to (B, 10) logits."""
        logits: Tensor = self.classifier(self.norm(self.units(self.stem(images))))
        return logits
