"""The end of a Shake-Shake block as one operation, with gradients, by `mixture.c`.

Batch norm of both branches, their mixture, the shortcut and the ReLU of the next block: torch makes 14 passes over
images of one size forwards and 20 backwards, the kernels 7 and 11.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fmnist_tui.models.kernels import build
from fmnist_tui.models.kernels.switch import address, fits, is_plain, rows_of

Pair = tuple[Tensor, Tensor]
Norms = tuple[nn.BatchNorm2d, nn.BatchNorm2d]


class Mix(torch.autograd.Function):
    """a * branch1 + (1 - a) * branch2, with the gradient of b * branch1 + (1 - b) * branch2.

    `branch1`, `branch2`: (B, C, H, W) of one dtype; `a`, `b`: of that dtype, (B or 1, 1, 1, 1).
    """

    @staticmethod
    def forward(ctx: Any, branch1: Tensor, branch2: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(b)
        return torch.lerp(branch2, branch1, a)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (grad,) = grad_outputs
        (b,) = ctx.saved_tensors
        return b * grad, (1 - b) * grad, None, None


def norm_mixture(norms: Norms, branches: Pair, weights: Pair | None, shortcut: Tensor) -> Pair:
    """shortcut + a * bn1(branch1) + (1 - a) * bn2(branch2), and ReLU of that; in training the running statistics move.

    The branches and the shortcut are (B, C, H, W) of one dtype. `weights`: a, and the b that takes its place in the
    backward pass, as of `Mix`; None is one half for both.
    """
    if fits(shortcut) and all(fits(x) and x.shape == shortcut.shape for x in branches):
        if all(bn.training and is_plain(bn, x) for bn, x in zip(norms, branches, strict=True)):
            return _trained(norms, branches, weights, shortcut)
        if not torch.is_grad_enabled() and all(not bn.training and is_plain(bn, shortcut) for bn in norms):
            return _evaluated(norms, branches, shortcut)
    first, second = (bn(x) for bn, x in zip(norms, branches, strict=True))
    mixed = 0.5 * (first + second) if weights is None else Mix.apply(first, second, *weights)
    total: Tensor = shortcut + mixed
    return total, F.relu(total)


def _trained(norms: Norms, branches: Pair, weights: Pair | None, shortcut: Tensor) -> Pair:
    coefficients = [_statistics(bn, x) for bn, x in zip(norms, branches, strict=True)]
    count = len(shortcut)
    shares = (torch.full((count,), 0.5),) * 2 if weights is None else [_per_image(share, count) for share in weights]
    parameters = [parameter for bn in norms for parameter in (bn.weight, bn.bias)]
    total, activated = NormMixture.apply(*branches, shortcut, *parameters, *coefficients, *shares)
    return total, activated


def _evaluated(norms: Norms, branches: Pair, shortcut: Tensor) -> Pair:
    coefficients = []
    for bn in norms:
        assert bn.running_mean is not None and bn.running_var is not None
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        coefficients.append(torch.stack([scale, bn.bias - bn.running_mean * scale]))
    return _mixed(branches, shortcut, torch.full((len(shortcut),), 0.5), coefficients)


def _per_image(share: Tensor, count: int) -> Tensor:
    """(B or 1, 1, 1, 1) to (B,) float32."""
    return share.detach().float().flatten().expand(count).contiguous()


def _statistics(bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """(4, C) float32: scale, shift, mean and 1 / standard deviation of a batch; moves bn's running statistics."""
    assert bn.num_batches_tracked is not None and bn.momentum is not None
    bn.num_batches_tracked.add_(1)
    channels, threads = x.shape[1], torch.get_num_threads()
    coefficients = torch.empty(4, channels)
    sums = torch.empty(threads, 2, channels, dtype=torch.float64)
    build.library(x.dtype).norm_statistics(
        x.data_ptr(),
        rows_of(x),
        channels,
        *(address(values) for values in (bn.weight, bn.bias, bn.running_mean, bn.running_var)),
        bn.momentum,
        bn.eps,
        coefficients.data_ptr(),
        sums.data_ptr(),
        threads,
    )
    return coefficients


def _mixed(branches: Pair, shortcut: Tensor, share: Tensor, coefficients: list[Tensor]) -> Pair:
    total, activated = torch.empty_like(shortcut), torch.empty_like(shortcut)
    images, channels, height, width = shortcut.shape
    build.library(shortcut.dtype).mixture_forward(
        *(x.data_ptr() for x in (*branches, shortcut, total, activated)),
        images,
        height * width,
        channels,
        address(share),
        *(address(values) for values in coefficients),
        torch.get_num_threads(),
    )
    return total, activated


class NormMixture(torch.autograd.Function):
    """`norm_mixture` in training; the gradients of batch norm's weights and biases come from the coefficients' pass."""

    @staticmethod
    def forward(
        ctx: Any,
        first: Tensor,
        second: Tensor,
        shortcut: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        coefficients1: Tensor,
        coefficients2: Tensor,
        share: Tensor,
        grad_share: Tensor,
    ) -> Pair:
        total, activated = _mixed((first, second), shortcut, share, [coefficients1, coefficients2])
        ctx.save_for_backward(first, second, activated, coefficients1, coefficients2, grad_share)
        ctx.set_materialize_grads(False)
        return total, activated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        direct, above = grads
        first, second, activated, coefficients1, coefficients2, share = ctx.saved_tensors
        if above is None:  # nothing looks at the ReLU
            above = torch.zeros_like(first)
        above = above.contiguous(memory_format=torch.channels_last)
        if direct is not None:
            direct = direct.contiguous(memory_format=torch.channels_last)
        grad, first_grad, second_grad = (torch.empty_like(first) for _ in range(3))
        images, channels, height, width = first.shape
        threads = torch.get_num_threads()
        parameter_grads = torch.empty(4, channels)
        sums = torch.empty(threads, 4, channels, dtype=torch.float64)
        build.library(first.dtype).mixture_backward(
            *(x.data_ptr() for x in (first, second, activated, above)),
            None if direct is None else direct.data_ptr(),
            *(x.data_ptr() for x in (grad, first_grad, second_grad)),
            images,
            height * width,
            channels,
            address(share),
            address(coefficients1),
            address(coefficients2),
            parameter_grads.data_ptr(),
            sums.data_ptr(),
            threads,
        )
        return first_grad, second_grad, grad, *parameter_grads, *[None] * 4
