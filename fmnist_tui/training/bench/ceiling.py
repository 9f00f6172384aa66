"""What the device can do at best, measured on the spot: one large convolution and one large matrix product.

Called by `bench`, which states a network's speed as a share of the faster of the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fmnist_tui.training.precision import Execution

CHANNELS, SIDE, KERNEL = 512, 28, 3
"""Of the convolution: wider than any layer of the presets at this size."""
CONV_IMAGES = {"cuda": 512, "cpu": 4}
MATRIX_SIDE = {"cuda": 8192, "cpu": 2048}
"""2 * side^3 operations: 1.1 T on a GPU, 17 G on a CPU, where that takes 40 ms to a second."""
REPEATS = {"cuda": 20}
"""Calls handed to a GPU between two looks at the clock, so that starting them costs nothing."""


class Ceiling(NamedTuple):
    """Floating-point operations a second, the best of several tries."""

    convolution: float
    matrix_product: float


def measure_ceiling(execution: Execution, seconds: float) -> Ceiling:
    """Both in the precision and memory format of `execution`, in about `seconds` together, forward only."""
    device, dtype = execution.device, execution.dtype
    images = torch.randn(CONV_IMAGES.get(device.type, 32), CHANNELS, SIDE, SIDE, device=device, dtype=dtype)
    images = images.to(memory_format=execution.memory_format)
    filters = torch.randn(CHANNELS, CHANNELS, KERNEL, KERNEL, device=device, dtype=dtype)
    filters = filters.to(memory_format=execution.memory_format)
    conv_flops = 2 * len(images) * SIDE**2 * CHANNELS**2 * KERNEL**2
    with torch.inference_mode():
        convolution = conv_flops / _best(lambda: F.conv2d(images, filters, padding=1), device, seconds / 2)
        side = MATRIX_SIDE.get(device.type, 4096)
        left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        product = 2 * side**3 / _best(lambda: left @ right, device, seconds / 2)
    return Ceiling(convolution, product)


def _best(call: Callable[[], Tensor], device: torch.device, seconds: float) -> float:
    """The fewest seconds a call took, of two tries at least."""
    repeats = REPEATS.get(device.type, 1)

    def once() -> float:
        started = time.perf_counter()
        for _ in range(repeats):
            result = call()
        if device.type != "cpu":
            result[0, 0].sum().item()  # waits for it
        return (time.perf_counter() - started) / repeats

    once()
    until = time.perf_counter() + seconds
    times = [once(), once()]
    while time.perf_counter() < until:
        times.append(once())
    return min(times)
