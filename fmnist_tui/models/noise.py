"""Random draws of a network that do not depend on how a batch is divided over processes or passes.

The layers that draw ask here. Where a batch is divided (`training.team_step`), each process draws for the whole
batch and takes its own images' share, so that an image meets the same noise whichever process has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

_divided: tuple[int, int] | None = None
"""Images of the whole batch, and where this pass's begin; None where a pass is the whole batch."""


@contextmanager
def part_of_batch(total: int, start: int) -> Iterator[None]:
    """Within, the network sees images from `start` on of a batch of `total`."""
    global _divided
    _divided = (total, start)
    try:
        yield
    finally:
        _divided = None


def rand_per_image(rows: int, x: Tensor) -> Tensor:
    """(rows, B, 1, 1, 1) float32, U(0, 1), for the B images of x, from the default generator of x's device."""
    count = x.shape[0]
    if _divided is None:
        return torch.rand((rows, count, 1, 1, 1), dtype=torch.float32, device=x.device)
    total, start = _divided
    drawn = torch.rand((rows, total, 1, 1, 1), dtype=torch.float32, device=x.device)
    return drawn[:, start : start + count]


def dropout(x: Tensor, drop_rate: float, training: bool) -> Tensor:
    """Element-wise dropout that leaves no operation behind where the rate is 0."""
    if drop_rate <= 0:
        return x
    if _divided is None or not training:
        return F.dropout(x, drop_rate, training)
    total, start = _divided
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    ones = torch.ones((total, *x.shape[1:]), dtype=x.dtype, device=x.device)
    if x.ndim == 4:
        ones = ones.contiguous(memory_format=layout)  # the draws follow the order in memory
    return x * F.dropout(ones, drop_rate, training)[start : start + x.shape[0]]
