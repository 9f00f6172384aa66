"""3x3 convolutions in fewer multiplications, with gradients, by `winograd.c`.

Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308) has 36 multiplications where 144 are usual, and sums before
and after. In fp32 results differ from torch's in the sixth digit. In bf16 they lie up to 1 % of their norm from the
exact ones where torch's lie 0.3 %, gradients of images 1 to 2 % for 0.3, and gradients of filters nearer than torch's.
"""

from __future__ import annotations

import math
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
"""Multiplications of the usual way for one of this, at least. At 28x28 pixels they are 4, at 7x7 3.1, at 5x5 2.8, at
2x2 2.3, at 1x1 1. With 1.6 a training step was no slower in fp32, but convolutions took 1.1 to 1.4 times as long in
bf16."""
CACHE_BYTES = 2_000_000
"""What the tiles of the images that are computed at a time take together, to stay in a processor's cache."""
ALONE_BYTES, OWN_BYTES = 256_000, 400_000
"""Of all filters' transforms at most, where each thread has images of its own, and of the tiles of those."""
MOST_BESIDE = 4
"""Images beside each other on a sheet: 3 of 14x14 or of 10x10, and 2 of 5x5, fill tiles best."""
MOST_TILES = 2.2
"""Tiles of what is computed at a time for one of those that would be best, where images share sheets."""
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
    tiles = min(_tiles(beside, height, width) / beside**2 for beside in range(1, MOST_BESIDE + 1))
    return 9 * height * width >= LEAST_SAVED[dtype] * PLACES * tiles


def _tiles(beside: int, height: int, width: int) -> int:
    """Tiles of a sheet of so many images across and down, with a line between them."""
    down, across = (beside * (size + 1) - 1 for size in (height, width))
    return -(-down // STEP) * -(-across // STEP)


def _at_a_time(channels: int, outputs: int) -> float:
    """Tiles that are computed at a time: so many that filters are no more to read than they, or what a cache holds."""
    both = channels + outputs
    if _alone(channels, outputs):
        return OWN_BYTES / (PLACES * 4 * both)
    return max(CACHE_BYTES / (PLACES * 4 * both), channels * outputs / both)


def _sheets(x: Tensor, outputs: int) -> tuple[int, int]:
    """Sheets of x (B, C, H, W) at a time, and images beside each other on one: so many that there are fewest tiles.

    The order of sums depends on it; the number of threads does not matter.
    """
    images, channels, height, width = x.shape
    tiles, word = _at_a_time(channels, outputs), 2 if x.dtype == torch.bfloat16 else 1  # whose numbers share a word
    count, beside, fewest = 1, 1, math.inf
    for across in range(1, MOST_BESIDE + 1):
        each, sheets = _tiles(across, height, width), -(-images // across**2)
        if each * sheets < fewest and (across == 1 or word * each <= MOST_TILES * tiles):
            beside, fewest, count = across, each * sheets, round(tiles / each)
            count = min(sheets, max(word, count + count % word))
    return count, beside


def _alone(channels: int, outputs: int) -> bool:
    return PLACES * 4 * channels * outputs <= ALONE_BYTES


def _sizes(x: Tensor, weight: Tensor) -> tuple[int, ...]:
    """What `winograd.c` wants to know: images, sheets at a time, images across one, height, width, and so on."""
    images, channels, height, width = x.shape
    outputs = len(weight)
    alone, (together, beside) = int(_alone(channels, outputs)), _sheets(x, outputs)
    return images, together, beside, height, width, channels, outputs, alone, torch.get_num_threads()


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
