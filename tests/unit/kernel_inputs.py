"""Inputs and batch norms for the tests of `models.kernels`, and how near to the exact result one must come."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS_LAST = torch.channels_last

dtype = torch.bfloat16
"""Of images; the fixture `kernels_used` sets it to that of the kernels it uses."""


def images(*shape: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    """In channels_last, every channel with a mean of its own, some of them far from 0."""
    generator = torch.Generator().manual_seed(seed)
    means = 4 * torch.randn((1, shape[1], 1, 1), generator=generator)
    values = spread * torch.randn(shape, generator=generator) + means
    return values.to(dtype).contiguous(memory_format=CHANNELS_LAST)


def norm(channels: int) -> nn.BatchNorm2d:
    bn = nn.BatchNorm2d(channels, momentum=0.3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        bn.weight.copy_(torch.randn(channels, generator=generator))
        bn.bias.copy_(torch.randn(channels, generator=generator))
    return bn


def close(found: Tensor, exact: Tensor, tolerance: float | None = None, terms: float = 0.0) -> None:
    """Within `tolerance` of the largest: bf16 rounds by up to 2**-9 of each value, fp32 by 2**-24 each of some sums.

    `terms`: how large what is added up may be, where little is left of it.
    """
    assert found.shape == exact.shape
    if tolerance is None:
        tolerance = 2**-8 if found.dtype == torch.bfloat16 else 1e-5
    difference = (found.double() - exact.double()).abs().max()
    assert difference <= tolerance * exact.double().abs().max().clamp_min(max(terms, 1e-6)), float(difference)


def largest_term(bn: nn.BatchNorm2d, x: Tensor, grad: Tensor) -> float:
    """Of those that batch norm's gradient is the difference of: of two pixels that are nearly equal nothing is left."""
    deviation = (x.double().var((0, 2, 3), correction=0) + bn.eps).sqrt()
    return float((bn.weight.detach() / deviation).abs().max() * grad.abs().max())
