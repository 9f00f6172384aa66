"""Random crop, horizontal flip and Cutout for a whole batch as tensor operations on its device.

Called by the trainer for every training batch. Drawing and applying are apart, so that the same draws can
be given to torchvision's own transforms (the tests do). No host synchronisation, no shape that depends on
a value, no loop over images: a step that calls this can be compiled or captured in a CUDA graph.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fmnist_tui.config import IMAGE_SIZE, AugmentConfig
from fmnist_tui.data.batches import normalize


class AugmentDraws(NamedTuple):
    """What happens to each image of a batch; every tensor is (B,) on the device."""

    top: Tensor
    """int64, 0 to 2 * crop_padding: first row of the crop in the padded image."""
    left: Tensor
    """int64, 0 to 2 * crop_padding: first column of the crop in the padded image."""
    flip: Tensor
    """bool: mirrored after the crop."""
    cutout: Tensor
    """bool: gets a Cutout."""
    cutout_row: Tensor
    """int64: centre of the square; of an even side s it covers rows [centre - s // 2, centre + s // 2)."""
    cutout_column: Tensor
    """int64: the same for columns."""


def draw(
    batch_size: int,
    config: AugmentConfig,
    generator: torch.Generator,
    device: torch.device | str,
    size: int = IMAGE_SIZE,
) -> AugmentDraws:
    """Draws for `batch_size` images of `size` x `size` pixels from `generator`, which lives on `device`.

    The three calls below are made whatever the configuration, Cutout's own last: switching Cutout on or off
    leaves the crops and flips of a run as they were.
    """
    offsets = torch.randint(0, 2 * config.crop_padding + 1, (2, batch_size), generator=generator, device=device)
    chances = torch.rand((2, batch_size), generator=generator, device=device)
    before, after = _reach(config.cutout_size)
    first, last = (before, size - after) if config.cutout_inside else (0, size - 1)
    centres = torch.randint(first, last + 1, (2, batch_size), generator=generator, device=device)
    return AugmentDraws(
        top=offsets[0],
        left=offsets[1],
        flip=chances[0] < 0.5,
        cutout=chances[1] < config.cutout_probability,  # chances are below 1: a probability of 1 is always
        cutout_row=centres[0],
        cutout_column=centres[1],
    )


def _reach(cutout_size: int) -> tuple[int, int]:
    """Pixels of a Cutout square before its centre, and from its centre on."""
    return cutout_size // 2, cutout_size - cutout_size // 2


def crop_and_flip(images: Tensor, draws: AugmentDraws, config: AugmentConfig) -> Tensor:
    """(B, H, W) uint8, padded with black, cropped to H x W and mirrored as drawn; still pixels.

    Rows are copied whole by index_select, columns picked by gather, which mirrors at no extra cost. On 2
    threads of an AVX-512 CPU (torch 2.14, batches of 256) this takes 240 us; one gather of all pixels takes
    305, windows of an unfolded view and a flip 420 to 430.
    """
    padding = config.crop_padding
    if not padding and not config.flip:
        return images
    batch, height, width = images.shape
    padded = torch.nn.functional.pad(images, (padding, padding, padding, padding))
    padded_height, padded_width = padded.shape[1:]
    row, column = (torch.arange(side, device=images.device) for side in (height, width))
    first_row = torch.arange(batch, device=images.device) * padded_height + draws.top
    rows = (first_row[:, None] + row).flatten()
    cropped_rows = padded.view(-1, padded_width).index_select(0, rows).view(batch, height, padded_width)
    columns = torch.where(draws.flip[:, None], width - 1 - column, column) if config.flip else column
    columns = draws.left[:, None] + columns
    return cropped_rows.gather(2, columns[:, None, :].expand(batch, height, width))


def cutout_mask(draws: AugmentDraws, config: AugmentConfig, size: int = IMAGE_SIZE) -> Tensor:
    """(B, size, size) bool: the pixels Cutout hides (arXiv 1708.04552); what hangs over the border is cut off."""
    before, after = _reach(config.cutout_size)
    position = torch.arange(size, device=draws.cutout_row.device)
    from_row = position - draws.cutout_row[:, None]
    from_column = position - draws.cutout_column[:, None]
    rows = (from_row >= -before) & (from_row < after) & draws.cutout[:, None]
    columns = (from_column >= -before) & (from_column < after)
    return rows[:, :, None] & columns[:, None, :]


def apply(
    images: Tensor,
    draws: AugmentDraws,
    config: AugmentConfig,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """(B, H, W) uint8 to (B, 1, H, W) normalised `dtype`, augmented as drawn.

    Cutout's pixels are exactly 0 after normalisation, which is the mean.
    """
    result = normalize(crop_and_flip(images, draws, config), dtype, memory_format)
    if config.cutout_size:
        result.masked_fill_(cutout_mask(draws, config, images.shape[-1]).unsqueeze(1), 0.0)
    return result


def augment(
    images: Tensor,
    config: AugmentConfig,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Draw and apply in one call: (B, H, W) uint8 to (B, 1, H, W) normalised `dtype`.

    The trainer seeds `generator` with `step_seed(seed, "augment", epoch, step)` before each batch.
    """
    draws = draw(len(images), config, generator, images.device, images.shape[-1])
    return apply(images, draws, config, dtype, memory_format)
