"""Batch norm with its activation, and 2x2 max pooling, as one operation each, with gradients, by `fused.c`.

A step of densenet is bound by memory: torch's batch norm reads its input twice and writes a result that ReLU reads and
writes again, five passes over it; backwards ReLU, batch norm and the sum of two gradients make eleven. Here they are
three, and six.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fmnist_tui.models.kernels import build

Activation = Literal["relu", "gelu"]
KINDS: dict[Activation, int] = {"relu": 0, "gelu": 1}
"""As `fused.c` numbers them."""
WIDEST = 4096
"""Channels; its arrays hold twice as many."""
TOLERANCE = 0.02
"""Largest distance from torch in fp32, relative to its norm, of a right kernel: bf16 keeps 8 bits."""

_in_use = False


def use(on: bool) -> None:
    """Let this process's networks run with the kernels, or without. Only where `problem` has nothing to say."""
    global _in_use
    _in_use = on


def in_use() -> bool:
    """Whether they do."""
    return _in_use


@functools.cache
def problem() -> str | None:
    """Why the kernels can't be used on this machine, or None: they are built, and compute what torch does."""
    try:
        build.library()
    except build.Unavailable as error:
        return str(error)
    before = _in_use
    use(True)
    try:
        return _disagreement()
    finally:
        use(before)


def norm_activation(bn: nn.BatchNorm2d, x: Tensor, activation: Activation) -> Tensor:
    """activation(bn(x)) for x (B, C, H, W), of x's dtype; in training bn's running statistics move.

    Raises ValueError, as torch does, where a channel has one value to take statistics of.
    """
    if _fits(x) and _is_plain(bn, x):
        if bn.training:
            return _trained(bn, x, activation)[0]
        if not torch.is_grad_enabled():
            return _evaluated(bn, x, activation)
    return _by_torch(bn, x, activation)


def norm_activation_beside(bn: nn.BatchNorm2d, x: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """The same and x, for what else is done with it: the gradient of that is added to batch norm's in its own pass."""
    if bn.training and _fits(x) and _is_plain(bn, x):
        return _trained(bn, x, activation)
    return norm_activation(bn, x, activation), x


def max_pool(x: Tensor) -> Tensor:
    """(B, C, H // 2, W // 2): the largest of every 2x2 of x (B, C, H, W), an odd last row or column left out.

    Raises RuntimeError, as torch does, where H or W is 1.
    """
    if _fits(x) and x.shape[2] > 1 and x.shape[3] > 1:
        pooled: Tensor = MaxPool.apply(x)
        return pooled
    return F.max_pool2d(x, 2)


def _fits(x: Tensor) -> bool:
    if not (_in_use and x.dtype == torch.bfloat16 and x.device.type == "cpu" and x.dim() == 4):
        return False
    return 0 < x.shape[1] <= WIDEST and x.numel() > 0 and x.is_contiguous(memory_format=torch.channels_last)


def _is_plain(bn: nn.BatchNorm2d, x: Tensor) -> bool:
    """Whether it is batch norm as these networks have it, with statistics that move by a fixed share."""
    weight, mean = bn.weight, bn.running_mean
    if type(bn) is not nn.BatchNorm2d or bn.momentum is None or weight is None or mean is None:
        return False
    return weight.dtype == mean.dtype == torch.float32 and x.shape[1] == bn.num_features and x.numel() > x.shape[1]


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
    parameters = [_address(values) for values in (bn.weight, bn.bias, bn.running_mean, bn.running_var)]
    rows, channels = _rows(x), x.shape[1]
    build.library().norm_evaluate(
        x.data_ptr(), y.data_ptr(), rows, channels, *parameters, bn.eps, KINDS[activation], torch.get_num_threads()
    )
    return y


def _rows(x: Tensor) -> int:
    return x.numel() // x.shape[1]


def _address(values: Tensor | None) -> int:
    assert values is not None and values.is_contiguous()
    return values.data_ptr()


class NormActivation(torch.autograd.Function):
    """Batch norm with the batch's statistics, then the activation; x (B, C, H, W) bf16 comes back beside the result."""

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
        rows, channels, threads = _rows(x), x.shape[1], torch.get_num_threads()
        y = torch.empty_like(x)
        coefficients = torch.empty(4, channels)
        sums = torch.empty(threads, 2, channels, dtype=torch.float64)
        build.library().norm_forward(
            x.data_ptr(),
            y.data_ptr(),
            rows,
            channels,
            *(_address(values) for values in (weight, bias, running_mean, running_var)),
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
        rows, channels, threads = _rows(x), x.shape[1], torch.get_num_threads()
        grad = grad.contiguous(memory_format=torch.channels_last)
        stride = 0
        if beside is not None:
            beside, stride = _rows_apart(beside)
        dx = torch.empty_like(x)
        parameter_grads = torch.empty(2, channels)
        sums = torch.empty(threads, 2, channels, dtype=torch.float64)
        build.library().norm_backward(
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


class MaxPool(torch.autograd.Function):
    """2x2 max pooling of x (B, C, H, W) bf16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        images, channels, height, width = x.shape
        y = torch.empty((images, channels, height // 2, width // 2), dtype=x.dtype, memory_format=torch.channels_last)
        build.library().pool_forward(
            x.data_ptr(), y.data_ptr(), images, height, width, channels, torch.get_num_threads()
        )
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        images, channels, height, width = x.shape
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(x)
        build.library().pool_backward(
            x.data_ptr(), grad.data_ptr(), dx.data_ptr(), images, height, width, channels, torch.get_num_threads()
        )
        return dx


def _disagreement() -> str | None:
    """What the kernels compute that torch does not, in words."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((3, 12, 5, 7), generator=generator).to(torch.bfloat16, memory_format=torch.channels_last)
    for activation in KINDS:
        results = []
        for by_kernels in (True, False):
            bn = nn.BatchNorm2d(12)
            with torch.no_grad():
                bn.bias.copy_(torch.linspace(-1, 1, 12))
            inputs = x.clone() if by_kernels else x.float()
            inputs.requires_grad_()
            norm = norm_activation if by_kernels else _by_torch
            pooled = max_pool(norm(bn, inputs, activation))
            pooled.float().square().sum().backward()
            assert inputs.grad is not None and bn.weight.grad is not None and bn.bias.grad is not None
            assert bn.running_var is not None
            found = (pooled.detach(), inputs.grad, bn.weight.grad, bn.bias.grad, bn.running_var)
            results.append(torch.cat([values.float().flatten() for values in found]))
        distance = float((results[0] - results[1]).norm() / results[1].norm())
        if not distance <= TOLERANCE:
            return f"batch norm with {activation} and pooling differ from torch's by {100 * distance:.3g} %"
    return None
