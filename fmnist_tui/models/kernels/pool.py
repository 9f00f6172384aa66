"""2x2 max pooling as one operation, with gradient, by `pool.c`: torch keeps 64-bit indices of what was largest."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fmnist_tui.models.kernels import build
from fmnist_tui.models.kernels.switch import fits


def max_pool(x: Tensor) -> Tensor:
    """(B, C, H // 2, W // 2): the largest of every 2x2 of x (B, C, H, W), an odd last row or column left out.

    Raises RuntimeError, as torch does, where H or W is 1.
    """
    if fits(x) and x.shape[2] > 1 and x.shape[3] > 1:
        pooled: Tensor = MaxPool.apply(x)
        return pooled
    return F.max_pool2d(x, 2)


class MaxPool(torch.autograd.Function):
    """2x2 max pooling of x (B, C, H, W)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        images, channels, height, width = x.shape
        y = torch.empty((images, channels, height // 2, width // 2), dtype=x.dtype, memory_format=torch.channels_last)
        build.library(x.dtype).pool_forward(
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
        build.library(x.dtype).pool_backward(
            x.data_ptr(), grad.data_ptr(), dx.data_ptr(), images, height, width, channels, torch.get_num_threads()
        )
        return dx
