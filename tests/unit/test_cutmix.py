"""CutMix of a batch: which pixels are whose, the labels' shares, and how often and how large it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fmnist_tui.config import AugmentConfig
from fmnist_tui.data.augment import cutmix
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.training.schedule import mixes

ALWAYS = AugmentConfig(cutmix_probability=1.0)


def numbered(count: int, side: int = 28) -> Tensor:
    """Images (count, 1, side, side) whose pixels are all the image's number, channels_last as on a CPU in bf16."""
    pixels = torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(count, side, side, 1)
    return pixels.clone().permute(0, 3, 1, 2)


def mixed(config: AugmentConfig, seed: int, count: int = 6, side: int = 28) -> tuple[Tensor, Tensor]:
    return cutmix(numbered(count, side), torch.arange(count), config, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("side", [20, 28])
def test_a_rectangle_is_the_image_befores_and_so_is_its_share_of_the_label(side: int) -> None:
    sizes = set[tuple[int, int]]()
    for seed in range(50):
        images, targets = mixed(ALWAYS, seed, side=side)
        assert images.shape == (6, 1, side, side) and targets.shape == (6, 10) and targets.dtype == torch.float32
        for index, (image, target) in enumerate(zip(images[:, 0], targets, strict=True)):
            before = (index - 1) % 6
            theirs = image == before
            assert (theirs | (image == index)).all()
            rows, columns = theirs.any(1), theirs.any(0)
            assert torch.equal(theirs, rows[:, None] & columns), "not a rectangle"
            assert torch.equal(theirs, images[0, 0] == 5), "another one than the first image's"
            for line in (rows, columns):  # without a gap
                assert int(line.diff().sum()) <= 2
            share = float(theirs.float().mean())
            assert float(target[before]) == pytest.approx(share, abs=1e-6)
            assert float(target[index]) == pytest.approx(1 - share, abs=1e-6)
            assert float(target.sum()) == pytest.approx(1, abs=1e-6)
        sizes.add((int(rows.sum()), int(columns.sum())))
    assert len(sizes) > 20 and any(height != width for height, width in sizes), "cut off by the border"


def test_areas_are_uniform_and_centres_anywhere() -> None:
    """A square of area a (of 1) around a uniform centre, cut off by the border, covers a mean of (s - s^2 / 4)^2."""
    shares = [float(mixed(ALWAYS, seed, count=2)[1][0, 1]) for seed in range(3000)]
    sides = torch.linspace(0, 1, 100_001).sqrt()
    expected = float((sides - sides**2 / 4).square().mean())
    assert sum(shares) / len(shares) == pytest.approx(expected, abs=0.02)
    assert min(shares) < 0.01 and max(shares) > 0.85


def test_a_share_of_the_batches_is_mixed_and_the_others_are_as_they_were() -> None:
    config = AugmentConfig(cutmix_probability=0.3)
    untouched = 0
    for seed in range(1000):
        images, targets = mixed(config, seed, count=3)
        if torch.equal(images, numbered(3)):
            untouched += 1
            assert torch.equal(targets, torch.eye(3, 10))
    assert 660 < untouched < 745  # of 700, and some rectangles are smaller than a pixel


def test_the_memory_format_stays() -> None:
    for images in (numbered(6), numbered(6).contiguous(memory_format=torch.contiguous_format)):
        for dtype in (torch.float32, torch.bfloat16):
            result, _ = cutmix(images.to(dtype), torch.arange(6), ALWAYS, torch.Generator())
            assert result.stride() == images.stride() and result.dtype == dtype


def test_nothing_waits_for_the_device() -> None:
    """Fake tensors have no values: anything that asks for one fails."""
    with FakeTensorMode():
        images, targets = cutmix(
            torch.zeros(8, 1, 28, 28, device="cpu"), torch.zeros(8, dtype=torch.int64), ALWAYS, torch.Generator()
        )
    assert images.shape == (8, 1, 28, 28) and targets.shape == (8, 10)


def test_the_first_epochs_have_it() -> None:
    config = with_changes(load_preset("quick"), {"augment.cutmix_probability": 0.5, "training.epochs": 7})
    assert all(mixes(epoch, config) for epoch in range(1, 8))
    part = with_changes(config, {"augment.cutmix_share": 0.75})
    assert [mixes(epoch, part) for epoch in range(1, 8)] == [True] * 5 + [False] * 2
    assert [mixes(epoch, part, 16) for epoch in (1, 12, 13, 16)] == [True, True, False, False], "of an edited length"
    for off in ({"augment.cutmix_share": 0.0}, {"augment.cutmix_probability": 0.0}):
        assert not any(mixes(epoch, with_changes(config, off)) for epoch in range(1, 8))
