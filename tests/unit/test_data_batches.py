"""Batches on the device: the order of images, the seeds of random streams, gathering, normalisation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from fmnist_tui.data import source
from fmnist_tui.data.batches import DeviceDataset, epoch_permutation, normalize, step_seed, train_batch


@pytest.fixture(scope="module")
def sample() -> source.Images:
    return source.load_sample()


def test_the_dataset_holds_its_own_copy_without_a_warning(sample: source.Images) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = DeviceDataset(sample.test_images, sample.test_labels, "cpu")
    assert len(dataset) == 2000
    assert dataset.images.dtype == torch.uint8 and dataset.labels.dtype == torch.int64
    assert np.array_equal(dataset.images.numpy(), sample.test_images)
    assert np.array_equal(dataset.labels.numpy(), sample.test_labels)
    dataset.images[0] = 7
    assert sample.test_images[0].max() != 7


def test_a_permutation_is_a_function_of_seed_and_epoch() -> None:
    first = epoch_permutation(1000, 40_000, 3)
    torch.manual_seed(1)
    torch.rand(5)
    assert torch.equal(first, epoch_permutation(1000, 40_000, 3))  # whatever else was drawn
    assert first.dtype == torch.int64
    assert torch.equal(first.sort().values, torch.arange(1000))
    assert not torch.equal(first, torch.arange(1000))
    for other in (epoch_permutation(1000, 40_000, 4), epoch_permutation(1000, 40_001, 3)):
        assert not torch.equal(first, other)
    assert epoch_permutation(1, 0, 0).tolist() == [0]


def test_permutations_reach_every_place() -> None:
    places = torch.stack([epoch_permutation(5, 1, epoch) for epoch in range(2000)])
    counts = torch.stack([(places == image).sum(0) for image in range(5)])
    assert (counts - 400).abs().max() < 5 * (2000 * 0.2 * 0.8) ** 0.5


def test_step_seeds_stay_what_they_are() -> None:
    """A resumed run must see the draws of the version that began it."""
    assert step_seed(40_000, "augment", 1, 0) == 6268564926968031948
    assert step_seed(40_000, "shuffle", 200, 117) == 7081334320914340260


def test_step_seeds_differ_and_fit_a_generator() -> None:
    seeds = {
        step_seed(seed, stream, epoch, step)
        for seed in (0, 1, 11, 2**32 - 1)
        for stream in ("augment", "shuffle", "shake")
        for epoch in range(12)
        for step in range(120)
    }
    assert len(seeds) == 4 * 3 * 12 * 120
    assert all(0 <= seed < 2**63 for seed in seeds) and max(seeds) > 2**62
    torch.Generator().manual_seed(max(seeds))


def test_an_epoch_of_batches_is_every_image_once(sample: source.Images) -> None:
    dataset = DeviceDataset(sample.test_images, sample.test_labels)
    permutation = epoch_permutation(len(dataset), 7, 1)
    batches = [train_batch(dataset, permutation, step, 256) for step in range(8)]
    assert [len(labels) for _, labels in batches] == [256] * 7 + [2000 - 7 * 256]
    order = permutation.numpy()
    images, labels = (torch.cat(part).numpy() for part in zip(*batches, strict=True))
    assert images.dtype == np.uint8 and images.shape == (2000, 28, 28) and labels.dtype == np.int64
    assert np.array_equal(images, sample.test_images[order])
    assert np.array_equal(labels, sample.test_labels[order])
    with pytest.raises(AssertionError):
        train_batch(dataset, permutation, 8, 256)


def test_normalisation_is_torchvisions(sample: source.Images) -> None:
    images = sample.test_images[:50].copy()
    expected = torch.stack(
        [functional.normalize(functional.to_tensor(image[:, :, None]), [0.2860], [0.3530]) for image in images]
    )
    result = normalize(torch.from_numpy(images))
    assert result.shape == (50, 1, 28, 28) and result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
    everything = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    exact = (torch.arange(256, dtype=torch.float64) / 255 - 0.2860) / 0.3530
    torch.testing.assert_close(normalize(everything).flatten().double(), exact, rtol=0, atol=1e-6)


def test_normalising_leaves_the_pixels_alone() -> None:
    images = torch.full((2, 28, 28), 9, dtype=torch.uint8)
    normalize(images)
    assert (images == 9).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_type_and_memory_format_change_no_value(
    sample: source.Images, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    images = torch.from_numpy(sample.test_images[:8].copy())
    result = normalize(images, dtype, memory_format)
    assert result.shape == (8, 1, 28, 28) and result.dtype == dtype
    assert result.is_contiguous(memory_format=memory_format)
    assert torch.equal(result, normalize(images).to(dtype))
    expected = (784, 1, 28, 1) if memory_format == torch.channels_last else (784, 784, 28, 1)
    assert result.stride() == expected


@pytest.mark.gpu
def test_the_order_is_the_same_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    assert torch.equal(epoch_permutation(30_000, 40_000, 5, "cuda").cpu(), epoch_permutation(30_000, 40_000, 5))
