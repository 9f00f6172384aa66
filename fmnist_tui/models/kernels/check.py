"""Whether the kernels can be used on this machine: they are built, and compute what torch does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnist_tui.models.kernels import build, switch
from fmnist_tui.models.kernels.convolution import convolve
from fmnist_tui.models.kernels.dense import BottleneckLayer, dense_block
from fmnist_tui.models.kernels.mixture import norm_mixture
from fmnist_tui.models.kernels.norm import KINDS, Activation, norm_activation
from fmnist_tui.models.kernels.pool import max_pool

TOLERANCES = {torch.bfloat16: 0.02, torch.float32: 1e-4}
"""Largest distance from torch in fp32, relative to its norm, of right kernels: bf16 keeps 8 bits."""
CHANNELS = 12


@functools.cache
def problem(dtype: torch.dtype) -> str | None:
    """Why the kernels for images of this dtype can't be used on this machine, or None."""
    try:
        build.library(dtype)
    except build.Unavailable as error:
        return str(error)
    before = switch.in_use()
    try:
        with torch.random.fork_rng(devices=[]):  # the first to ask would else have other weights than the next
            return _disagreement(dtype)
    finally:
        switch.use(before)


def _disagreement(dtype: torch.dtype) -> str | None:
    """What the kernels compute that torch does not, in words."""
    images = [image.to(dtype, memory_format=torch.channels_last) for image in _images(3)]
    checks: dict[str, Callable[[list[Tensor]], Tensor]] = {
        f"batch norm with {activation} and pooling differ": functools.partial(_pooled, activation)
        for activation in KINDS
    }
    checks["the mixture of two branches differs"] = _mixed
    if build.convolves(dtype):
        checks["convolution differs"] = _convolved
    if dtype == torch.float32:
        checks["a dense layer differs"] = _appended
    for words, compute in checks.items():
        switch.use(dtype)
        found = compute(images)
        switch.use(None)
        distance = _distance(found, compute([image.float() for image in images]))
        if not distance <= TOLERANCES[dtype]:
            return f"{words} from torch's by {100 * distance:.3g} %"
    return None


def _images(count: int) -> list[Tensor]:
    return list(torch.randn((count, 3, CHANNELS, 5, 7), generator=torch.Generator().manual_seed(0)))


def _distance(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def _pooled(activation: Activation, images: list[Tensor]) -> Tensor:
    """Everything that comes of batch norm with its activation and pooling."""
    bn, x = _norm(), images[0].clone().requires_grad_()
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


def _convolved(images: list[Tensor]) -> Tensor:
    """The same of a convolution."""
    conv = _convolution(CHANNELS, 2 * CHANNELS, 3)
    x = images[0].clone().requires_grad_()
    return _all_of(convolve(conv, x), [x, conv.weight], [])


def _appended(images: list[Tensor]) -> Tensor:
    """The same of a dense layer."""
    layer = BottleneckLayer(_norm(), _convolution(CHANNELS, CHANNELS, 1), _norm(), _convolution(CHANNELS, CHANNELS, 3))
    x = images[0].clone().requires_grad_()
    norm = _norm(2 * CHANNELS)
    result = dense_block([layer], norm, x)
    if result is None:
        y = F.conv2d(F.relu(layer.norm1(x)), layer.reduce.weight)
        y = F.conv2d(F.relu(layer.norm2(y)), layer.grow.weight, padding=1)
        result = F.relu(norm(torch.cat([x, y], dim=1)))
    return _all_of(result, [x, layer.reduce.weight, layer.grow.weight], [layer.norm1, layer.norm2, norm])


def _convolution(channels: int, outputs: int, size: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, outputs, kernel_size=size, padding=size // 2, bias=False)
    filters = torch.randn(conv.weight.shape, generator=torch.Generator().manual_seed(size))
    conv.weight = nn.Parameter(filters.contiguous(memory_format=torch.channels_last))
    return conv


def _norm(channels: int = CHANNELS) -> nn.BatchNorm2d:
    bn = nn.BatchNorm2d(channels)
    with torch.no_grad():
        bn.bias.copy_(torch.linspace(-1, 1, channels))
    return bn


def _all_of(result: Tensor, inputs: Sequence[Tensor], norms: Sequence[nn.BatchNorm2d]) -> Tensor:
    """The result, all gradients of the sum of its squares, and the statistics, one after the other in fp32."""
    result.float().square().sum().backward()
    found: list[Tensor | None] = [result.detach(), *(x.grad for x in inputs)]
    for bn in norms:
        found += [bn.weight.grad, bn.bias.grad, bn.running_mean, bn.running_var]
    return torch.cat([values.float().flatten() for values in found if values is not None])
