"""Size and cost of a network from its configuration alone: parameters, operations, memory. No torch.

The app shows these beside the form while one types, and must not import torch; the trainer and `bench` use
them for estimates. Each family is a walk over its layers, in the order of its file in this package; the
tests hold the walks against the networks that `build_model` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fmnist_tui.config import (
    CLASSES,
    IMAGE_SIZE,
    DenseNetConfig,
    DualPathNetConfig,
    ModelConfig,
    ShakeShakeConfig,
    TurboConfig,
    WideResNetConfig,
)


@dataclass(frozen=True)
class Cost:
    """What a layer costs. All but `parameters` are for one image."""

    parameters: int = 0
    multiply_adds: int = 0
    """In the forward pass, of convolutions and linear layers; everything else is small beside them."""
    kept_elements: int = 0
    """Of the tensors that autograd keeps for the backward pass."""
    kept_mask_elements: int = 0
    """Bytes it keeps whatever the precision: one an element of a dropout mask, eight an index of a max pooling."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters,
            self.multiply_adds + other.multiply_adds,
            self.kept_elements + other.kept_elements,
            self.kept_mask_elements + other.kept_mask_elements,
        )


def parameter_count(config: ModelConfig) -> int:
    """Exact number of parameters of the network that `build_model(config)` makes."""
    return _total(config).parameters


def training_flops_per_image(config: ModelConfig) -> int:
    """Floating-point operations to train on one image once.

    The multiply-adds of convolutions and linear layers in the forward pass, times two operations each, times
    three for forward pass, gradient of the inputs and gradient of the weights. For wrn: 24.1e9.
    """
    return 2 * 3 * _total(config).multiply_adds


def activation_bytes_per_image(config: ModelConfig, bytes_per_element: int) -> int:
    """Bytes one training image keeps from the forward pass for the backward pass: an estimate.

    Counted, at `bytes_per_element` (4 for fp32, 2 for bf16 and fp16): the inputs of every batch norm,
    convolution, GELU, pooling and linear layer and the results of every ReLU, a tensor that is several of
    these once; dropout masks at one byte an element and the places of maxima at eight. That is what PyTorch
    keeps when it runs uncompiled. Not counted: parameters, their gradients and momentum (12 bytes a parameter
    in fp32), what is alive only while one layer runs (workspaces of convolutions, the gradients passing
    through), the loss, and the allocator's slack. A compiled network recomputes some of the counted tensors
    and keeps fewer.
    """
    total = _total(config)
    return total.kept_elements * bytes_per_element + total.kept_mask_elements


def _total(config: ModelConfig) -> Cost:
    walks: dict[str, Callable[[Any], Iterator[Cost]]] = {
        "wide_resnet": _wide_resnet,
        "densenet": _densenet,
        "dual_path_net": _dual_path_net,
        "shake_shake": _shake_shake,
        "turbo": _turbo,
    }
    image = _kept(1, IMAGE_SIZE)
    return sum(walks[config.kind](config), start=image)


# The layers. `size` is the side in pixels of the layer's result.


def _conv(in_channels: int, out_channels: int, kernel: int, size: int) -> Cost:
    weights = in_channels * out_channels * kernel * kernel
    return Cost(parameters=weights, multiply_adds=weights * size * size)


def _kept(channels: int, size: int) -> Cost:
    return Cost(kept_elements=channels * size * size)


def _batch_norm(channels: int, size: int) -> Cost:
    """Keeps its input."""
    return Cost(parameters=2 * channels) + _kept(channels, size)


def _batch_norm_relu(channels: int, size: int) -> Cost:
    """Keeps batch norm's input and ReLU's result, which is also the next layer's input."""
    return _batch_norm(channels, size) + _kept(channels, size)


def _dropout(channels: int, size: int, drop_rate: float) -> Cost:
    return Cost(kept_mask_elements=channels * size * size) if drop_rate > 0 else Cost()


def _classifier(channels: int) -> Cost:
    """Linear, on the average over the image."""
    weights = channels * len(CLASSES)
    return Cost(weights + len(CLASSES), multiply_adds=weights, kept_elements=channels)


def _halved(size: int) -> int:
    """Side after a convolution with stride 2."""
    return (size + 1) // 2


# The families.


def _pre_activation_block(
    in_channels: int, out_channels: int, in_size: int, size: int, *, project: bool, drop_rate: float = 0.0
) -> Cost:
    cost = (
        _batch_norm_relu(in_channels, in_size)
        + _conv(in_channels, out_channels, 3, size)
        + _batch_norm_relu(out_channels, size)
        + _dropout(out_channels, size, drop_rate)
        + _conv(out_channels, out_channels, 3, size)
    )
    if drop_rate > 0:
        cost += _kept(out_channels, size)  # the second convolution's input is no longer ReLU's result
    if project:
        cost += _conv(in_channels, out_channels, 1, size)
    return cost


def _wide_resnet(config: WideResNetConfig) -> Iterator[Cost]:
    channels, size = 16, IMAGE_SIZE
    yield _conv(1, channels, 3, size)
    for group, base_width in enumerate((16, 32, 64)):
        width = base_width * config.widen_factor
        for block in range((config.depth - 4) // 6):
            in_size, size = size, _halved(size) if group > 0 and block == 0 else size
            project = channels != width
            yield _pre_activation_block(channels, width, in_size, size, project=project, drop_rate=config.drop_rate)
            channels = width
    yield _batch_norm_relu(channels, size)
    yield _classifier(channels)


def _densenet(config: DenseNetConfig) -> Iterator[Cost]:
    growth, drop_rate, size = config.growth_rate, config.drop_rate, IMAGE_SIZE
    channels = 2 * growth if config.bottleneck and config.reduction < 1.0 else 16
    yield _conv(1, channels, 3, size)
    for block in range(3):
        if block > 0:
            transition = max(int(channels * config.reduction), 1)
            yield _batch_norm_relu(channels, size)
            if drop_rate > 0:
                yield _conv(channels, transition, 1, size) + _dropout(transition, size, drop_rate)
                yield _kept(transition, size)  # the pooling's input
            else:
                yield _conv(channels, transition, 1, size // 2) + _kept(channels, size // 2)
            channels, size = transition, size // 2
        for _ in range((config.depth - 4) // (6 if config.bottleneck else 3)):
            width = channels
            if config.bottleneck:
                width = 4 * growth
                yield _batch_norm_relu(channels, size) + _conv(channels, width, 1, size)
                yield _dropout(width, size, drop_rate)
            yield _batch_norm_relu(width, size) + _conv(width, growth, 3, size)
            yield _dropout(growth, size, drop_rate)
            channels += growth
    yield _batch_norm_relu(channels, size)
    yield _classifier(channels)


def _dual_path_net(config: DualPathNetConfig) -> Iterator[Cost]:
    channels, size = 16, IMAGE_SIZE
    yield _conv(1, channels, 3, size)
    stages = zip(config.blocks, config.filters, config.growth_rate, strict=True)
    for stage, (blocks, filters, growth) in enumerate(stages):
        in_size, size = size, _halved(size) if stage > 0 else size
        yield _pre_activation_block(channels, filters, in_size, size, project=True)
        yield _conv(channels, 2 * growth, 3, size)
        channels = filters + 2 * growth
        width = filters + growth
        for _ in range(blocks - 1):
            yield _batch_norm_relu(channels, size) + _conv(channels, width, 3, size)
            yield _batch_norm_relu(width, size) + _conv(width, width, 3, size)
            channels += growth
    yield _batch_norm_relu(channels, size)
    yield _classifier(channels)


def _shake_shake(config: ShakeShakeConfig) -> Iterator[Cost]:
    channels, size = config.base_channels, IMAGE_SIZE
    yield _conv(1, channels, 3, size) + _batch_norm(channels, size)
    for stage in range(3):
        width = config.base_channels * 2**stage
        for _ in range((config.depth - 2) // 6):
            yield _kept(channels, size)  # the result of the ReLU both branches begin with
            if channels != width:
                size = _halved(size)
                yield _kept(2 * channels, size)  # the pixels that the shortcut's two halves see
                yield _conv(channels, width, 1, size) + _batch_norm(width, size)
            for _ in range(2):
                yield _conv(channels, width, 3, size) + _batch_norm_relu(width, size)
                yield _conv(width, width, 3, size) + _batch_norm(width, size)
            channels = width
    yield _kept(channels, size)  # the final ReLU's result
    yield _classifier(channels)


def _turbo(config: TurboConfig) -> Iterator[Cost]:
    channels, size = config.whitening_filters, IMAGE_SIZE - 2 * (1 - config.whitening_padding)
    # The whitening's filters are frozen: arithmetic forward, no parameters but the bias.
    yield Cost(parameters=channels, multiply_adds=9 * channels * size * size) + _kept(channels, size)
    for width in config.widths:
        yield _kept(channels, size) + _conv(channels, width, 3, size)
        yield _kept(width, size)  # max pooling's input
        channels, size = width, size // 2
        yield Cost(kept_mask_elements=8 * channels * size * size)  # where the maxima were
        yield _frozen_norm_gelu(channels, size)
        for _ in range(config.group_convs - 1):
            yield _kept(channels, size) + _conv(channels, channels, 3, size) + _frozen_norm_gelu(channels, size)
    yield _kept(channels, size)  # the input and
    yield Cost(kept_elements=channels)  # the result of the largest value
    yield Cost(channels * len(CLASSES), multiply_adds=channels * len(CLASSES))


def _frozen_norm_gelu(channels: int, size: int) -> Cost:
    """Batch norm keeps its input and GELU its own; only the biases are trained."""
    return Cost(parameters=channels) + _kept(channels, size) + _kept(channels, size)
