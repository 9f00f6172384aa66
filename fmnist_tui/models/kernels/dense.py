"""A dense block and the batch norm behind it as one operation, with gradients: for fp32.

A layer reads all channels so far, appends a few, and has as much work with copying, batch norm and ReLU as with its
1x1 convolution. Here all channels have one place (`planes.c`), to which each layer's are written; statistics are taken
of a channel once, for all the norms that read it; and what lies between a layer's norm and its convolution
(`pointwise.c`, `winograd.c`) is not written at all, nor kept for the gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fmnist_tui.models.kernels import build, convolution
from fmnist_tui.models.kernels.planes import Planes, PlanesGrad
from fmnist_tui.models.kernels.switch import WIDEST, address, fits, is_plain


class BottleneckLayer(NamedTuple):
    """norm1-ReLU-reduce-norm2-ReLU-grow of everything so far, which is appended to it."""

    norm1: nn.BatchNorm2d
    reduce: nn.Conv2d
    norm2: nn.BatchNorm2d
    grow: nn.Conv2d

    def parameters(self) -> tuple[Tensor, ...]:
        """As `DenseBlock` takes them and gives their gradients."""
        norm1, reduce, norm2, grow = self
        return norm1.weight, norm1.bias, reduce.weight, norm2.weight, norm2.bias, grow.weight


class Kept(NamedTuple):
    """Of a layer, for its gradients: what its first convolution makes, and the coefficients of both norms."""

    y: Tensor
    coefficients: Tensor
    y_coefficients: Tensor


PARAMETERS, KEPT = 6, 3
"""Of a layer."""


def dense_block(layers: Sequence[BottleneckLayer], norm: nn.BatchNorm2d, x: Tensor) -> Tensor | None:
    """ReLU(norm) of x (B, C, H, W) fp32 and, behind it, the channels of each layer: (B, C', H, W) in channels_last.

    In training the running statistics move. None, and nothing has been done, where there is no kernel for these.
    """
    if not (x.dtype == torch.float32 and fits(x) and _are_plain(layers, norm, x)):
        return None
    training = norm.training
    if not training and torch.is_grad_enabled():
        return None
    if training:
        for bn in (norm, *(bn for layer in layers for bn in (layer.norm1, layer.norm2))):
            assert bn.num_batches_tracked is not None
            bn.num_batches_tracked.add_(1)
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    result: Tensor = DenseBlock.apply(x, layers, norm, *parameters, norm.weight, norm.bias)
    return result


def _are_plain(layers: Sequence[BottleneckLayer], norm: nn.BatchNorm2d, x: Tensor) -> bool:
    """Whether all are as the kernels compute them."""
    channels = x.shape[1]
    for norm1, reduce, norm2, grow in layers:
        between = reduce.weight.shape[0]
        if not (_is_plain(norm1, channels, norm, x) and _is_plain(norm2, between, norm, x)):
            return False
        fits = convolution.suits_images(grow, x.shape[2], x.shape[3], x.dtype)
        if not (_is_pointwise(reduce, channels) and fits):
            return False
        if grow.weight.shape[1] != between:
            return False
        channels += grow.weight.shape[0]
    return channels <= WIDEST and _is_plain(norm, channels, norm, x)


def _is_plain(bn: nn.BatchNorm2d, channels: int, last: nn.BatchNorm2d, x: Tensor) -> bool:
    """Whether it is one of so many channels, and trained where the last one is."""
    return is_plain(bn, x[:, :1].expand(-1, channels, -1, -1)) and bn.training == last.training


def _is_pointwise(conv: nn.Conv2d, channels: int) -> bool:
    weight = conv.weight
    plain = conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
    fitting = weight.dtype == torch.float32 and weight.shape[1] == channels and weight.flatten(1).is_contiguous()
    return plain and conv.bias is None and fitting


class DenseBlock(torch.autograd.Function):
    """The block of x (B, C, H, W) fp32 in channels_last; what `_are_plain` asks is not asked here."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[BottleneckLayer], norm: nn.BatchNorm2d, *given: Tensor) -> Tensor:
        images, channels, height, width = x.shape
        planes = Planes.of(images, norm.num_features, height, width)
        moments = torch.empty(planes.wide, 2, dtype=torch.float64) if norm.training else None
        planes.write(x, 0, moments)
        widths, kept = [channels], list[Tensor]()
        for layer in layers:
            kept.extend(_append(layer, planes, moments, widths[-1]))
            widths.append(widths[-1] + len(layer.grow.weight))
        coefficients = _coefficients(norm, moments, planes.rows)
        if norm.training:
            ctx.save_for_backward(planes.values, coefficients, *given, *kept)
            ctx.shape, ctx.widths = planes.shape, widths
        return planes.activated(coefficients)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, coefficients, *rest = ctx.saved_tensors
        planes, widths = Planes(values, ctx.shape), ctx.widths
        count = len(widths) - 1
        given, kept = rest[: PARAMETERS * count], rest[PARAMETERS * count + 2 :]
        grad, norm_grads = planes.gradient(coefficients, grads[0].contiguous(memory_format=torch.channels_last))
        found = list(norm_grads)
        for index in reversed(range(count)):
            of_layer = given[PARAMETERS * index : PARAMETERS * (index + 1)]
            of_pass = Kept(*kept[KEPT * index : KEPT * (index + 1)])
            found[:0] = _gradients(planes, grad, widths[index : index + 2], of_layer, of_pass)
        return planes.images_grad(grad, 0, widths[0]), None, None, *found


def _append(layer: BottleneckLayer, planes: Planes, moments: Tensor | None, channels: int) -> Kept:
    """Write a layer's result behind the first `channels`, of which the moments are known."""
    norm1, reduce, norm2, grow = layer
    between, threads = len(reduce.weight), torch.get_num_threads()
    coefficients = _coefficients(norm1, moments, planes.rows)
    y = planes.images_of(between)
    y_moments = None if moments is None else torch.empty(between, 2, dtype=torch.float64)
    own = torch.empty(threads, between, 2, dtype=torch.float64)
    room = torch.empty(planes.library.pointwise_room(channels, between, threads, 0))
    planes.library.pointwise_forward(
        planes.values.data_ptr(),
        planes.wide,
        planes.rows,
        channels,
        coefficients.data_ptr(),
        reduce.weight.data_ptr(),
        y.data_ptr(),
        between,
        None if y_moments is None else y_moments.data_ptr(),
        own.data_ptr(),
        room.data_ptr(),
        threads,
    )
    y_coefficients = _coefficients(norm2, y_moments, planes.rows)
    grown = planes.images_of(len(grow.weight))
    convolution.run_forward(y, grow.weight, grown, y_coefficients)
    planes.write(grown, channels, moments)
    return Kept(y, coefficients, y_coefficients)


def _coefficients(bn: nn.BatchNorm2d, moments: Tensor | None, rows: int) -> Tensor:
    """Scale, shift, mean and 1 / deviation (4, C) by the moments, which move the running statistics, or by those."""
    found = torch.empty(4, bn.num_features)
    build.library(found.dtype).norm_coefficients(
        None if moments is None else moments.data_ptr(),
        rows,
        bn.num_features,
        *(address(values) for values in (bn.weight, bn.bias, bn.running_mean, bn.running_var)),
        bn.momentum,
        bn.eps,
        found.data_ptr(),
    )
    return found


def _gradients(
    planes: Planes, grad: PlanesGrad, widths: Sequence[int], parameters: Sequence[Tensor], kept: Kept
) -> list[Tensor]:
    """A layer's gradients, in the order of its parameters; that of the planes becomes what it is before the layer."""
    _, _, reduce, _, _, grow = parameters
    y, _, y_coefficients = kept
    own = planes.images_grad(grad, *widths)
    activated_grad, grow_grad = torch.empty_like(y), torch.empty_like(grow)
    convolution.run_backward(y, grow, own, activated_grad, grow_grad, y_coefficients)

    between, threads = len(reduce), torch.get_num_threads()
    slopes, norm2_grads = torch.empty(4, between), torch.empty(2, between)
    sums = torch.empty(threads, 2, between, dtype=torch.float64)
    planes.library.norm_slopes(
        y.data_ptr(),
        activated_grad.data_ptr(),
        planes.rows,
        between,
        y_coefficients.data_ptr(),
        slopes.data_ptr(),
        norm2_grads.data_ptr(),
        sums.data_ptr(),
        threads,
    )
    norm1_grads, reduce_grad = _pointwise_gradients(planes, grad, reduce, kept, activated_grad, slopes)
    return [*norm1_grads, reduce_grad, *norm2_grads, grow_grad]


def _pointwise_gradients(
    planes: Planes, grad: PlanesGrad, reduce: Tensor, kept: Kept, activated_grad: Tensor, slopes: Tensor
) -> tuple[Tensor, Tensor]:
    """Of norm1's weight and bias, (2, C), and of the 1x1 filters (K, C, 1, 1); that of the planes is added to `grad`.

    activated_grad: of ReLU(norm2(y)), like y; slopes (4, K): by which it becomes one of y.
    """
    y, coefficients, _ = kept
    between, channels, threads = *reduce.shape[:2], torch.get_num_threads()
    norm_grads, reduce_grad = torch.empty(2, channels), torch.empty_like(reduce)
    sums = torch.empty(threads, 2, channels, dtype=torch.float64)
    room = torch.empty(planes.library.pointwise_room(channels, between, threads, 1))
    planes.library.pointwise_backward(
        planes.values.data_ptr(),
        planes.wide,
        planes.rows,
        channels,
        coefficients.data_ptr(),
        reduce.data_ptr(),
        y.data_ptr(),
        activated_grad.data_ptr(),
        slopes.data_ptr(),
        between,
        grad.values.data_ptr(),
        grad.later.data_ptr(),
        norm_grads.data_ptr(),
        reduce_grad.data_ptr(),
        sums.data_ptr(),
        room.data_ptr(),
        threads,
    )
    return norm_grads, reduce_grad
