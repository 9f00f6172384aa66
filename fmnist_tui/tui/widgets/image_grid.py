"""Pictures in half-block cells, side by side: the augmentation preview's and the Mistakes screen's."""

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

from fmnist_tui.config import IMAGE_SIZE

GAP = 1
"""Columns between two images."""
RAMP = " .:-=+*#%@"
"""Dark to bright, for a terminal without half blocks or without shades of grey."""

Image = NDArray[np.uint8]
"""(28, 28) uint8."""


@dataclass(frozen=True)
class Tile:
    """An image and the lines below it."""

    image: Image
    caption: str
    """One line, or several parted by newlines; of several the first is drawn as a title."""


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

    COMPONENT_CLASSES: ClassVar[set[str]] = {"image-grid--caption", "image-grid--title"}
    DEFAULT_CSS = """
    ImageGrid { width: 1fr; height: auto; }
    ImageGrid > .image-grid--caption { color: $foreground-muted; }
    ImageGrid > .image-grid--title { color: $foreground; text-style: bold; }
    """

    def __init__(self, *, ascii_only: bool = False, caption_lines: int = 1, id: str | None = None) -> None:
        super().__init__(id=id)
        self.ascii_only = ascii_only
        self.caption_lines = caption_lines
        self.tiles: Sequence[Tile] = ()
        """What is drawn; see `show`."""
        self._cells: list[list[list[Segment]]] = []

    @property
    def rows_each(self) -> int:
        """Lines a row of images takes: the image and its caption."""
        return IMAGE_SIZE // 2 + self.caption_lines

    @staticmethod
    def columns(width: int) -> int:
        """How many images fit side by side in this many columns."""
        return max(1, (width + GAP) // (IMAGE_SIZE + GAP))

    def show(self, tiles: Sequence[Tile]) -> None:
        """Draw these images instead; a row that is not full stays so."""
        layout = len(tiles) != len(self.tiles)
        self.tiles = tiles
        self._cells = [image_cells(tile.image, self.ascii_only) for tile in tiles]
        self.refresh(layout=layout)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Whole rows of images."""
        return self.rows_each * -(-len(self.tiles) // self.columns(width))

    def render_line(self, y: int) -> Strip:
        """A line of pixels, or of captions."""
        columns = self.columns(self.size.width)
        row, line = divmod(y, self.rows_each)
        first = row * columns
        said = line - IMAGE_SIZE // 2
        segments: list[Segment] = []
        background = self.rich_style
        kind = "title" if said == 0 and self.caption_lines > 1 else "caption"
        caption_style = self.get_visual_style(f"image-grid--{kind}").rich_style
        for index in range(first, min(first + columns, len(self.tiles))):
            if index > first:
                segments.append(Segment(" " * GAP, background))
            if said < 0:
                segments += Segment.apply_style(self._cells[index][line], background)
            else:
                lines = self.tiles[index].caption.split("\n")
                text = lines[said] if said < len(lines) else ""
                segments.append(Segment(_fit(text, self.ascii_only), caption_style))
        return Strip(segments).adjust_cell_length(self.size.width, background)


def _fit(caption: str, ascii_only: bool) -> str:
    """A caption as wide as an image."""
    if cell_len(caption) > IMAGE_SIZE:
        mark = "..." if ascii_only else "…"
        caption = set_cell_size(caption, IMAGE_SIZE - len(mark)) + mark
    return caption.center(IMAGE_SIZE)
