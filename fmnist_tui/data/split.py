"""The two ways the official images become a training and a test set, and a part of one held out.

Called by the trainer (`split_of`) and by whatever shows a run's images; how many there are is `DataConfig.sizes`.
NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.config import DataConfig
from fmnist_tui.data.source import Images


@dataclass(frozen=True)
class Split:
    """What a run trains on and what it is tested on: images (N, 28, 28) uint8, labels (N,) uint8."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


def split(images: Images, name: Literal["custom", "standard"]) -> Split:
    """The named split of the official images, in file order.

    standard: the official sets. custom (the reference's): train on the first half of the official training
    images; test on the official test images followed by the other half. Full data: 30,000 / 40,000.
    """
    if name == "standard":
        return Split(images.train_images, images.train_labels, images.test_images, images.test_labels)
    half = len(images.train_images) // 2
    return Split(
        images.train_images[:half],
        images.train_labels[:half],
        np.concatenate([images.test_images, images.train_images[half:]]),
        np.concatenate([images.test_labels, images.train_labels[half:]]),
    )


def split_of(images: Images, data: DataConfig) -> Split:
    """What a run of this configuration trains on and is tested on: of a split, all or with a part held out."""
    whole = split(images, data.split)
    return hold_out(whole, data.hold_out, data.fold) if data.hold_out else whole


def hold_out(whole: Split, count: int, fold: int) -> Split:
    """A split's training images without `count` of them, and those in the place of the test images, in their order.

    Fold 0 holds out the last ones, fold 1 those before them, and so on.
    """
    held = held_out(len(whole.train_labels), count, fold)
    return Split(
        np.delete(whole.train_images, held, 0),
        np.delete(whole.train_labels, held, 0),
        whole.train_images[held],
        whole.train_labels[held],
    )


def held_out(images: int, count: int, fold: int) -> slice:
    """Which of so many training images are held out."""
    end = images - fold * count
    return slice(end - count, end)


def split_sizes(source: Literal["full", "sample"], name: Literal["custom", "standard"]) -> tuple[int, int]:
    """Training and test images of a whole split, known without loading anything."""
    return DataConfig(source=source, split=name).sizes
