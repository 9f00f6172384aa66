"""For images of which dtype this process's networks run with the kernels, and which inputs are of their kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDEST = 4096
"""Channels; the arrays of `values.h` hold as many."""

_dtype: torch.dtype | None = None


def use(dtype: torch.dtype | None) -> None:
    """Let this process's networks run with the kernels for images of this dtype, or without.

    Only where `check.problem` has nothing to say of that dtype.
    """
    global _dtype
    _dtype = dtype


def in_use() -> torch.dtype | None:
    """The dtype of images they run for."""
    return _dtype


def fits(x: Tensor) -> bool:
    """Whether the kernels run, and x is an image batch for them: of their dtype, in channels_last, on the CPU."""
    if not (x.dtype is _dtype and x.device.type == "cpu" and x.dim() == 4) or torch.compiler.is_compiling():
        return False  # what is being compiled has tensors without memory
    return 0 < x.shape[1] <= WIDEST and x.numel() > 0 and x.is_contiguous(memory_format=torch.channels_last)


def is_plain(bn: nn.BatchNorm2d, x: Tensor) -> bool:
    """Whether it is batch norm as these networks have it, with statistics that move by a fixed share."""
    weight, mean = bn.weight, bn.running_mean
    if type(bn) is not nn.BatchNorm2d or bn.momentum is None or weight is None or mean is None:
        return False
    return weight.dtype == mean.dtype == torch.float32 and x.shape[1] == bn.num_features and x.numel() > x.shape[1]


def rows_of(x: Tensor) -> int:
    """Pixels of all images of x (B, C, H, W)."""
    return x.numel() // x.shape[1]


def address(values: Tensor | None) -> int:
    """Where the values of a contiguous tensor are, for the library."""
    assert values is not None and values.is_contiguous()
    return values.data_ptr()
