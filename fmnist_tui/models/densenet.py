"""DenseNet and DenseNet-BC (Huang et al., arXiv 1608.06993). Built by `fmnist_tui.models.build_model`."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnist_tui.config import CLASSES, DenseNetConfig
from fmnist_tui.models.batch_statistics import BatchStatistics, batch_statistics, can_share
from fmnist_tui.models.init import initialise
from fmnist_tui.models.layers import BatchNormReLU, Classifier, conv1x1, conv3x3
from fmnist_tui.models.noise import dropout

DENSE_BLOCKS = 3


class Features(NamedTuple):
    """What a dense block has so far."""

    maps: Tensor
    """(B, C, H, W)."""
    statistics: BatchStatistics | None
    """Theirs, where the batch norms of the block share them."""


class DenseLayer(nn.Module):
    """BN-ReLU-3x3 of everything so far, appended to it; with a bottleneck, BN-ReLU-1x1 comes first."""

    def __init__(self, in_channels: int, growth_rate: int, *, bottleneck: bool, drop_rate: float) -> None:
        super().__init__()
        self.bottleneck: nn.Sequential | None = None
        channels = in_channels
        if bottleneck:
            channels = 4 * growth_rate
            self.bottleneck = nn.Sequential(BatchNormReLU(in_channels), conv1x1(in_channels, channels))
        self.norm = BatchNormReLU(channels)
        self.conv = conv3x3(channels, growth_rate)
        self.drop_rate = drop_rate

    def forward(self, features: Features) -> Features:
        """Feature maps (B, in_channels, H, W) to (B, in_channels + growth_rate, H, W)."""
        x, statistics = features
        if self.bottleneck is not None:
            norm, conv = self.bottleneck
            y = self.norm(dropout(conv(norm(x, statistics)), self.drop_rate, self.training))
        else:
            y = self.norm(x, statistics)
        y = dropout(self.conv(y), self.drop_rate, self.training)
        if statistics is not None:
            statistics = statistics.followed_by(batch_statistics(y))
        return Features(torch.cat([x, y], dim=1), statistics)


class Transition(nn.Module):
    """BN-ReLU-1x1 to fewer channels, then 2x2 average pooling."""

    def __init__(self, in_channels: int, out_channels: int, *, drop_rate: float) -> None:
        super().__init__()
        self.norm = BatchNormReLU(in_channels)
        self.conv = conv1x1(in_channels, out_channels)
        self.drop_rate = drop_rate

    def forward(self, features: Features) -> Features:
        """Feature maps (B, in_channels, H, W) to (B, out_channels, H // 2, W // 2)."""
        y = dropout(self.conv(self.norm(*features)), self.drop_rate, self.training)
        return begin_block(F.avg_pool2d(y, kernel_size=2), shared=features.statistics is not None)


def begin_block(maps: Tensor, *, shared: bool) -> Features:
    """What a dense block begins with: `maps`, with their statistics where they are `shared`."""
    return Features(maps, batch_statistics(maps) if shared else None)


def stem_channels(config: DenseNetConfig) -> int:
    """Section 3 of the paper: twice the growth rate for DenseNet-BC, 16 for the others."""
    is_bc = config.bottleneck and config.reduction < 1.0
    return 2 * config.growth_rate if is_bc else 16


class DenseNet(nn.Module):
    """Three dense blocks with a transition between each two."""

    def __init__(self, config: DenseNetConfig) -> None:
        super().__init__()
        layers_per_block = (config.depth - 4) // (6 if config.bottleneck else 3)
        channels = stem_channels(config)
        self.stem = conv3x3(1, channels)
        blocks: list[nn.Module] = []
        for block in range(DENSE_BLOCKS):
            if block > 0:
                kept = max(int(channels * config.reduction), 1)
                blocks.append(Transition(channels, kept, drop_rate=config.drop_rate))
                channels = kept
            for _ in range(layers_per_block):
                blocks.append(
                    DenseLayer(
                        channels,
                        config.growth_rate,
                        bottleneck=config.bottleneck,
                        drop_rate=config.drop_rate,
                    )
                )
                channels += config.growth_rate
        self.blocks = nn.Sequential(*blocks)
        self.norm = BatchNormReLU(channels)
        self.classifier = Classifier(channels, len(CLASSES))
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) float images to (B, 10) logits."""
        features = begin_block(self.stem(images), shared=can_share(self, images))
        logits: Tensor = self.classifier(self.norm(*self.blocks(features)))
        return logits
