"""How much arithmetic an image costs, counted on the real network without computing anything.

Called by `bench`. Torch's counter sees every convolution and matrix product of the forward and the backward
pass; what is done to each number by itself (batch norm, activations, the optimizer) is not counted, as usual.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from fmnist_tui.config import IMAGE_SIZE, ModelConfig
from fmnist_tui.models import begin_epoch, build_model

COUNTED_IMAGES = 2
"""Images in the batch that is counted; batch norm wants more than one value of a channel."""


class Flops(NamedTuple):
    """Floating-point operations an image, a multiplication and an addition being two."""

    forward: float
    training: float
    """Forward and backward pass. Less than three times the forward one: nobody wants the images' gradient."""


def flops_per_image(config: ModelConfig, size: int = IMAGE_SIZE, epoch: int = 1, epochs: int = 1) -> Flops:
    """Count for `size` x `size` images in one epoch of a run; on tensors without contents, in under a second."""
    with torch.device("meta"):
        model = build_model(config)
        begin_epoch(model, epoch, epochs)
        images = torch.empty(COUNTED_IMAGES, 1, size, size)
        labels = torch.empty(COUNTED_IMAGES, dtype=torch.int64)
        with FlopCounterMode(display=False) as forward, torch.no_grad():
            model.eval()(images)
        with FlopCounterMode(display=False) as training:
            F.cross_entropy(model.train()(images), labels).backward()
    return Flops(forward.get_total_flops() / COUNTED_IMAGES, training.get_total_flops() / COUNTED_IMAGES)
