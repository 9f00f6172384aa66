"""Around the matrix of the Mistakes screen: what fits where, the worst pairs to click on, and pages of images."""

from __future__ import annotations

from typing import NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from fmnist_tui.analysis.predictions import TestSet
from fmnist_tui.tui import format as words
from fmnist_tui.tui import mistakes_words as say
from fmnist_tui.tui.mistakes_lists import Listing
from fmnist_tui.tui.widgets.image_grid import IMAGE_SIZE, ImageGrid, Tile
from fmnist_tui.tui.widgets.matrix import HEIGHT, needed

CAPTION = 4
"""Lines below an image."""
IMAGE_LINES = IMAGE_SIZE // 2 + CAPTION
SIDE = 40
"""Least columns of the panel beside the matrix."""
LOW_PANEL = 8
"""Lines of the panel where it is below the matrix."""
CELL_LINES = 7
"""Lines of what is said of the cell under the cursor."""
AROUND = 4
"""Lines of the bar, the title and the keys."""
MOST_SPARE = 6


class Room(NamedTuple):
    """What fits on a screen of this size."""

    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether the panel fits beside the matrix."""
        return self.width >= needed() + SIDE + 2

    @property
    def _upper(self) -> int:
        return HEIGHT if self.wide else HEIGHT + LOW_PANEL

    @property
    def both(self) -> bool:
        """Whether matrix and images are on screen together."""
        return self.height >= AROUND + self._upper + 1 + IMAGE_LINES

    @property
    def panel_lines(self) -> int:
        """Lines of the panel; beside the matrix it takes what whole rows of images leave over."""
        if not self.wide:
            return LOW_PANEL
        left = self.height - AROUND - HEIGHT - 1
        return HEIGHT + max(0, min(MOST_SPARE, left % IMAGE_LINES if self.both else left))

    @property
    def pair_lines(self) -> int:
        """Lines of the worst pairs with their heading."""
        return self.panel_lines - CELL_LINES - self.gap if self.wide else LOW_PANEL - 1

    @property
    def panel_width(self) -> int:
        """Columns of the panel, between the margins of the screen."""
        return max(SIDE, self.width * 3 // 10) if self.wide else self.width - 2

    @property
    def cell_width(self) -> int:
        """Columns of what is said of the cell: beside the matrix but for the gap before it, else half of the panel."""
        return self.panel_width - 2 if self.wide else self.panel_width // 2

    @property
    def gap(self) -> int:
        """Lines between the pairs and what is said of the cell, where they stand one below the other."""
        return int(self.wide and self.panel_lines > HEIGHT + 1)

    @property
    def image_rows(self) -> int:
        """Rows of images, one at least."""
        upper = (self.panel_lines if self.wide else HEIGHT + LOW_PANEL) if self.both else 0
        return max(1, (self.height - AROUND - 1 - upper) // IMAGE_LINES)


class PairList(Static):
    """The worst pairs, a line each under a heading; a click on one says which."""

    class Chosen(Message):
        """The pair in this place was clicked, 0 for the worst."""

        def __init__(self, place: int) -> None:
            self.place = place
            super().__init__()

    def on_click(self, event: events.Click) -> None:
        """A line below the heading."""
        if event.y > 0:
            self.post_message(self.Chosen(event.y - 1))


class ImagePane(Vertical):
    """A list of images, a page at a time, under a line that says what they are, or why there are none."""

    DEFAULT_CSS = """
    ImagePane { height: auto; }
    ImagePane ImageGrid { padding: 0 1; }
    """

    def __init__(self, glyphs: words.Glyphs, ascii_only: bool) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._ascii_only = ascii_only
        self.first = 0
        """Place in the list of the first image on screen."""
        self._per_page = 1

    def compose(self) -> ComposeResult:
        """The line and the images."""
        yield Static(classes="screen-title", markup=False)
        yield ImageGrid(ascii_only=self._ascii_only, caption_lines=CAPTION)

    def page(self, by: int) -> None:
        """Go on or back by pages; drawn with the next `show`."""
        self.first = max(0, self.first + by * self._per_page)

    def show(self, listing: Listing, test: TestSet | None, room: Room) -> None:
        """Draw a page of the list, as many images as there is room for."""
        title, grid = self.query_one(Static), self.query_one(ImageGrid)
        width = room.width - 2
        self._per_page = grid.columns(width) * room.image_rows
        count = len(listing.indices)
        self.first = min(self.first, max(0, count - 1) // self._per_page * self._per_page)
        title.set_class(not count, "-why")
        if not count or test is None:
            title.update(Content.styled(listing.nothing, "$foreground-muted"))
            grid.show([])
            return
        last = min(self.first + self._per_page, count)
        shown = f"{last:,}" if last == self.first + 1 else f"{self.first + 1:,}-{last:,}"
        place = f": {shown} of {count:,}"
        said = words.shorten(listing.title, width - len(place), self._glyphs.ellipsis)
        title.update(Content.assemble((said, "bold $foreground"), (place, "")))
        grid.show(
            [
                Tile(test.images[int(listing.indices[at])], say.caption(listing, test, at))
                for at in range(self.first, last)
            ]
        )
