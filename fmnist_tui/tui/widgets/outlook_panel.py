"""What would happen: the panel of the New run screen with size, steps, memory, speed, LR curve and pictures.

It only shows what it is given; the screen decides what to measure and hands over configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from fmnist_tui.analysis.outlook import memory_estimate, plan, size
from fmnist_tui.config import CLASSES, AugmentConfig, RunConfig
from fmnist_tui.fields import notes
from fmnist_tui.tui import format as words
from fmnist_tui.tui.forecast import (
    Fact,
    Forecast,
    augmentation_in_words,
    giga,
    memory,
    memory_in_words,
    reference_in_words,
    speed_facts,
)
from fmnist_tui.tui.remedies import APP
from fmnist_tui.tui.widgets.facts import Facts
from fmnist_tui.tui.widgets.image_grid import Image, ImageGrid, Tile
from fmnist_tui.tui.widgets.lr_curve import LrCurve
from fmnist_tui.tui.widgets.preview import augment, draw, in_words, mix

PREVIEW_CLASSES = (9, 5, 3, 1, 7, 0, 2, 4, 6, 8)
"""The class of the picture after each re-roll: first those that look least alike."""
HIGH_FROM = 44
"""Lines of the panel from which the curve may take more of them."""
MAX_ROWS = 3
"""Rows of pictures shown where there is room."""


class OutlookPanel(VerticalScroll):
    """The panel; it scrolls where the terminal is low."""

    DEFAULT_CSS = """
    OutlookPanel { scrollbar-size-vertical: 1; }
    OutlookPanel Static { height: auto; width: 1fr; }
    OutlookPanel .title { margin-top: 1; }
    OutlookPanel #notes { color: $text-warning; }
    OutlookPanel.-stale #facts, OutlookPanel.-stale LrCurve { text-opacity: 50%; }
    """

    def __init__(self, config: RunConfig, *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.config = config
        self.ascii_only = ascii_only
        self.forecast = Forecast()
        self.data_problem = ""
        """Why the full data set is not at hand, '' where it is."""
        self.roll = 0
        self._stale = False
        self._images: Mapping[int, NDArray[np.uint8]] = {}
        self._images_problem = ""
        self._shown: tuple[AugmentConfig, int, int, int] | None = None
        """What the pictures on screen were made from."""

    def compose(self) -> ComposeResult:
        """Facts, notes, LR curve, pictures."""
        yield Facts(id="facts")
        yield Static(id="notes", markup=False)
        yield Static(id="lr-title", classes="title")
        yield LrCurve(self.config, ascii_only=self.ascii_only, id="lr")
        yield Static(id="preview-title", classes="title")
        yield ImageGrid(ascii_only=self.ascii_only, id="preview")

    def on_mount(self) -> None:
        """Show the first configuration."""
        self.query_one("#notes").display = False
        self.refresh_all()

    def on_resize(self) -> None:
        """As high a curve and as many pictures as there is room for."""
        self.query_one(LrCurve).styles.height = 8 if self.size.height >= HIGH_FROM else 6
        self._show_preview()

    def show(self, config: RunConfig, forecast: Forecast, *, stale: bool) -> None:
        """Show a configuration; `stale` says that something typed since is not valid."""
        self.config, self.forecast, self._stale = config, forecast, stale
        self.refresh_all()

    def take_images(self, images: Mapping[int, NDArray[np.uint8]], problem: str = "") -> None:
        """Some pictures of each class, (N, 28, 28) uint8 by class number, or why there are none."""
        self._images, self._images_problem = images, problem
        self._show_preview()

    def reroll(self) -> None:
        """Another picture and other draws."""
        self.roll += 1
        self._show_preview()

    def refresh_all(self) -> None:
        """Everything anew."""
        if not self.is_mounted:
            return
        self.set_class(self._stale, "-stale")
        self.query_one(Facts).show(self._facts())
        said = self._notes()
        mark = "!" if self.ascii_only else "▲"
        notes_line = self.query_one("#notes", Static)
        text = "\n".join(f"{mark} {line}" for line in said)
        if text != notes_line.content:
            notes_line.update(text)
            notes_line.display = bool(text)
        curve = self.query_one(LrCurve)
        curve.show(self.config)
        self._set_title("lr-title", "Learning rate", curve.about)
        self._show_preview()

    def _set_title(self, id: str, name: str, about: str, keys: str = "") -> None:
        faint = (f"  {keys}" if keys else "", "$foreground-muted")
        line = self.query_one(f"#{id}", Static)
        text = Content.assemble((name, "bold"), f"  {about}", faint)
        if text != line.content:
            line.update(text)

    def _notes(self) -> list[str]:
        said = ["Shown for the last valid settings."] if self._stale else []
        said += notes(self.config, APP)
        if self.config.data.source == "full" and self.data_problem:
            said.append(self.data_problem)
        needed = memory_estimate(self.config, 4 if self.config.training.precision == "fp32" else 2)
        total = self.forecast.memory_total
        if total and needed > total and self.config.training.micro_batch != "auto":
            said.append(f"The estimate is above the GPU's {memory(total)}; micro_batch = auto splits the batch")
        return said

    def _facts(self) -> list[Fact]:
        """Size, work, memory, speed, and what there is to beat."""
        work, network = plan(self.config), size(self.config)
        steps = f"{work.steps_per_epoch:,} an epoch, {work.steps:,} in all"
        if work.cut_short:
            steps += " (max_steps)"
        facts = [
            Fact("Network", f"{network.parameters:,} parameters", f", {giga(network.flops_per_image)} an image"),
            Fact("Images", f"{work.train_images:,} train, {work.test_images:,} test"),
            Fact("Steps", f"{steps}; {words.count(work.evaluations, 'evaluation')}"),
            Fact("Memory", *memory_in_words(self.config)),
            *speed_facts(self.config, self.forecast),
        ]
        if reference := self.config.measured_against:
            facts.append(Fact("To beat", *reference_in_words(reference)))
        return facts

    def _show_preview(self) -> None:
        """The picture as it is and as the network would see it, as many times as fit in a row."""
        if not self.is_mounted:
            return
        grid = self.query_one("#preview", ImageGrid)
        config = self.config.augment
        about = self._images_problem or augmentation_in_words(config)
        self._set_title("preview-title", "Augmentation", about, "F7 for another")
        if not self._images:
            grid.show([])
            return
        columns = max(2, grid.columns(grid.size.width))
        rows = max(1, min(MAX_ROWS, (self.size.height - grid.virtual_region.y) // grid.rows_each))
        if (config, self.roll, rows, columns) != self._shown:
            self._shown = (config, self.roll, rows, columns)
            grid.show([tile for row in range(rows) for tile in self._row_of_tiles(self.roll + row, columns)])

    def _row_of_tiles(self, roll: int, count: int) -> list[Tile]:
        """A picture as it is, and beside it as the network would see it in different epochs."""
        config = self.config.augment
        image, label = self._picture(roll)
        tiles = [Tile(image, CLASSES[label])]
        for index in range(1, count):
            rng = np.random.default_rng((roll, self.roll, index))
            drawn = draw(config, rng)
            if config.flip_mode == "alternating":  # one after the other, as from epoch to epoch
                drawn = replace(drawn, flip=(roll + index) % 2 == 0)
            other, of_other = self._picture(roll + index)
            shown, share = mix(augment(image, drawn, config), other, config, rng)
            words = f"{share:.0%} {CLASSES[of_other]}" if share else in_words(drawn, config)
            tiles.append(Tile(shown, words))
        return tiles

    def _picture(self, roll: int) -> tuple[Image, int]:
        """One of the preview's pictures and its class, another class with each roll."""
        label = PREVIEW_CLASSES[roll % len(PREVIEW_CLASSES)]
        pictures = self._images[label]
        return pictures[roll // len(PREVIEW_CLASSES) % len(pictures)], label
