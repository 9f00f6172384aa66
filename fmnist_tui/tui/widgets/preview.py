"""Pictures in half-block cells, and the augmentation preview: real images as the network would see them.

The app may not import torch, so the augmentation is written here once more in NumPy, with the meaning of
`data/augment.py`: pad with black and crop, flip, fill Cutout's square with the mean. The New run screen
shows the preview; `ImageRow` draws any images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from fmnist_tui.config import IMAGE_SIZE, AugmentConfig

MEAN_PIXEL = round(0.2860 * 255)
"""What Cutout's square looks like: the mean of the training images (REFERENCE.md)."""
GAP = 1
"""Columns between two images."""
RAMP = " .:-=+*#%@"
"""Dark to bright, for a terminal without half blocks."""

Image = NDArray[np.uint8]
"""(28, 28) uint8."""


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


@dataclass(frozen=True)
class Tile:
    """An image and the line below it."""

    image: Image
    caption: str


@lru_cache(maxsize=1 << 16)
def _half_block(top: int, bottom: int) -> Segment:
    return Segment("▀", Style(color=Color.from_rgb(top, top, top), bgcolor=Color.from_rgb(bottom, bottom, bottom)))


def image_cells(image: Image, ascii_only: bool = False) -> list[list[Segment]]:
    """An (H, W) image as H/2 rows of W cells, two pixels a cell: half blocks, or characters by brightness."""
    pairs = image.reshape(image.shape[0] // 2, 2, image.shape[1])
    if ascii_only:
        shades = (pairs.mean(axis=1) * (len(RAMP) - 1) / 255).round().astype(int)
        return [[Segment("".join(RAMP[shade] for shade in row))] for row in shades]
    return [[_half_block(int(a), int(b)) for a, b in zip(top, bottom, strict=True)] for top, bottom in pairs]


class ImageGrid(Widget):
    """Images side by side with a caption below each, as many in a row as there is room for."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"image-grid--caption"}
    DEFAULT_CSS = """
    ImageGrid { width: 1fr; height: auto; }
    ImageGrid > .image-grid--caption { color: $foreground-muted; }
    """
    ROWS = IMAGE_SIZE // 2 + 1
    """Lines a row of images takes: the image and its caption."""

    def __init__(self, *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.ascii_only = ascii_only
        self._tiles: Sequence[Tile] = ()
        self._cells: list[list[list[Segment]]] = []

    @staticmethod
    def columns(width: int) -> int:
        """How many images fit side by side in this many columns."""
        return max(1, (width + GAP) // (IMAGE_SIZE + GAP))

    def show(self, tiles: Sequence[Tile]) -> None:
        """Draw these images instead; a row that is not full stays so."""
        layout = len(tiles) != len(self._tiles)
        self._tiles = tiles
        self._cells = [image_cells(tile.image, self.ascii_only) for tile in tiles]
        self.refresh(layout=layout)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Whole rows of images."""
        return self.ROWS * -(-len(self._tiles) // self.columns(width))

    def render_line(self, y: int) -> Strip:
        """A line of pixels, or of captions."""
        columns = self.columns(self.size.width)
        row, line = divmod(y, self.ROWS)
        first = row * columns
        segments: list[Segment] = []
        background = self.rich_style
        caption_style = self.get_visual_style("image-grid--caption").rich_style
        for index in range(first, min(first + columns, len(self._tiles))):
            if index > first:
                segments.append(Segment(" " * GAP, background))
            if line < self.ROWS - 1:
                segments += Segment.apply_style(self._cells[index][line], background)
            else:
                segments.append(Segment(_fit(self._tiles[index].caption, self.ascii_only), caption_style))
        return Strip(segments).adjust_cell_length(self.size.width, background)


def _fit(caption: str, ascii_only: bool) -> str:
    """A caption as wide as an image."""
    if cell_len(caption) > IMAGE_SIZE:
        mark = "..." if ascii_only else "…"
        caption = set_cell_size(caption, IMAGE_SIZE - len(mark)) + mark
    return caption.center(IMAGE_SIZE)
