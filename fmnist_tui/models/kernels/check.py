"""Whether the kernels can be used on this machine: they are built, and compute what torch does."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from fmnist_tui.models.kernels import build, switch
from fmnist_tui.models.kernels.mixture import norm_mixture
from fmnist_tui.models.kernels.norm import KINDS, Activation, norm_activation
from fmnist_tui.models.kernels.pool import max_pool

TOLERANCE = 0.02
"""Largest distance from torch in fp32, relative to its norm, of a right kernel: bf16 keeps 8 bits."""
CHANNELS = 12


@functools.cache
def problem() -> str | None:
    """Why the kernels can't be used on this machine, or None."""
    try:
        build.library()
    except build.Unavailable as error:
        return str(error)
    before = switch.in_use()
    switch.use(True)
    try:
        return _disagreement()
    finally:
        switch.use(before)


def _disagreement() -> str | None:
    """What the kernels compute that torch does not, in words."""
    exact = _images(3)
    rounded = [image.to(torch.bfloat16, memory_format=torch.channels_last) for image in exact]
    for activation in KINDS:
        distance = _distance(_pooled(activation, rounded[0]), _pooled(activation, rounded[0].float()))
        if not distance <= TOLERANCE:
            return f"batch norm with {activation} and pooling differ from torch's by {100 * distance:.3g} %"
    distance = _distance(_mixed(rounded), _mixed([image.float() for image in rounded]))
    if not distance <= TOLERANCE:
        return f"the mixture of two branches differs from torch's by {100 * distance:.3g} %"
    return None


def _images(count: int) -> list[Tensor]:
    return list(torch.randn((count, 3, CHANNELS, 5, 7), generator=torch.Generator().manual_seed(0)))


def _distance(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def _pooled(activation: Activation, image: Tensor) -> Tensor:
    """Everything that comes of batch norm with its activation and pooling: by torch where the image is fp32."""
    bn, x = _norm(), image.clone().requires_grad_()
    pooled = max_pool(norm_activation(bn, x, activation))
    return _all_of(pooled, [x], [bn])


def _mixed(images: list[Tensor]) -> Tensor:
    """The same of the end of a Shake-Shake block."""
    norms = _norm(), _norm()
    inputs = [image.clone().requires_grad_() for image in images]
    first, second, shortcut = inputs
    a, b = torch.linspace(0.2, 0.9, 6).to(first.dtype).view(2, 3, 1, 1, 1)
    total, activated = norm_mixture(norms, (first, second), (a, b), shortcut)
    return _all_of(total + 2 * activated, inputs, norms)


def _norm() -> nn.BatchNorm2d:
    bn = nn.BatchNorm2d(CHANNELS)
    with torch.no_grad():
        bn.bias.copy_(torch.linspace(-1, 1, CHANNELS))
    return bn


def _all_of(result: Tensor, inputs: list[Tensor], norms: tuple[nn.BatchNorm2d, ...] | list[nn.BatchNorm2d]) -> Tensor:
    """The result, all gradients of the sum of its squares, and the statistics, one after the other in fp32."""
    result.float().square().sum().backward()
    found: list[Tensor | None] = [result.detach(), *(x.grad for x in inputs)]
    for bn in norms:
        found += [bn.weight.grad, bn.bias.grad, bn.running_mean, bn.running_var]
    return torch.cat([values.float().flatten() for values in found if values is not None])
