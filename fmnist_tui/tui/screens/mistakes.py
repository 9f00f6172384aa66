"""The Mistakes screen: which classes a run takes for which, by epoch, and the images themselves, live and after.

Opened by the app with a run's id. What it shows is read by its base, `MistakesReading`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from fmnist_tui.analysis.confusion import class_scores, worst_pairs
from fmnist_tui.tui import format as words
from fmnist_tui.tui import mistakes_words as say
from fmnist_tui.tui.mistakes_data import Reading
from fmnist_tui.tui.mistakes_lists import (
    Kind,
    Listing,
    Shared,
    flip_kinds,
    flipped,
    kinds,
    no_images,
    of_epoch,
)
from fmnist_tui.tui.screens.mistakes_reading import MistakesReading
from fmnist_tui.tui.terminal import shows_greys
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.header import TopBar
from fmnist_tui.tui.widgets.matrix import MatrixView
from fmnist_tui.tui.widgets.mistake_panels import ImagePane, PairList, Room

OF_AN_EVALUATION = frozenset(
    {"images", "matrix", "list", "step", "show_epoch", "worst", "flips", "next_list", "page", "unit", "move"}
)
"""Actions that do nothing before there is an evaluation."""


class MistakesScreen(MistakesReading):
    """See the module."""

    AUTO_FOCUS = ""
    HELP = (
        "What a run gets wrong on its test images. A row of the matrix is a true class, a column what was predicted; "
        "cells are shares of the true class, '·' is no image at all. Scores are percentages: precision, of what was "
        "called so, recall, of what is so, and F1. Matrices are kept of every evaluation, images of the last and the "
        "best one. No test-time averaging is in any of this."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "images", "Images", tooltip="the images of the cell under the cursor"),
        Binding("enter", "matrix", "Matrix", tooltip="the matrix again"),
        Binding("enter", "list('cell')", "Cell", tooltip="the images of the cell under the cursor"),
        Binding("left_square_bracket,comma", "step(-1)", "Earlier", key_display="[", tooltip="the evaluation before"),
        Binding("right_square_bracket,full_stop", "step(1)", "Later", key_display="]", tooltip="the next evaluation"),
        Binding("b", "show_epoch('best')", "Best", tooltip="the best evaluation"),
        Binding("f,end", "show_epoch('last')", "Follow", tooltip="the last evaluation, also when another one comes"),
        Binding("w", "worst(1)", "Worst", tooltip="the next of the worst pairs"),
        Binding("u", "flips", "Flips", tooltip="images learned or forgotten since the evaluation before, or the best"),
        Binding("a", "list('always')", "All runs", tooltip="images that every finished run gets wrong"),
        Binding("m", "list('mistakes')", "Mistakes", show=False, tooltip="all mistakes, most confident first"),
        Binding("v", "next_list", "View", show=False, tooltip="the next list of images"),
        Binding("pagedown,space", "page(1)", "More", show=False, tooltip="more images of the list"),
        Binding("pageup", "page(-1)", "Back", show=False, tooltip="the images before"),
        Binding("y", "unit", "Scale", show=False, tooltip="cells as shares or as numbers of images"),
        Binding("W", "worst(-1)", "Worse", show=False, tooltip="the pair before"),
        Binding("up", "move(-1, 0)", "Up", show=False, tooltip="the class above"),
        Binding("down", "move(1, 0)", "Down", show=False, tooltip="the class below"),
        Binding("left", "move(0, -1)", "Left", show=False, tooltip="the prediction to the left, or images before"),
        Binding("right", "move(0, 1)", "Right", show=False, tooltip="the prediction to the right, or more images"),
        Binding("escape", "back", "Back", show=False, tooltip="the matrix again, then leave"),
    ]

    def __init__(self, run_id: str, data_dir: Path | None, glyphs: words.Glyphs) -> None:
        super().__init__(run_id, data_dir)
        self.epoch: int | Literal["last", "best"] = "last"
        """Which evaluation is shown; 'last' goes along with the run."""
        self.kind: Kind = "cell"
        self.images_only = False
        """Whether the images stand in the matrix's place, where both do not fit."""
        self._glyphs = glyphs
        self._cursor_set = False

    def compose(self) -> ComposeResult:
        """Bar, title, matrix with what it says in words, images, keys."""
        yield TopBar("runs")
        yield Static(id="mistakes-title", markup=False)
        with Container(id="mistakes-upper"):
            yield MatrixView(self._glyphs)
            with Container(id="mistakes-words"):
                yield PairList(id="pairs", markup=False)
                yield Static(id="cell", markup=False)
        yield ImagePane(self._glyphs, self._glyphs is words.ASCII or not shows_greys(self.app))
        yield KeyBar()

    def on_mount(self) -> None:
        """Arrange what there is."""
        self._lay_out()

    def on_resize(self) -> None:
        """What fits beside what may change."""
        self._lay_out()

    def reading_came(self) -> None:
        """The first evaluation puts the cursor on its worst pair."""
        if self.reading is not None and self.at is not None and not self._cursor_set:
            self._cursor_set = True
            matrix_view = self.query_one(MatrixView)
            matrix_view.true, matrix_view.predicted = say.first_cell(self.reading.matrices[self.at])

    @property
    def wants_shared(self) -> bool:
        """Whether what every run gets wrong is the list shown."""
        return self.kind == "always"

    # --- which evaluation, which images

    @property
    def at(self) -> int | None:
        """The place of the evaluation shown among those known."""
        if self.reading is None or not self.reading.epochs:
            return None
        epochs = self.reading.epochs
        wanted = self.reading.best_epoch if self.epoch == "best" else self.epoch
        return epochs.index(wanted) if isinstance(wanted, int) and wanted in epochs else len(epochs) - 1

    @property
    def cursor(self) -> tuple[int, int]:
        """The cell under the cursor, (true, predicted)."""
        matrix_view = self.query_one(MatrixView)
        return matrix_view.true, matrix_view.predicted

    def listing(self) -> Listing:
        """The images of the present list."""
        reading, at, run = self.reading, self.at, self.run
        if reading is None or at is None or run is None or reading.test is None:
            return no_images(reading.problem if reading else "")
        if self.kind == "always":
            return (self.shared or Shared(())).listing(run)
        if self.kind in ("cell", "mistakes"):
            return of_epoch(reading, reading.epochs[at], self.cursor if self.kind == "cell" else None)
        return flipped(reading, self.kind)

    # --- drawing

    @property
    def _room(self) -> Room:
        return Room(*self.size)

    def _lay_out(self) -> None:
        if not self.is_mounted or not self.size.width:
            return
        room = self._room
        self.set_class(room.wide, "-wide")
        beside = self.query_one("#mistakes-words").styles
        beside.width = room.panel_width
        beside.height = room.panel_lines
        self.query_one("#cell").styles.margin = (room.gap, 0, 0, 0)
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Show what is known now, unless nobody would see it."""
        if not self.is_mounted or not self.size.width or not self.is_seen:
            return
        room, at, pane = self._room, self.at, self.query_one(ImagePane)
        upper = self.query_one("#mistakes-upper")
        upper.display = at is not None and (room.both or not self.images_only)
        pane.display = at is not None and (room.both or self.images_only)
        title = self.query_one("#mistakes-title", Static)
        title.set_class(at is None, "-why")
        title.update(say.title(self.run_id, self.run, self.gone, self.reading, at, room.width - 2, self._glyphs))
        if self.reading is not None and at is not None:
            if upper.display:
                self._draw_matrix(self.reading, at)
            if pane.display:
                pane.show(self.listing(), self.reading.test, room)
        self.refresh_bindings()

    def _draw_matrix(self, reading: Reading, at: int) -> None:
        matrix_view = self.query_one(MatrixView)
        matrix_view.show(reading.matrices[at], class_scores(np.stack(reading.matrices[: at + 1])).f1)
        rows = self._room.pair_lines
        self.query_one("#pairs", Static).update(say.pair_lines(reading.matrices[at], rows, self.cursor))
        said = say.cell_lines(reading, at, self.cursor, self._room.cell_width, self._glyphs)
        self.query_one("#cell", Static).update(said)

    # --- keys and mouse

    @on(MatrixView.CellMoved)
    def _cell_moved(self) -> None:
        self.query_one(ImagePane).first = 0
        self.kind = "cell"
        self.draw()

    @on(MatrixView.CellChosen)
    def _cell_chosen(self) -> None:
        self.action_list("cell")

    @on(PairList.Chosen)
    def _pair_chosen(self, message: PairList.Chosen) -> None:
        if self.reading is not None and self.at is not None:
            pairs = worst_pairs(self.reading.matrices[self.at])
            if message.place < len(pairs):
                self.query_one(MatrixView).move_to(pairs[message.place].true, pairs[message.place].predicted)

    def action_move(self, down: int, right: int) -> None:
        """The cursor of the matrix; where only images are shown, their pages."""
        if self.images_only and not self._room.both:
            self.action_page(right or down)
        else:
            self.query_one(MatrixView).move(down, right)

    def action_worst(self, by: int) -> None:
        """Put the cursor on the next of the worst pairs, the first one where it is on none."""
        if self.reading is None or self.at is None:
            return
        pairs = [(pair.true, pair.predicted) for pair in worst_pairs(self.reading.matrices[self.at])]
        if pairs:
            place = (pairs.index(self.cursor) + by) % len(pairs) if self.cursor in pairs else 0
            self.kind = "cell"
            self.query_one(MatrixView).move_to(*pairs[place])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What can be done now; of what enter may do, one: the images, the matrix again, the cell's for others."""
        if not self.is_mounted:
            return True
        if action in OF_AN_EVALUATION and self.at is None:
            return False
        if action in ("images", "matrix"):
            return not self._room.both and self.images_only == (action == "matrix")
        if action == "list" and parameters == ("cell",):
            is_shown = self.kind == "cell" and self.query_one(ImagePane).first == 0
            return self._room.both and not is_shown
        return True

    def action_images(self) -> None:
        """The images of the cell, in the matrix's place."""
        self.action_list("cell")

    def action_matrix(self) -> None:
        """The matrix again, where images took its place."""
        self.images_only = False
        self.draw()

    def action_list(self, kind: Kind) -> None:
        """Show a list of images from its beginning."""
        self.kind, self.images_only = kind, True
        self.query_one(ImagePane).first = 0
        self.compare_runs()
        self.draw()

    def action_flips(self) -> None:
        """What was learned, then what was forgotten, since the evaluation before and since the best."""
        if self.reading is not None:
            flips = flip_kinds(self.reading)
            self.action_list(flips[(flips.index(self.kind) + 1) % len(flips)] if self.kind in flips else flips[0])

    def action_next_list(self) -> None:
        """The next of all lists."""
        if self.reading is not None:
            found = kinds(self.reading)
            self.action_list(found[(found.index(self.kind) + 1) % len(found)] if self.kind in found else found[0])

    def action_page(self, by: int) -> None:
        """Other images of the list."""
        self.query_one(ImagePane).page(by)
        self.draw()

    def action_step(self, by: int) -> None:
        """The evaluation before or after; the newest one goes along with the run."""
        if self.reading is None or self.at is None:
            return
        at = min(max(self.at + by, 0), len(self.reading.epochs) - 1)
        self.action_show_epoch("last" if at == len(self.reading.epochs) - 1 else self.reading.epochs[at])

    def action_show_epoch(self, epoch: int | Literal["last", "best"]) -> None:
        """Show an evaluation; a list that is of another one, or of every run, gives way to the cell's."""
        before, self.epoch = self.at, epoch
        if self.at != before and self.kind != "mistakes":
            self.kind = "cell"
        self.query_one(ImagePane).first = 0
        self.draw()

    def action_unit(self) -> None:
        """Cells as shares or as numbers."""
        matrix_view = self.query_one(MatrixView)
        matrix_view.unit = "images" if matrix_view.unit == "%" else "%"
        matrix_view.refresh()

    async def action_back(self) -> None:
        """The matrix again where images took its place, else leave."""
        if self.images_only and not self._room.both:
            self.action_matrix()
        else:
            await self.run_action("app.back")
