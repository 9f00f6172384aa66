"""The two splits and their sizes, on the sample; test_data_full.py does it on the full data."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from fmnist_tui.data import source
from fmnist_tui.data.split import split, split_sizes


@pytest.fixture(scope="module")
def sample() -> source.Images:
    return source.load_sample()


def test_custom_trains_on_the_first_half_and_tests_on_the_rest(sample: source.Images) -> None:
    parts = split(sample, "custom")
    assert (len(parts.train_images), len(parts.test_images)) == (3000, 5000) == split_sizes("sample", "custom")
    assert (len(parts.train_labels), len(parts.test_labels)) == (3000, 5000)
    for index in (0, 1, 1234, 2999):
        assert np.array_equal(parts.train_images[index], sample.train_images[index])
        assert parts.train_labels[index] == sample.train_labels[index]
    for index in (0, 1, 1999):
        assert np.array_equal(parts.test_images[index], sample.test_images[index])
        assert parts.test_labels[index] == sample.test_labels[index]
    for index in (0, 1, 2999):
        assert np.array_equal(parts.test_images[2000 + index], sample.train_images[3000 + index])
        assert parts.test_labels[2000 + index] == sample.train_labels[3000 + index]
    for labels in (parts.train_labels, parts.test_labels):
        assert len(set(np.bincount(labels).tolist())) == 1


def test_standard_is_the_official_sets(sample: source.Images) -> None:
    parts = split(sample, "standard")
    assert (len(parts.train_images), len(parts.test_images)) == (6000, 2000) == split_sizes("sample", "standard")
    assert np.array_equal(parts.train_images, sample.train_images)
    assert np.array_equal(parts.test_labels, sample.test_labels)


def test_no_image_is_in_both_parts_and_none_is_lost() -> None:
    numbered = np.arange(30, dtype=np.uint8)
    images = source.Images(
        numbered[:20].repeat(784).reshape(20, 28, 28),
        numbered[:20],
        numbered[20:].repeat(784).reshape(10, 28, 28),
        numbered[20:],
        source="full",
        directory=Path(),
        sha256={},
    )
    for name in ("custom", "standard"):
        parts = split(images, name)
        assert sorted([*parts.train_labels, *parts.test_labels]) == list(range(30))
        assert np.array_equal(parts.train_images[:, 5, 5], parts.train_labels)
        assert np.array_equal(parts.test_images[:, 5, 5], parts.test_labels)
    assert split(images, "custom").test_labels.tolist() == [*range(20, 30), *range(10, 20)]


def test_sizes_are_known_without_loading() -> None:
    assert split_sizes("full", "custom") == (30_000, 40_000)
    assert split_sizes("full", "standard") == (60_000, 10_000)


def test_a_split_cannot_be_changed(sample: source.Images) -> None:
    with pytest.raises(FrozenInstanceError):
        split(sample, "standard").train_images = sample.test_images  # type: ignore[misc]
