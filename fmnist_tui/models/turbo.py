"""A small network for training in minutes, after airbench (Jordan, arXiv 2404.00498). Built by `build_model`.

A frozen 3x3 convolution whitens the image's patches, groups of two convolutions halve the image each, and the
largest value of each channel goes to a linear head. What makes it fast to train, beside its size: the first
layer need not be learned, filters begin as the identity, and batch norm's weights stay 1.
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnist_tui.config import CLASSES, TurboConfig
from fmnist_tui.data.batches import normalize
from fmnist_tui.models.kernels import max_pool, norm_activation
from fmnist_tui.models.layers import conv3x3

PATCH = 3
WHITENING_IMAGES = 5000
"""Training images the whitening is computed from: 3.4 million patches for 45 numbers."""


class Whitening(nn.Module):
    """A frozen 3x3 convolution whose results are uncorrelated and of variance 1, then a trained bias and GELU.

    Its filters are the eigenvectors of the patches' covariance, the largest eigenvalues first, each over the
    root of its eigenvalue, and then the same with the sign turned, because GELU keeps one side only.
    """

    filters: Tensor
    """(whitening_filters, 1, 3, 3) float32, a buffer: saved with the weights, never trained."""

    def __init__(self, config: TurboConfig) -> None:
        super().__init__()
        self.epsilon, self.padding = config.whitening_epsilon, config.whitening_padding
        directions = nn.init.orthogonal_(torch.empty(PATCH * PATCH, PATCH * PATCH))
        self.register_buffer("filters", _both_signs(directions[: config.whitening_filters // 2]))
        self.bias = nn.Parameter(torch.zeros(config.whitening_filters))
        self.trains_bias = True

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) to (B, whitening_filters, H, W), less 2 in height and width without padding."""
        # A detached bias ends the backward pass before the gradient of the largest layer's input: 4 % of a step at
        # 28 pixels, 10 % at 20 (one thread of an AVX-512 CPU with bf16, torch 2.14, minimum of 5).
        bias = self.bias if self.trains_bias else self.bias.detach()
        return F.gelu(F.conv2d(images, self.filters, bias, padding=self.padding))

    @torch.no_grad()
    def initialise_from(self, images: Tensor) -> None:
        """Compute the filters from (N, H, W) uint8 images. On the CPU in float64: the same on every device."""
        values, vectors = torch.linalg.eigh(patch_covariance(images))
        values, vectors = values.flip(0), vectors.T.flip(0)  # rows, the largest eigenvalue first
        # An eigenvector's sign is arbitrary: its largest component shall be positive.
        largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
        whitening = vectors * largest.sign() / (values + self.epsilon).sqrt()[:, None]
        self.filters.copy_(_both_signs(whitening[: len(self.filters) // 2]))


def _both_signs(directions: Tensor) -> Tensor:
    """(n, 9) to filters (2n, 1, 3, 3)."""
    return torch.cat([directions, -directions]).reshape(-1, 1, PATCH, PATCH)


def patch_covariance(images: Tensor) -> Tensor:
    """Covariance (9, 9) float64 of the 3x3 patches of (N, H, W) uint8 images, normalised as for the network."""
    total = torch.zeros(PATCH * PATCH, dtype=torch.float64)
    products = torch.zeros(PATCH * PATCH, PATCH * PATCH, dtype=torch.float64)
    count = 0
    for part in images[:WHITENING_IMAGES].cpu().split(1000):
        patches = F.unfold(normalize(part), PATCH).transpose(1, 2).reshape(-1, PATCH * PATCH).double()
        total += patches.sum(0)
        products += patches.T @ patches
        count += len(patches)
    mean = total / count
    return products / count - torch.outer(mean, mean)


class Group(nn.Module):
    """Conv - 2x2 max pool - BN - GELU, then conv - BN - GELU once or more; batch norm's weights are frozen at 1.

    With more than one of the latter they are a residual branch: what entered the first of them is added before
    the last GELU (airbench96).
    """

    def __init__(self, in_channels: int, out_channels: int, *, convs: int, bn_momentum: float) -> None:
        super().__init__()
        inputs = [in_channels, *[out_channels] * (convs - 1)]
        self.convs = nn.ModuleList([conv3x3(channels, out_channels) for channels in inputs])
        self.norms = nn.ModuleList([nn.BatchNorm2d(out_channels, momentum=bn_momentum) for _ in inputs])
        for conv, norm in zip(self.convs, self.norms, strict=True):
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            nn.init.dirac_(conv.weight[: min(conv.in_channels, out_channels)])  # the others keep torch's default
            norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H // 2, W // 2)."""
        norms = cast(list[nn.BatchNorm2d], list(self.norms))
        x = norm_activation(norms[0], _halve(self.convs[0](x)), "gelu")
        entered = x
        for index in range(1, len(self.convs)):
            x = self.convs[index](x)
            if index == len(self.convs) - 1 and index > 1:
                x = F.gelu(norms[index](x) + entered)
            else:
                x = norm_activation(norms[index], x, "gelu")
        return x


def _halve(x: Tensor) -> Tensor:
    """2x2 max pooling; an odd last row or column is left out."""
    if x.is_cuda and torch.are_deterministic_algorithms_enabled():
        # max_pool2d has no deterministic backward pass on CUDA. On a CPU it is 15 to 20 times faster than this.
        x = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
        return x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))
    return max_pool(x)


class Turbo(nn.Module):
    """Whitening, the groups, and a linear head without bias on the largest value of each channel."""

    def __init__(self, config: TurboConfig) -> None:
        super().__init__()
        self.whitening = Whitening(config)
        self.bias_share = config.whitening_bias_share
        widths = (config.whitening_filters, *config.widths)
        self.groups = nn.Sequential(
            *[
                Group(a, b, convs=config.group_convs, bn_momentum=config.bn_momentum)
                for a, b in itertools.pairwise(widths)
            ]
        )
        self.head = nn.Linear(widths[-1], len(CLASSES), bias=False)
        nn.init.normal_(self.head.weight)
        self.head_scale = config.head_scale

    def initialise_from(self, images: Tensor) -> None:
        """Let the whitening see training images, (N, 28, 28) uint8."""
        self.whitening.initialise_from(images)

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Freeze the whitening's bias after its share of the run; `epoch` counts from 1."""
        self.whitening.trains_bias = epoch <= round(self.bias_share * epochs)

    @property
    def phase(self) -> bool:
        """Whether the whitening's bias is trained."""
        return self.whitening.trains_bias

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) float images, H and W at least 8, to (B, 10) logits."""
        features = self.groups(self.whitening(images)).amax((2, 3))
        logits: Tensor = self.head(features) * self.head_scale
        return logits
