"""Random crop, horizontal flip, Cutout and CutMix for a whole batch as tensor operations on its device.

Called by the trainer for every training batch. Drawing and applying are apart, so that the same draws can
be given to torchvision's own transforms (the tests do). No host synchronisation, no shape that depends on
a value, no loop over images: a step that calls this can be compiled or captured in a CUDA graph.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fmnist_tui.config import CLASSES, IMAGE_SIZE, AugmentConfig
from fmnist_tui.data.batches import normalize, step_seed


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


def epoch_flips(
    config: AugmentConfig, n: int, seed: int, epoch: int, device: torch.device | str = "cpu"
) -> Tensor | None:
    """Which of a set's `n` images are mirrored in an epoch of alternating flips: (n,) bool on `device`, else None.

    Drawn once from the seed, then turned over from epoch to epoch, so that two epochs running show every image
    both ways (arXiv 2404.00498). Drawn on the CPU, as the order of images is: the same on every device.
    """
    if not config.flip or config.flip_mode != "alternating":
        return None
    generator = torch.Generator().manual_seed(step_seed(seed, "flip", 0, 0))
    first = torch.rand(n, generator=generator) < 0.5
    return (first if epoch % 2 else ~first).to(device)


def _reach(cutout_size: int) -> tuple[int, int]:
    """Pixels of a Cutout square before its centre, and from its centre on."""
    return cutout_size // 2, cutout_size - cutout_size // 2


def crop_and_flip(images: Tensor, draws: AugmentDraws, config: AugmentConfig) -> Tensor:
    """(B, H, W) uint8, padded with black, cropped to H x W and mirrored as drawn; still pixels.

    A row of the crop is a run of W bytes in the padded batch, and of a mirrored crop one in the mirrored
    batch: index_select copies such runs whole, where gathering single pixels takes twice as long (216 us
    against 506 for 256 images, one thread of an AVX-512 CPU, torch 2.14).
    """
    padding = config.crop_padding
    if not padding and not config.flip:
        return images
    batch, height, width = images.shape
    padded = F.pad(images, (padding, padding, padding, padding))
    padded_height, padded_width = padded.shape[1:]
    image = torch.arange(batch, device=images.device)
    left = draws.left
    if config.flip:
        padded = torch.cat([padded, padded.flip(2)])
        image = image + batch * draws.flip
        left = torch.where(draws.flip, 2 * padding - left, left)
    first_run = (image * padded_height + draws.top) * padded_width + left
    runs = first_run[:, None] + torch.arange(height, device=images.device) * padded_width
    return padded.flatten().unfold(0, width, 1).index_select(0, runs.flatten()).view(batch, height, width)


def cutout_keep(draws: AugmentDraws, config: AugmentConfig, size: int = IMAGE_SIZE) -> Tensor:
    """(B, size, size) float32: 0 at the pixels Cutout hides, 1 elsewhere (arXiv 1708.04552).

    What hangs over the border is cut off. A product of numbers, because operations on bool are not
    vectorised on the CPU: masked_fill with a bool mask takes three times as long.
    """
    before, after = _reach(config.cutout_size)
    position = torch.arange(size, device=draws.cutout_row.device)
    from_row = position - draws.cutout_row[:, None]
    from_column = position - draws.cutout_column[:, None]
    rows = (from_row >= -before) & (from_row < after) & draws.cutout[:, None]
    columns = (from_column >= -before) & (from_column < after)
    return (rows.float()[:, :, None] * columns.float()[:, None, :]).neg_().add_(1.0)


def apply(
    images: Tensor,
    draws: AugmentDraws,
    config: AugmentConfig,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
    size: int | None = None,
) -> Tensor:
    """(B, H, W) uint8 to (B, 1, H, W) normalised `dtype`, augmented as drawn.

    Cutout's pixels are exactly 0 after normalisation, which is the mean. With a `size` other than H the result
    is resized to (B, 1, size, size), last, so that a draw means the same at every resolution.
    """
    result = normalize(crop_and_flip(images, draws, config), torch.float32, memory_format)
    if config.cutout_size:
        result.mul_(cutout_keep(draws, config, images.shape[-1]).unsqueeze(1))
    if size is not None and size != images.shape[-1]:
        result = resize(result, size)
    return result.to(dtype)  # last: on the CPU arithmetic is faster in float32 than in bfloat16


def resize(images: Tensor, size: int) -> Tensor:
    """(B, 1, H, W) float32 to (B, 1, size, size): bilinear with antialiasing, in the memory format of `images`."""
    resized = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    if images.stride(1) == 1:  # channels_last, which one channel has in its strides only
        return resized.reshape(len(images), size, size, 1).permute(0, 3, 1, 2)
    return resized


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


def cutmix(images: Tensor, labels: Tensor, config: AugmentConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """CutMix of a batch (arXiv 1905.04899): (B, 1, H, H) and labels (B,) int64 to images and targets (B, 10) float32.

    In `cutmix_probability` of the batches a rectangle of each image is that of the one before it in the batch, the
    same rectangle for all; a target's two probabilities are the shares of the pixels. The rectangle's sides are
    drawn so that its area is uniform, its centre anywhere; what hangs over the border is cut off.
    """
    side = images.shape[-1]
    chance, area, row, column = torch.rand(4, generator=generator, device=images.device)
    reach = area.sqrt() * (chance < config.cutmix_probability) / 2
    position = (torch.arange(side, device=images.device) + 0.5) / side
    mixed = ((position - row).abs() < reach)[:, None] & ((position - column).abs() < reach)
    own, other = (F.one_hot(y, len(CLASSES)).float() for y in (labels, labels.roll(1)))
    result = torch.empty_like(images)  # keeps the memory format, which one channel has in its strides only
    torch.where(mixed, images.roll(1, 0), images, out=result)
    return result, torch.lerp(own, other, mixed.float().mean())
