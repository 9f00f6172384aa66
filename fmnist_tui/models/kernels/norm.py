"""Batch norm with its activation as one operation, with gradients, by `norm.c` and `norm_grad.c`.

A step of densenet is bound by memory: torch's batch norm reads its input twice and writes a result that ReLU reads and
writes again, five passes over it; backwards ReLU, batch norm and the sum of two gradients make eleven. Here they are
three, and six.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fmnist_tui.models.kernels import build
from fmnist_tui.models.kernels.switch import address, fits, is_plain, rows_of

Activation = Literal["relu", "gelu"]
KINDS: dict[Activation, int] = {"relu": 0, "gelu": 1}
"""As `activation.h` numbers them."""


def norm_activation(bn: nn.BatchNorm2d, x: Tensor, activation: Activation) -> Tensor:
    """activation(bn(x)) for x (B, C, H, W), of x's dtype; in training bn's running statistics move.

    Raises ValueError, as torch does, where a channel has one value to take statistics of.
    """
    if fits(x) and is_plain(bn, x):
        if bn.training:
            return _trained(bn, x, activation)[0]
        if not torch.is_grad_enabled():
            return _evaluated(bn, x, activation)
    return _by_torch(bn, x, activation)


def norm_activation_beside(bn: nn.BatchNorm2d, x: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """The same and x, for what else is done with it: the gradient of that is added to batch norm's in its own pass."""
    if bn.training and fits(x) and is_plain(bn, x):
        return _trained(bn, x, activation)
    return norm_activation(bn, x, activation), x


def _by_torch(bn: nn.BatchNorm2d, x: Tensor, activation: Activation) -> Tensor:
    if activation == "gelu":
        return F.gelu(bn(x))
    # In place is safe and saves a copy: batch norm's backward pass needs its input, not its output.
    return F.relu(bn(x), inplace=True)


def _trained(bn: nn.BatchNorm2d, x: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    assert bn.num_batches_tracked is not None
    bn.num_batches_tracked.add_(1)
    activated, beside = NormActivation.apply(
        x, bn.weight, bn.bias, bn.running_mean, bn.running_var, bn.momentum, bn.eps, KINDS[activation]
    )
    return activated, beside


def _evaluated(bn: nn.BatchNorm2d, x: Tensor, activation: Activation) -> Tensor:
    y = torch.empty_like(x)
    parameters = [address(values) for values in (bn.weight, bn.bias, bn.running_mean, bn.running_var)]
    rows, channels = rows_of(x), x.shape[1]
    build.library(x.dtype).norm_evaluate(
        x.data_ptr(), y.data_ptr(), rows, channels, *parameters, bn.eps, KINDS[activation], torch.get_num_threads()
    )
    return y


class NormActivation(torch.autograd.Function):
    """Batch norm with the batch's statistics, then the activation; x (B, C, H, W) comes back beside the result."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        epsilon: float,
        kind: int,
    ) -> tuple[Tensor, Tensor]:
        rows, channels, threads = rows_of(x), x.shape[1], torch.get_num_threads()
        y = torch.empty_like(x)
        coefficients = torch.empty(4, channels)
        sums = torch.empty(threads, 2, channels, dtype=torch.float64)
        build.library(x.dtype).norm_forward(
            x.data_ptr(),
            y.data_ptr(),
            rows,
            channels,
            *(address(values) for values in (weight, bias, running_mean, running_var)),
            momentum,
            epsilon,
            coefficients.data_ptr(),
            sums.data_ptr(),
            kind,
            threads,
        )
        ctx.save_for_backward(x, coefficients)
        ctx.kind = kind
        ctx.set_materialize_grads(False)
        return y, x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, beside = grads
        x, coefficients = ctx.saved_tensors
        if grad is None:
            return beside, *[None] * 7
        rows, channels, threads = rows_of(x), x.shape[1], torch.get_num_threads()
        grad = grad.contiguous(memory_format=torch.channels_last)
        stride = 0
        if beside is not None:
            beside, stride = _rows_apart(beside)
        dx = torch.empty_like(x)
        parameter_grads = torch.empty(2, channels)
        sums = torch.empty(threads, 2, channels, dtype=torch.float64)
        build.library(x.dtype).norm_backward(
            x.data_ptr(),
            grad.data_ptr(),
            None if beside is None else beside.data_ptr(),
            stride,
            dx.data_ptr(),
            rows,
            channels,
            coefficients.data_ptr(),
            parameter_grads.data_ptr(),
            sums.data_ptr(),
            ctx.kind,
            threads,
        )
        weight_grad, bias_grad = parameter_grads
        return dx, weight_grad, bias_grad, *[None] * 5


def _rows_apart(x: Tensor) -> tuple[Tensor, int]:
    """x (B, C, H, W) with its pixels one after the other at a fixed distance, and that distance in values.

    A slice of wider channels_last images is so as it stands; anything else is copied.
    """
    _, channels, height, width = x.shape
    apart = x.stride(3)
    if apart >= channels and x.stride() == (height * width * apart, 1, width * apart, apart):
        return x, apart
    return x.contiguous(memory_format=torch.channels_last), channels
