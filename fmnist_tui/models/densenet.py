"""DenseNet and DenseNet-BC (Huang et al., arXiv 1608.06993). Built by `fmnist_tui.models.build_model`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnist_tui.config import CLASSES, DenseNetConfig
from fmnist_tui.models.init import initialise
from fmnist_tui.models.kernels import BottleneckLayer, dense_block, fits
from fmnist_tui.models.layers import BatchNormReLU, Classifier, conv1x1, conv3x3
from fmnist_tui.models.noise import dropout

DENSE_BLOCKS = 3


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

    def parts(self) -> BottleneckLayer | None:
        """Its layers, where nothing lies between them but ReLU."""
        if self.bottleneck is None or (self.training and self.drop_rate > 0):
            return None
        norm, conv = self.bottleneck
        assert isinstance(norm, BatchNormReLU) and isinstance(conv, nn.Conv2d)
        return BottleneckLayer(norm.bn, conv, self.norm.bn, self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, in_channels + growth_rate, H, W)."""
        if self.bottleneck is not None:
            norm, conv = self.bottleneck
            assert isinstance(norm, BatchNormReLU)
            y, x = norm.beside(x)
            y = self.norm(dropout(conv(y), self.drop_rate, self.training))
        else:
            y, x = self.norm.beside(x)
        y = dropout(self.conv(y), self.drop_rate, self.training)
        return torch.cat([x, y], dim=1)


class Transition(nn.Module):
    """BN-ReLU-1x1 to fewer channels, then 2x2 average pooling.

    Where nothing lies between them the pooling comes first: a 1x1 convolution of averages is the average of its
    results, and has a quarter of the work. BN-ReLU is applied by the network, as one operation
    with the block before it where there is one.
    """

    def __init__(self, in_channels: int, out_channels: int, *, drop_rate: float) -> None:
        super().__init__()
        self.norm = BatchNormReLU(in_channels)
        self.conv = conv1x1(in_channels, out_channels)
        self.drop_rate = drop_rate

    def forward(self, y: Tensor) -> Tensor:
        """What `norm` makes, (B, in_channels, H, W), to (B, out_channels, H // 2, W // 2)."""
        if self.drop_rate > 0 and self.training:
            return F.avg_pool2d(dropout(self.conv(y), self.drop_rate, self.training), kernel_size=2)
        result: Tensor = self.conv(F.avg_pool2d(y, kernel_size=2))
        return result


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
        x = self.stem(images)
        waiting: list[DenseLayer] = []
        for layer in self.blocks:
            if isinstance(layer, Transition):
                x = layer(_in_turn(waiting, layer.norm, x))
                waiting = []
            else:
                assert isinstance(layer, DenseLayer)
                waiting.append(layer)
        logits: Tensor = self.classifier(_in_turn(waiting, self.norm, x))
        return logits


def _in_turn(layers: list[DenseLayer], norm: BatchNormReLU, x: Tensor) -> Tensor:
    """norm of x and, behind it, what each layer appends, as one operation where there is one."""
    if layers and fits(x):
        parts = [part for layer in layers if (part := layer.parts()) is not None]
        block = dense_block(parts, norm.bn, x) if len(parts) == len(layers) else None
        if block is not None:
            return block
    for layer in layers:
        x = layer(x)
    result: Tensor = norm(x)
    return result
