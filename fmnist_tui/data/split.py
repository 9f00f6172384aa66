"""The two ways the official images become a training and a test set.

Called by the trainer (`split`) and by whatever shows or plans a run before data is loaded (`split_sizes`).
NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.data.source import SIZES, Images


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


def split_sizes(source: Literal["full", "sample"], name: Literal["custom", "standard"]) -> tuple[int, int]:
    """Training and test images of a split, known without loading anything."""
    train, test = SIZES[source]
    return (train, test) if name == "standard" else (train // 2, test + train - train // 2)
