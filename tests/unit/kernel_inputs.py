"""Inputs and batch norms for the tests of `models.kernels`, and how near to the exact result one must come."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS_LAST = torch.channels_last


def images(*shape: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    """bf16 in channels_last, every channel with a mean of its own, some of them far from 0."""
    generator = torch.Generator().manual_seed(seed)
    means = 4 * torch.randn((1, shape[1], 1, 1), generator=generator)
    values = spread * torch.randn(shape, generator=generator) + means
    return values.to(torch.bfloat16).contiguous(memory_format=CHANNELS_LAST)


def norm(channels: int) -> nn.BatchNorm2d:
    bn = nn.BatchNorm2d(channels, momentum=0.3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        bn.weight.copy_(torch.randn(channels, generator=generator))
        bn.bias.copy_(torch.randn(channels, generator=generator))
    return bn


def close(found: Tensor, exact: Tensor, tolerance: float = 2**-8) -> None:
    """Within `tolerance` of the largest: bf16 rounds by up to 2**-9 of each value."""
    assert found.shape == exact.shape
    difference = (found.double() - exact.double()).abs().max()
    assert difference <= tolerance * exact.double().abs().max().clamp_min(1e-6), float(difference)
