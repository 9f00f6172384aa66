"""Layers of a dense block as one operation, with gradients, by `pointwise.c` and `winograd.c`: for fp32.

A layer reads all channels so far, appends a few, and has as much work with copying, batch norm and ReLU as with its
1x1 convolution. Here all channels have one place, to which each layer's are written; statistics are taken of a channel
once, for all the layers that read it; and what lies between a layer's norm and its convolution is not written at all,
nor kept for the gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fmnist_tui.models.kernels import build, convolution
from fmnist_tui.models.kernels.switch import WIDEST, address, fits, is_plain, rows_of


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


def dense_block(layers: Sequence[BottleneckLayer], x: Tensor) -> Tensor | None:
    """x (B, C, H, W) fp32 and behind it the channels of each layer, as (B, C', H, W) in channels_last.

    In training the running statistics move. None, and nothing has been done, where there is no kernel for these.
    """
    if not (x.dtype == torch.float32 and fits(x) and _are_plain(layers, x)):
        return None
    training = layers[0].norm1.training
    if not training and torch.is_grad_enabled():
        return None
    if training:
        for layer in layers:
            for bn in (layer.norm1, layer.norm2):
                assert bn.num_batches_tracked is not None
                bn.num_batches_tracked.add_(1)
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    result: Tensor = DenseBlock.apply(x, layers, training, *parameters)
    return result


def _are_plain(layers: Sequence[BottleneckLayer], x: Tensor) -> bool:
    """Whether all are as the kernels compute them."""
    channels = x.shape[1]
    for norm1, reduce, norm2, grow in layers:
        between = reduce.weight.shape[0]
        for bn, wanted in ((norm1, channels), (norm2, between)):
            pixels = x[:, :1].expand(-1, wanted, -1, -1)
            if not (is_plain(bn, pixels) and bn.training == layers[0].norm1.training):
                return False
        if not (_is_pointwise(reduce, channels) and convolution.suits_images(grow, *x.shape[2:])):
            return False
        if grow.weight.shape[1] != between:
            return False
        channels += grow.weight.shape[0]
    return channels <= WIDEST


def _is_pointwise(conv: nn.Conv2d, channels: int) -> bool:
    weight = conv.weight
    plain = conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
    fitting = weight.dtype == torch.float32 and weight.shape[1] == channels and weight.flatten(1).is_contiguous()
    return plain and conv.bias is None and fitting


class DenseBlock(torch.autograd.Function):
    """The block of x (B, C, H, W) fp32 in channels_last; what `_are_plain` asks is not asked here."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[BottleneckLayer], training: bool, *_: Tensor) -> Tensor:
        widths = [x.shape[1]]
        for layer in layers:
            widths.append(widths[-1] + layer.grow.weight.shape[0])
        images, _channels, height, width = x.shape
        features = torch.empty((images, widths[-1], height, width), memory_format=torch.channels_last)
        features[:, : widths[0]] = x
        moments = torch.empty(widths[-1], 2, dtype=torch.float64) if training else None
        kept: list[Tensor] = []
        for index, layer in enumerate(layers):
            known = widths[index - 1] if index else 0
            kept.extend(_append(layer, features, moments, known, widths[index]))
        if training:
            parameters = [parameter for layer in layers for parameter in layer.parameters()]
            ctx.save_for_backward(features, *parameters, *kept)
            ctx.widths = widths
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        features, *rest = ctx.saved_tensors
        widths: list[int] = ctx.widths
        count = len(widths) - 1
        parameters, kept = rest[: PARAMETERS * count], rest[PARAMETERS * count :]
        before = grads[0].contiguous(memory_format=torch.channels_last)
        grad = torch.empty_like(features)
        later = torch.zeros(widths[-1], 2, dtype=torch.float64)
        found: list[Tensor] = []
        for index in reversed(range(count)):
            of_layer = parameters[PARAMETERS * index : PARAMETERS * (index + 1)]
            of_pass = Kept(*kept[KEPT * index : KEPT * (index + 1)])
            found[:0] = _gradients(features, (before, grad), later, widths[index : index + 2], of_layer, of_pass)
            before = grad
        return _rest(features, grad, later, 0, widths[0]), None, None, *found


def _append(layer: BottleneckLayer, features: Tensor, moments: Tensor | None, known: int, channels: int) -> Kept:
    """Write a layer's result behind the first `channels` of the features; moments are known of the first `known`."""
    norm1, reduce, norm2, grow = layer
    images, wide, height, width = features.shape
    rows, threads = rows_of(features), torch.get_num_threads()
    library = build.library(features.dtype)
    if moments is not None:
        count = channels - known
        own = torch.empty(threads, count, 2, dtype=torch.float64)
        first = features.data_ptr() + known * features.element_size()
        library.channel_moments(first, wide, rows, count, moments[known].data_ptr(), own.data_ptr(), threads)
    coefficients = _coefficients(norm1, moments, rows)
    between = len(reduce.weight)
    y = torch.empty((images, between, height, width), memory_format=torch.channels_last)
    y_moments = None if moments is None else torch.empty(between, 2, dtype=torch.float64)
    own = torch.empty(threads, between, 2, dtype=torch.float64)
    room = torch.empty(library.pointwise_room(channels, between, threads, 0))
    library.pointwise_forward(
        features.data_ptr(),
        wide,
        rows,
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
    y_coefficients = _coefficients(norm2, y_moments, rows)
    convolution.run_forward(y, grow.weight, features[:, channels:], y_coefficients)
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
    features: Tensor,
    grads: tuple[Tensor, Tensor],
    later: Tensor,
    widths: Sequence[int],
    parameters: Sequence[Tensor],
    kept: Kept,
) -> list[Tensor]:
    """A layer's gradients, in the order of its parameters; `grads`: of the features, before this layer and after it.

    `later` has what is still to be added to a channel's gradient when all who read it have had their turn.
    """
    _, _, reduce, _, _, grow = parameters
    y, coefficients, y_coefficients = kept
    before, grad = grads
    (channels, end), between, wide = widths, len(reduce), features.shape[1]
    rows, threads = rows_of(features), torch.get_num_threads()
    library = build.library(features.dtype)

    own = _rest(features, before, later, channels, end)
    activated_grad, grow_grad = torch.empty_like(y), torch.empty_like(grow)
    convolution.run_backward(y, grow, own, activated_grad, grow_grad, y_coefficients)
    slopes, norm2_grads = torch.empty(4, between), torch.empty(2, between)
    sums = torch.empty(threads, 2, max(channels, between), dtype=torch.float64)
    library.norm_slopes(
        y.data_ptr(),
        activated_grad.data_ptr(),
        rows,
        between,
        y_coefficients.data_ptr(),
        slopes.data_ptr(),
        norm2_grads.data_ptr(),
        sums.data_ptr(),
        threads,
    )
    norm1_grads, reduce_grad = torch.empty(2, channels), torch.empty_like(reduce)
    room = torch.empty(library.pointwise_room(channels, between, threads, 1))
    library.pointwise_backward(
        features.data_ptr(),
        wide,
        rows,
        channels,
        coefficients.data_ptr(),
        reduce.data_ptr(),
        y.data_ptr(),
        activated_grad.data_ptr(),
        slopes.data_ptr(),
        between,
        before.data_ptr(),
        grad.data_ptr(),
        later.data_ptr(),
        norm1_grads.data_ptr(),
        reduce_grad.data_ptr(),
        sums.data_ptr(),
        room.data_ptr(),
        threads,
    )
    return [*norm1_grads, reduce_grad, *norm2_grads, grow_grad]


def _rest(features: Tensor, grad: Tensor, later: Tensor, first: int, end: int) -> Tensor:
    """The gradient of the channels from `first` to `end`, packed."""
    images, wide, height, width = features.shape
    found = torch.empty((images, end - first, height, width), memory_format=torch.channels_last)
    build.library(found.dtype).pointwise_rest(
        features.data_ptr() + first * features.element_size(),
        grad.data_ptr() + first * grad.element_size(),
        wide,
        rows_of(features),
        end - first,
        later[first].data_ptr(),
        found.data_ptr(),
        torch.get_num_threads(),
    )
    return found
