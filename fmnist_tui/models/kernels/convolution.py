"""3x3 convolutions in fewer multiplications, with gradients, by `winograd.c`.

Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308) has 36 multiplications where 144 are usual, and sums before
and after. In fp32 results differ from torch's in the sixth digit. In bf16 they lie up to 1 % of their norm from the
exact ones where torch's lie 0.3 %, gradients of images 1 to 2 % for 0.3, and gradients of filters nearer than torch's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fmnist_tui.models.kernels import build
from fmnist_tui.models.kernels.switch import WIDEST, fits

STEP, PLACES = 4, 36
"""Pixels along a tile, and numbers of a tile, as in `tiles.h`."""
LEAST_SAVED = {torch.float32: 1.5, torch.bfloat16: 2.0}
"""Multiplications of the usual way for one of this, at least. At 28x28 pixels they are 4; at 5x5, of which tiles make
8x8, 1.6, by which a training step is no slower in fp32, but convolutions take 1.1 to 1.4 times as long in bf16; at 2x2
they are 1."""
CACHE_BYTES = 2_000_000
"""What the tiles of the images that are computed at a time take together, to stay in a processor's cache."""
ALONE_BYTES, OWN_BYTES = 256_000, 400_000
"""Of all filters' transforms at most, where each thread has images of its own, and of the tiles of those."""
LEAST_CHANNELS = 12
"""Of the images and of the result: with fewer the sums before and after cost what is saved."""


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """conv(x) for x (B, C, H, W), as torch has it."""
    if _suits(conv, x):
        result: Tensor = Convolution3x3.apply(x, conv.weight)
        return result
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _suits(conv: nn.Conv2d, x: Tensor) -> bool:
    return fits(x) and build.convolves(x.dtype) and suits_images(conv, x.shape[2], x.shape[3], x.dtype)


def suits_images(conv: nn.Conv2d, height: int, width: int, dtype: torch.dtype) -> bool:
    """Whether there is a kernel for it and images of a size and dtype, and it is the faster."""
    weight = conv.weight
    plain = conv.kernel_size == (3, 3) and conv.stride == conv.padding == conv.dilation == (1, 1) and conv.groups == 1
    if not (plain and conv.bias is None and weight.dtype == torch.float32 and max(weight.shape) <= WIDEST):
        return False
    if min(weight.shape[:2]) < LEAST_CHANNELS or not weight.is_contiguous(memory_format=torch.channels_last):
        return False
    return 9 * height * width >= LEAST_SAVED[dtype] * PLACES * _tiles(height, width)


def _tiles(height: int, width: int) -> int:
    return -(-height // STEP) * -(-width // STEP)


def _together(x: Tensor, outputs: int) -> int:
    """Images of x (B, C, H, W) that are computed at a time: so many that filters are no more to read than tiles.

    The order of sums depends on it; the number of threads does not matter.
    """
    images, channels, height, width = x.shape
    both = channels + outputs
    if _alone(channels, outputs):
        tiles = OWN_BYTES / (PLACES * 4 * both)
    else:
        tiles = max(CACHE_BYTES / (PLACES * 4 * both), channels * outputs / both)
    count = round(tiles / _tiles(height, width))
    if x.dtype == torch.bfloat16:
        count += count % 2  # two images' numbers share a word
    return max(1, min(images, count))


def _alone(channels: int, outputs: int) -> bool:
    return PLACES * 4 * channels * outputs <= ALONE_BYTES


def _sizes(x: Tensor, weight: Tensor) -> tuple[int, ...]:
    """What `winograd.c` wants to know: images, how many at a time, height, width, channels, outputs, alone, threads."""
    images, channels, height, width = x.shape
    outputs = len(weight)
    alone = int(_alone(channels, outputs))
    return images, _together(x, outputs), height, width, channels, outputs, alone, torch.get_num_threads()


class Convolution3x3(torch.autograd.Function):
    """The convolution of x (B, C, H, W) fp32 with filters (K, C, 3, 3), both channels_last: (B, K, H, W).

    Stride and padding are 1; nothing is checked here.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        y = torch.empty((len(x), len(weight), *x.shape[2:]), dtype=x.dtype, memory_format=torch.channels_last)
        run_forward(x, weight, y)
        ctx.save_for_backward(x, weight)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        weight_grad = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        run_backward(x, weight, grad, dx, weight_grad)
        return dx, weight_grad


def run_forward(x: Tensor, weight: Tensor, y: Tensor, coefficients: Tensor | None = None) -> None:
    """Write the convolution of x to y, which may be some channels of wider images.

    With `coefficients` (scale and shift first, (2 or more, C)) it is that of ReLU(scale * x + shift).
    """
    by_taps = weight.detach().permute(2, 3, 1, 0).contiguous()
    sizes, library = _sizes(x, weight), build.library(x.dtype)
    room = torch.empty(library.winograd_room(*sizes[1:], 0))
    library.winograd_forward(
        x.data_ptr(),
        None if coefficients is None else coefficients.data_ptr(),
        by_taps.data_ptr(),
        y.data_ptr(),
        y.stride(3),
        room.data_ptr(),
        *sizes,
    )


def run_backward(
    x: Tensor,
    weight: Tensor,
    grad: Tensor,
    dx: Tensor | None,
    weight_grad: Tensor | None,
    coefficients: Tensor | None = None,
) -> None:
    """Write the gradients of x and of the filters, each where it is wanted; with `coefficients` ReLU's result is x."""
    sizes, library = _sizes(x, weight), build.library(x.dtype)
    room = torch.empty(library.winograd_room(*sizes[1:], 1))
    tensors = (x, coefficients, weight, grad, dx, weight_grad, room)
    addresses = (None if values is None else values.data_ptr() for values in tensors)
    library.winograd_backward(*addresses, *sizes)
