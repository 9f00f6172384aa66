"""Batched augmentation: against torchvision's own transforms, against NumPy loops, and by its statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import functional

from fmnist_tui.config import AugmentConfig
from fmnist_tui.data import source
from fmnist_tui.data.augment import AugmentDraws, apply, augment, crop_and_flip, cutout_keep, draw
from fmnist_tui.data.batches import normalize

FULL = AugmentConfig(crop_padding=4, flip=True, cutout_size=16)
MANY = 40_000


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(source.load_sample().test_images[:400].copy())


def draws_of(config: AugmentConfig, count: int, seed: int = 1) -> AugmentDraws:
    return draw(count, config, torch.Generator().manual_seed(seed), "cpu")


def torchvision_crop_and_flip(image: torch.Tensor, top: int, left: int, flip: bool, padding: int) -> torch.Tensor:
    padded = functional.pad(image[None], [padding] * 4)
    cropped: torch.Tensor = functional.crop(padded, top, left, *image.shape)[0]
    mirrored: torch.Tensor = functional.hflip(cropped)
    return mirrored if flip else cropped


def loop_mask(row: int, column: int, size: int) -> np.ndarray:
    mask = np.zeros((28, 28), bool)
    for y in range(row - size // 2, row - size // 2 + size):
        for x in range(column - size // 2, column - size // 2 + size):
            if 0 <= y < 28 and 0 <= x < 28:
                mask[y, x] = True
    return mask


def cutout_mask(draws: AugmentDraws, config: AugmentConfig) -> torch.Tensor:
    keep = cutout_keep(draws, config)
    assert keep.dtype == torch.float32 and set(keep.unique().tolist()) <= {0.0, 1.0}
    return keep == 0


@pytest.mark.parametrize("padding", [0, 1, 4, 14])
@pytest.mark.parametrize("flip", [True, False])
def test_crop_and_flip_equal_torchvisions_bit_for_bit(images: torch.Tensor, padding: int, flip: bool) -> None:
    config = AugmentConfig(crop_padding=padding, flip=flip)
    draws = draws_of(config, len(images), seed=padding)
    result = crop_and_flip(images, draws, config)
    assert result.dtype == torch.uint8 and result.shape == images.shape
    for index, image in enumerate(images):
        expected = torchvision_crop_and_flip(
            image, int(draws.top[index]), int(draws.left[index]), flip and bool(draws.flip[index]), padding
        )
        assert torch.equal(result[index], expected), index


def test_every_offset_with_and_without_flip_equals_torchvisions(images: torch.Tensor) -> None:
    """All 162 cases of the presets' crop, not only those a seed happens to draw."""
    cases = [(top, left, flip) for top in range(9) for left in range(9) for flip in (False, True)]
    top, left, flip = (torch.tensor(values) for values in zip(*cases, strict=True))
    draws = draws_of(FULL, len(cases))._replace(top=top, left=left, flip=flip)
    result = crop_and_flip(images[: len(cases)], draws, FULL)
    for index, case in enumerate(cases):
        assert torch.equal(result[index], torchvision_crop_and_flip(images[index], *case, padding=4)), case


def test_the_whole_chain_equals_torchvisions(images: torch.Tensor) -> None:
    draws = draws_of(FULL, len(images))
    result = apply(images, draws, FULL)
    for index, image in enumerate(images):
        chosen = torchvision_crop_and_flip(
            image, int(draws.top[index]), int(draws.left[index]), bool(draws.flip[index]), 4
        )
        expected = functional.normalize(chosen[None].float() / 255, [0.2860], [0.3530])
        row, column = int(draws.cutout_row[index]), int(draws.cutout_column[index])
        expected[0][torch.from_numpy(loop_mask(row, column, 16))] = 0.0
        torch.testing.assert_close(result[index], expected, rtol=0, atol=1e-6)


def test_nothing_switched_on_is_normalisation_alone(images: torch.Tensor) -> None:
    config = AugmentConfig(crop_padding=0, flip=False, cutout_size=0)
    assert torch.equal(apply(images, draws_of(config, len(images)), config), normalize(images))


@pytest.mark.parametrize("size", [1, 2, 7, 16, 27, 28])
@pytest.mark.parametrize("inside", [True, False])
def test_the_square_is_the_one_of_a_loop(size: int, inside: bool) -> None:
    config = AugmentConfig(cutout_size=size, cutout_inside=inside)
    draws = draws_of(config, 300, seed=size)
    mask = cutout_mask(draws, config)
    for index in range(300):
        expected = loop_mask(int(draws.cutout_row[index]), int(draws.cutout_column[index]), size)
        assert np.array_equal(mask[index].numpy(), expected), index
        if inside:
            assert expected.sum() == size * size, "cut off by the border"


@pytest.mark.parametrize(("inside", "first", "last"), [(False, 0, 27), (True, 8, 20)])
def test_centres_are_uniform_over_their_range(inside: bool, first: int, last: int) -> None:
    draws = draws_of(AugmentConfig(cutout_size=16, cutout_inside=inside), MANY)
    for centre in (draws.cutout_row, draws.cutout_column):
        assert (int(centre.min()), int(centre.max())) == (first, last)
        assert_uniform(centre - first, last - first + 1)


def assert_uniform(values: torch.Tensor, kinds: int) -> None:
    """Every kind's count within 5 standard deviations of uniform (seeds are fixed: no flakes)."""
    counts = torch.bincount(values, minlength=kinds).double()
    share = 1 / kinds
    assert len(counts) == kinds
    assert (counts - len(values) * share).abs().max() < 5 * (len(values) * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("padding", [1, 4, 14])
def test_offsets_are_uniform_and_independent(padding: int) -> None:
    kinds = 2 * padding + 1
    draws = draws_of(AugmentConfig(crop_padding=padding), MANY)
    for offset in (draws.top, draws.left):
        assert_uniform(offset, kinds)
    if padding == 4:
        assert_uniform(draws.top * kinds + draws.left, kinds * kinds)  # no tie between row and column
        assert_uniform(draws.top * 2 + draws.flip, kinds * 2)
        assert_uniform(draws.top[1:] * kinds + draws.top[:-1], kinds * kinds)  # nor between neighbours


def test_cutout_is_independent_of_crop_and_flip() -> None:
    draws = draws_of(AugmentConfig(cutout_size=16, cutout_probability=0.5), MANY)
    assert_uniform(draws.cutout * 2 + draws.flip, 4)
    assert_uniform(draws.cutout * 9 + draws.top, 18)
    assert_uniform(draws.cutout_row * 28 + draws.cutout_column, 28 * 28)
    assert_uniform(draws.cutout_row * 9 + draws.left, 28 * 9)


def test_half_of_the_images_are_flipped() -> None:
    assert abs(draws_of(FULL, MANY).flip.double().mean() - 0.5) < 5 * 0.5 / MANY**0.5


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_cutout_hits_its_share_of_the_images(probability: float) -> None:
    config = AugmentConfig(cutout_size=4, cutout_inside=True, cutout_probability=probability)
    hidden = cutout_mask(draws_of(config, 10_000), config).sum((1, 2))
    assert set(hidden.tolist()) <= {0, 16}
    spread = (probability * (1 - probability) / 10_000) ** 0.5
    assert abs((hidden == 16).double().mean() - probability) <= 5 * spread


def test_the_hidden_area_of_a_hanging_square_is_that_of_all_centres() -> None:
    areas = np.array([loop_mask(row, column, 16).sum() for row in range(28) for column in range(28)])
    hidden = cutout_mask(draws_of(FULL, 10_000), FULL).sum((1, 2)).double()
    assert int(hidden.min()) == areas.min() == 64 and int(hidden.max()) == areas.max() == 256
    assert abs(hidden.mean() - areas.mean()) < 5 * areas.std() / 100
    assert abs((hidden == 256).double().mean() - (areas == 256).mean()) < 5 * 0.5 / 100


def test_hidden_pixels_are_exactly_the_mean_and_no_other_pixel_changes(images: torch.Tensor) -> None:
    draws = draws_of(FULL, len(images))
    mask = cutout_mask(draws, FULL)[:, None]
    for dtype in (torch.float32, torch.bfloat16):
        result = apply(images, draws, FULL, dtype)
        assert (result[mask] == 0).all()
        plain = apply(images, draws, FULL.model_copy(update={"cutout_size": 0}), dtype)
        assert torch.equal(result[~mask], plain[~mask]) and not (plain[mask] == 0).all()


def test_cutout_leaves_crops_and_flips_as_they_were() -> None:
    without, with_cutout = (draws_of(AugmentConfig(cutout_size=size), 256) for size in (0, 16))
    for field in ("top", "left", "flip"):
        assert torch.equal(getattr(without, field), getattr(with_cutout, field))


def test_an_image_is_treated_alike_wherever_it_stands(images: torch.Tensor) -> None:
    draws = draws_of(FULL, len(images))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(3))
    moved = apply(images[order], AugmentDraws(*(values[order] for values in draws)), FULL)
    assert torch.equal(moved, apply(images, draws, FULL)[order])
    alone = [apply(images[i : i + 1], AugmentDraws(*(values[i : i + 1] for values in draws)), FULL) for i in range(9)]
    assert torch.equal(torch.cat(alone), apply(images, draws, FULL)[:9])


def test_the_place_in_the_batch_does_not_matter_to_the_draws() -> None:
    generator = torch.Generator().manual_seed(5)
    rounds = [draw(8, FULL, generator, "cpu") for _ in range(4000)]
    top, flip = torch.stack([draws.top for draws in rounds]), torch.stack([draws.flip for draws in rounds])
    for place in range(8):
        assert_uniform(top[:, place], 9)
        assert_uniform(flip[:, place].long(), 2)


def test_the_generator_alone_decides(images: torch.Tensor) -> None:
    generator = torch.Generator()
    results = []
    for seed in (11, 11, 12):
        torch.rand(3)  # the global generator has no say
        results.append(augment(images, FULL, generator.manual_seed(seed)))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    generator.manual_seed(11)
    draws = [draw(len(images), FULL, generator, "cpu") for _ in range(2)]
    assert torch.equal(apply(images, draws[0], FULL), results[0])
    assert not torch.equal(draws[0].top, draws[1].top)  # the next batch goes on from there


def test_the_batch_given_stays_as_it_was(images: torch.Tensor) -> None:
    before = images.clone()
    augment(images, FULL, torch.Generator().manual_seed(1))
    augment(images, AugmentConfig(crop_padding=0, flip=False, cutout_size=8), torch.Generator().manual_seed(1))
    assert torch.equal(images, before)


def test_other_image_sizes() -> None:
    images = torch.randint(0, 256, (50, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    config = AugmentConfig(crop_padding=2, cutout_size=8, cutout_inside=True)
    draws = draw(50, config, torch.Generator().manual_seed(1), "cpu", size=20)
    result = apply(images, draws, config)
    assert result.shape == (50, 1, 20, 20)
    assert ((result == 0).sum((1, 2, 3)) >= 64).all()
    index = 7
    expected = torchvision_crop_and_flip(
        images[index], int(draws.top[index]), int(draws.left[index]), bool(draws.flip[index]), 2
    )
    assert torch.equal(crop_and_flip(images, draws, config)[index], expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_format_changes_no_value(images: torch.Tensor, memory_format: torch.memory_format) -> None:
    draws = draws_of(FULL, len(images))
    for dtype in (torch.float32, torch.bfloat16):
        result = apply(images, draws, FULL, dtype, memory_format)
        assert result.dtype == dtype and result.is_contiguous(memory_format=memory_format)
        assert result.stride(1) == (1 if memory_format == torch.channels_last else 784)  # where convolutions look
        assert torch.equal(result, apply(images, draws, FULL).to(dtype))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_value_is_read_on_the_host_and_no_shape_depends_on_one(device: str) -> None:
    """Fake tensors have no values: .item(), a boolean index or a tensor on the wrong device would raise."""
    with FakeTensorMode():
        batch = torch.empty((16, 28, 28), dtype=torch.uint8, device=device)
        index = torch.empty(16, dtype=torch.int64, device=device)
        flag = torch.empty(16, dtype=torch.bool, device=device)
        result = apply(batch, AugmentDraws(index, index, flag, flag, index, index), FULL, torch.bfloat16)
        assert result.shape == (16, 1, 28, 28) and result.device.type == device


@pytest.mark.gpu
def test_a_gpu_augments_alike_and_never_waits(images: torch.Tensor) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    draws = draws_of(FULL, len(images))
    on_gpu = AugmentDraws(*(values.cuda() for values in draws))
    result = apply(images.cuda(), on_gpu, FULL)
    torch.testing.assert_close(result.cpu(), apply(images, draws, FULL), rtol=0, atol=1e-6)
    batch, generator = images.cuda(), torch.Generator("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for seed in range(3):
            augment(batch, FULL, generator.manual_seed(seed))
    finally:
        torch.cuda.set_sync_debug_mode("default")
