"""The augmentation preview: real images as the network would see them. `image_grid` draws them.

The app may not import torch, so the augmentation is written here once more in NumPy, with the meaning of
`data/augment.py`: pad with black and crop, flip, fill Cutout's square with the mean, mix with another
image. The New run screen shows the preview.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fmnist_tui.config import IMAGE_SIZE, AugmentConfig
from fmnist_tui.tui.widgets.image_grid import Image

MEAN_PIXEL = round(0.2860 * 255)
"""What Cutout's square looks like: the mean of the reference's training images."""


@dataclass(frozen=True)
class Draw:
    """What happens to one image; the fields are those of `data.augment.AugmentDraws`."""

    top: int
    """First row of the crop in the padded image; `crop_padding` is no shift."""
    left: int
    flip: bool
    cutout: bool
    cutout_row: int
    """Centre of the square; of an even side s it covers rows [centre - s // 2, centre + s // 2)."""
    cutout_column: int


def draw(config: AugmentConfig, rng: np.random.Generator, size: int = IMAGE_SIZE) -> Draw:
    """One image's draws, in the distributions the trainer uses."""
    top, left = (int(n) for n in rng.integers(0, 2 * config.crop_padding, 2, endpoint=True))
    flip, chance = rng.random(2)
    before = config.cutout_size // 2
    after = config.cutout_size - before
    first, last = (before, size - after) if config.cutout_inside else (0, size - 1)
    row, column = (int(n) for n in rng.integers(first, last, 2, endpoint=True))
    return Draw(top, left, bool(flip < 0.5), bool(chance < config.cutout_probability), row, column)


def augment(image: Image, drawn: Draw, config: AugmentConfig) -> Image:
    """The image cropped, mirrored and with its Cutout, as pixels; `image` is left as it was."""
    size = image.shape[0]
    padded = np.pad(image, config.crop_padding)
    result = padded[drawn.top : drawn.top + size, drawn.left : drawn.left + size].copy()
    if config.flip and drawn.flip:
        result = result[:, ::-1].copy()
    if config.cutout_size and drawn.cutout:
        before = config.cutout_size // 2
        rows, columns = (
            slice(max(0, centre - before), centre - before + config.cutout_size)
            for centre in (drawn.cutout_row, drawn.cutout_column)
        )
        result[rows, columns] = MEAN_PIXEL
    return result


def mix(image: Image, other: Image, config: AugmentConfig, rng: np.random.Generator) -> tuple[Image, float]:
    """CutMix: the image with a rectangle of the other, and that one's share; with a share of 0 the image itself."""
    size = image.shape[0]
    chance, area, row, column = rng.random(4)
    if chance >= config.cutmix_probability:
        return image, 0.0
    position = (np.arange(size) + 0.5) / size
    rows, columns = (np.abs(position - centre) < np.sqrt(area) / 2 for centre in (row, column))
    mixed = rows[:, None] & columns
    return np.where(mixed, other, image), float(mixed.mean())


def in_words(drawn: Draw, config: AugmentConfig) -> str:
    """What was done to the image, short enough to stand below it: 'right 3 down 1 flip'."""
    said = []
    for amount, forth, back in (
        (config.crop_padding - drawn.left, "right", "left"),
        (config.crop_padding - drawn.top, "down", "up"),
    ):
        if amount:
            said.append(f"{forth if amount > 0 else back} {abs(amount)}")
    if config.flip and drawn.flip:
        said.append("flip")
    if config.cutout_size and drawn.cutout:
        said.append("Cutout")
    return " ".join(said) or "unchanged"
