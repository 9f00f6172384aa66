"""Wide ResNet (Zagoruyko and Komodakis, arXiv 1605.07146). Built by `fmnist_tui.models.build_model`."""

from __future__ import annotations

from torch import Tensor, nn

from fmnist_tui.config import CLASSES, WideResNetConfig
from fmnist_tui.models.init import initialise
from fmnist_tui.models.layers import BatchNormReLU, Classifier, PreActivationBlock, conv3x3


class WideResNet(nn.Module):
    """Three groups of pre-activation blocks, 16, 32 and 64 times `widen_factor` channels wide."""

    def __init__(self, config: WideResNetConfig) -> None:
        super().__init__()
        blocks_per_group = (config.depth - 4) // 6
        self.stem = conv3x3(1, 16)
        channels = 16
        blocks = []
        for base_width, group_stride in ((16, 1), (32, 2), (64, 2)):
            width = base_width * config.widen_factor
            for block in range(blocks_per_group):
                stride = group_stride if block == 0 else 1
                project = channels != width
                blocks.append(PreActivationBlock(channels, width, stride, project=project, drop_rate=config.drop_rate))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = BatchNormReLU(channels)
        self.classifier = Classifier(channels, len(CLASSES))
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) float images to (B, 10) logits."""
        logits: Tensor = self.classifier(self.norm(self.blocks(self.stem(images))))
        return logits
