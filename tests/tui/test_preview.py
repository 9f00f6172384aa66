"""The augmentation preview against arithmetic by hand, against the trainer's own tensors, and the cells drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.segment import Segment
from textual.app import App, ComposeResult

from fmnist_tui.config import AugmentConfig
from fmnist_tui.data.source import load_sample
from fmnist_tui.tui.widgets.image_grid import ImageGrid, Tile, image_cells
from fmnist_tui.tui.widgets.preview import MEAN_PIXEL, Draw, augment, draw, in_words, mix

NOTHING = Draw(top=4, left=4, flip=False, cutout=False, cutout_row=0, cutout_column=0)
"""With a padding of 4: the image where it was."""


@pytest.fixture
def image() -> np.ndarray:
    """Every pixel different from its neighbours, none black and none the mean."""
    rows, columns = np.mgrid[0:28, 0:28]
    return (100 + 3 * rows + 2 * columns).astype(np.uint8)


def test_the_crop_shifts_by_what_was_drawn_and_pads_with_black(image: np.ndarray) -> None:
    config = AugmentConfig(crop_padding=4, flip=False)
    assert np.array_equal(augment(image, NOTHING, config), image)
    moved = augment(image, Draw(1, 6, False, False, 0, 0), config)  # three down, two to the left
    assert np.array_equal(moved[3:, :26], image[:25, 2:])
    assert not moved[:3].any()
    assert not moved[:, 26:].any()


def test_the_flip_comes_after_the_crop(image: np.ndarray) -> None:
    config = AugmentConfig(crop_padding=4, flip=True)
    flipped = augment(image, Draw(4, 6, True, False, 0, 0), config)
    assert np.array_equal(flipped[:, 2:], image[:, 2:][:, ::-1])
    assert not flipped[:, :2].any()
    off = config.model_copy(update={"flip": False})
    assert np.array_equal(augment(image, Draw(4, 4, True, False, 0, 0), off), image), "a flip switched off"


def test_cutmix_puts_a_rectangle_of_the_other_image_in_its_place(image: np.ndarray) -> None:
    """As often and as large as the trainer's, of which test_cutmix.py has the arithmetic."""
    other = np.full_like(image, 7)
    never, always, often = (AugmentConfig(cutmix_probability=share) for share in (0.0, 1.0, 0.3))
    shares, mixed = list[float](), 0
    for seed in range(2000):
        untouched, none = mix(image, other, never, np.random.default_rng(seed))
        assert untouched is image and none == 0
        result, share = mix(image, other, always, np.random.default_rng(seed))
        theirs = result == 7
        assert np.array_equal(theirs, theirs.any(1)[:, None] & theirs.any(0)) and theirs.mean() == share
        assert np.array_equal(result[~theirs], image[~theirs])
        shares.append(share)
        mixed += mix(image, other, often, np.random.default_rng(seed))[1] > 0
    sides = np.sqrt(np.linspace(0, 1, 100_001))
    assert np.mean(shares) == pytest.approx(((sides - sides**2 / 4) ** 2).mean(), abs=0.02)
    assert 520 < mixed < 680


@pytest.mark.parametrize(
    ("row", "column", "rows", "columns"),
    [(14, 14, (6, 22), (6, 22)), (0, 27, (0, 8), (19, 28)), (27, 3, (19, 28), (0, 11))],
)
def test_cutout_covers_its_square_and_nothing_else(
    image: np.ndarray, row: int, column: int, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    config = AugmentConfig(crop_padding=0, flip=False, cutout_size=16)
    result = augment(image, Draw(0, 0, False, True, row, column), config)
    covered = np.zeros((28, 28), bool)
    covered[slice(*rows), slice(*columns)] = True
    assert (result[covered] == MEAN_PIXEL).all()
    assert np.array_equal(result[~covered], image[~covered])
    assert np.array_equal(augment(image, Draw(0, 0, False, False, row, column), config), image), "none was drawn"


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("size", [0, 1, 7, 16, 28])
def test_the_same_draws_give_what_the_trainer_sees(size: int, inside: bool) -> None:
    import torch

    from fmnist_tui.data import augment as trainer

    images = load_sample().train_images[:64].copy()
    config = AugmentConfig(crop_padding=3, flip=True, cutout_size=size, cutout_probability=0.7, cutout_inside=inside)
    draws = trainer.draw(len(images), config, torch.Generator().manual_seed(size), "cpu")
    pixels = trainer.crop_and_flip(torch.from_numpy(images), draws, config).numpy().copy()
    if size:
        pixels[trainer.cutout_keep(draws, config).numpy() == 0] = MEAN_PIXEL
    for index, image in enumerate(images):
        drawn: list[Any] = [part[index].item() for part in draws]
        ours = augment(image, Draw(*drawn), config)
        assert np.array_equal(ours, pixels[index])


def test_draws_fill_their_ranges() -> None:
    rng = np.random.default_rng(0)
    config = AugmentConfig(crop_padding=2, cutout_size=5, cutout_probability=0.25, cutout_inside=True)
    drawn = [draw(config, rng) for _ in range(2000)]
    assert {d.top for d in drawn} == {d.left for d in drawn} == set(range(5))
    assert {d.cutout_row for d in drawn} == {d.cutout_column for d in drawn} == set(range(2, 26))
    assert 0.45 < np.mean([d.flip for d in drawn]) < 0.55
    assert 0.2 < np.mean([d.cutout for d in drawn]) < 0.3
    anywhere = config.model_copy(update={"cutout_inside": False})
    assert {draw(anywhere, rng).cutout_row for _ in range(2000)} == set(range(28))


def test_what_was_done_in_words() -> None:
    config = AugmentConfig(crop_padding=14, flip=True, cutout_size=4)
    assert in_words(Draw(14, 14, False, False, 0, 0), config) == "unchanged"
    assert in_words(Draw(0, 28, True, True, 0, 0), config) == "left 14 down 14 flip Cutout"
    assert max(len(in_words(Draw(t, left, True, True, 0, 0), config)) for t in (0, 28) for left in (0, 28)) <= 28


def test_a_cell_is_two_pixels_one_above_the_other(image: np.ndarray) -> None:
    cells = image_cells(image)
    assert [len(row) for row in cells] == [28] * 14
    for row, column in ((0, 0), (5, 9), (13, 27)):
        segment = cells[row][column]
        assert segment.text == "▀"
        assert segment.style is not None
        assert segment.style.color is not None
        assert segment.style.bgcolor is not None
        assert segment.style.color.triplet == (image[2 * row, column],) * 3
        assert segment.style.bgcolor.triplet == (image[2 * row + 1, column],) * 3


def test_ascii_goes_from_blank_to_dense() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[:, 14:] = 255
    assert image_cells(image, ascii_only=True)[3] == [Segment(" " * 14 + "@" * 14)]


class Host(App[None]):
    def compose(self) -> ComposeResult:
        yield ImageGrid(id="grid")


async def test_images_stand_side_by_side_as_many_as_fit(image: np.ndarray) -> None:
    app = Host()
    async with app.run_test(size=(60, 40)) as pilot:
        grid = app.query_one(ImageGrid)
        grid.show([Tile(image, "one"), Tile(image, "two [bold]"), Tile(image, "three")])
        await pilot.pause()
        assert grid.size.height == 30
        lines = [grid.render_line(y).text for y in range(30)]
        assert lines[0].rstrip() == "▀" * 28 + " " + "▀" * 28
        assert lines[14].split() == ["one", "two", "[bold]"]
        assert lines[15].rstrip() == "▀" * 28
        await pilot.resize_terminal(40, 60)
        await pilot.pause()
        assert grid.size.height == 45
