"""Curves to characters: draws columns of heights into a grid of dots and the dots into braille or ASCII cells.

Used by `chart`. Pure NumPy. A cell that two curves cross shows the dots of both (in the colour of the upper one),
so a spike is never hidden by another curve passing through its cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.analysis.series import Floats

Bools = NDArray[np.bool_]
BRAILLE_DOTS = (2, 4)
"""Dots of a braille cell: across, down."""
ASCII_DOTS = (1, 1)
_BRAILLE = 0x2800
BLANK = 32
"""Code point of an empty cell."""
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint32)


class Pattern(Enum):
    """How a curve is drawn, so that curves differ also without colour."""

    THIN = "thin"
    THICK = "thick"
    DOTTED = "dotted"
    DASHED = "dashed"
    BAND = "band"
    """Every other dot between low and high, a grey; gives way to lines."""


LEGEND = {
    Pattern.THIN: "⠒⠒",
    Pattern.THICK: "⠶⠶",
    Pattern.DOTTED: "⠐⠐",
    Pattern.DASHED: "⠒ ⠒",
    Pattern.BAND: "⢕⢕",
}
"""What a pattern looks like in a legend."""


@dataclass
class Layer:
    """One curve in dot rows: heights (0 is the lower edge, 1 the upper) at each dot column, NaN where it is not."""

    low: Floats
    high: Floats
    style: int
    pattern: Pattern = Pattern.THIN
    glyph: str = "*"
    """Its character in ASCII."""


@dataclass
class Cells:
    """A grid of characters, `(height, width) uint32` code points, and of style numbers, `(height, width) int16`."""

    width: int
    height: int
    chars: NDArray[np.uint32] = field(init=False)
    styles: NDArray[np.int16] = field(init=False)
    reserved: Bools = field(init=False)
    """Cells of labels: also their blanks are not to be filled."""

    def __post_init__(self) -> None:
        self.chars = np.full((self.height, self.width), BLANK, np.uint32)
        self.styles = np.zeros((self.height, self.width), np.int16)
        self.reserved = np.zeros((self.height, self.width), bool)

    def put(self, row: int, column: int, text: str, style: int, over: bool = True) -> None:
        """Write text, cut off at the edges; `over` False leaves what is there alone."""
        if not 0 <= row < self.height or column >= self.width:
            return
        text = text[max(0, -column) : self.width - column]
        column = max(0, column)
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        chars = self.chars[row, column : column + codes.size]
        reserved = self.reserved[row, column : column + codes.size]
        where = np.ones(codes.size, bool) if over else (chars == BLANK) & ~reserved
        chars[where] = codes[where]
        self.styles[row, column : column + codes.size][where] = style

    def label(self, row: int, column: int, text: str, style: int) -> None:
        """Write text whose blanks nothing written later without `over` fills."""
        self.put(row, column, text, style)
        self.reserved[row, column : column + len(text)] = True

    def is_free(self, row: int, column: int, width: int) -> bool:
        """Whether these cells are inside and blank."""
        inside = 0 <= row < self.height and column >= 0 and column + width <= self.width
        return inside and bool((self.chars[row, column : column + width] == BLANK).all())

    def row_text(self, row: int) -> str:
        """The characters of a row."""
        return self.chars[row].astype("<u4").tobytes().decode("utf-32-le")


def draw(layers: Sequence[Layer], cells: Cells, dots: tuple[int, int]) -> None:
    """Draw the layers into the cells, the last on top; `dots` is BRAILLE_DOTS or ASCII_DOTS.

    Each layer has `cells.width * dots[0]` columns.
    """
    across, down = dots
    lines = np.zeros((cells.height, cells.width), np.uint32)
    bands = np.zeros_like(lines)
    for layer in layers:
        mask = dot_mask(layer, cells.height * down, across)
        grid = mask.reshape(cells.height, down, cells.width, across)
        if dots == BRAILLE_DOTS:
            codes = np.einsum("hdwa,da->hw", grid, _BITS).astype(np.uint32)
        else:
            codes = np.where(grid[:, 0, :, 0], np.uint32(ord(layer.glyph)), np.uint32(0))
        hit = codes > 0
        if layer.pattern is Pattern.BAND:
            cells.styles[hit & (lines == 0)] = layer.style
            bands = codes if dots == ASCII_DOTS else bands | codes
        else:
            cells.styles[hit] = layer.style
            lines = np.where(hit, codes, lines) if dots == ASCII_DOTS else lines | codes
    shown = np.where(lines > 0, lines, bands)
    if dots == BRAILLE_DOTS:
        shown = np.where(shown > 0, shown + _BRAILLE, 0)
    cells.chars[shown > 0] = shown[shown > 0]


def dot_mask(layer: Layer, rows: int, across: int) -> Bools:
    """The dots of a layer, `(rows, columns) bool`, row 0 on top; parts outside the chart are cut off."""
    present = np.isfinite(layer.low) & np.isfinite(layer.high)
    top = np.where(present, dot_row(np.where(present, layer.high, 0.0), rows), 0)
    bottom = np.where(present, dot_row(np.where(present, layer.low, 0.0), rows), 0)
    if layer.pattern is not Pattern.BAND:
        top, bottom = _joined(top, bottom, present)
    if layer.pattern is Pattern.THICK and across > 1:
        top = np.where(top == bottom, np.where(top > 0, top - 1, top), top)
    row = np.arange(rows)[:, None]
    mask: Bools = (row >= top) & (row <= bottom) & present
    column = np.arange(layer.low.size)
    if layer.pattern is Pattern.BAND and across > 1:
        mask &= (column + row) % 2 == 0
    elif layer.pattern is Pattern.DOTTED:
        mask &= column % (3 if across > 1 else 2) == 0
    elif layer.pattern is Pattern.DASHED:
        mask &= column % (6 if across > 1 else 3) < (4 if across > 1 else 2)
    return mask


def dot_row(heights: Floats, rows: int) -> NDArray[np.int64]:
    """Dot row of each height: 0 (lower edge) is the last row, 1 (upper edge) row 0; outside it goes on."""
    return np.round((1.0 - np.clip(heights, -9.0, 9.0)) * (rows - 1)).astype(np.int64)


def _joined(
    top: NDArray[np.int64], bottom: NDArray[np.int64], present: Bools
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stretch each column halfway to its neighbours', so that a steep curve has no gaps."""
    both = present[:-1] & present[1:]
    new_top, new_bottom = top.copy(), bottom.copy()
    falls = both & (bottom[:-1] + 1 < top[1:])
    middle = (bottom[:-1] + top[1:]) // 2
    new_bottom[:-1] = np.where(falls, np.maximum(new_bottom[:-1], middle), new_bottom[:-1])
    new_top[1:] = np.where(falls, np.minimum(new_top[1:], middle + 1), new_top[1:])
    rises = both & (bottom[1:] + 1 < top[:-1])
    middle = (bottom[1:] + top[:-1]) // 2
    new_top[:-1] = np.where(rises, np.minimum(new_top[:-1], middle + 1), new_top[:-1])
    new_bottom[1:] = np.where(rises, np.maximum(new_bottom[1:], middle), new_bottom[1:])
    return new_top, new_bottom
