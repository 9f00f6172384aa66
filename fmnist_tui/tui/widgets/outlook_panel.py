"""What would happen: the panel of the New run screen with size, steps, memory, speed, LR curve and pictures.

It only shows what it is given; the screen decides what to measure and hands over configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from fmnist_tui.config import CLASSES, AugmentConfig, Reference, RunConfig
from fmnist_tui.fields import notes
from fmnist_tui.tui import format as words
from fmnist_tui.tui.calibration import Measurement
from fmnist_tui.tui.outlook import Duration, Earlier, Speed, duration, images_at_once, memory_estimate, plan, size
from fmnist_tui.tui.widgets.lr_curve import LrCurve
from fmnist_tui.tui.widgets.preview import ImageGrid, Tile, augment, draw, in_words

PREVIEW_CLASSES = (9, 8, 5, 3, 0, 7, 2, 1, 4, 6)
"""The class of the picture after each re-roll: first those that look least alike."""
MAX_ROWS = 3
"""Rows of pictures shown where there is room."""


@dataclass(frozen=True)
class Forecast:
    """What is known of the speed on the chosen device."""

    device: str = "auto"
    memory_total: int | None = None
    """Bytes of the chosen GPU, where it is known."""
    measured: Measurement | None = None
    """A calibration of this very configuration on this device."""
    running: str = ""
    """What the calibration now at work is doing, '' where none is."""
    failed: str = ""
    """Why the last calibration gave nothing."""
    earlier: Earlier | None = None


def augmentation_in_words(config: AugmentConfig) -> str:
    """What is done to a training image, as a title."""
    parts = []
    if config.crop_padding:
        parts.append(f"crop {config.crop_padding}")
    if config.flip:
        parts.append("flip")
    if config.cutout_size:
        share = "" if config.cutout_probability == 1 else f" for {config.cutout_probability:.3g} of the images"
        parts.append(f"Cutout {config.cutout_size}{' inside' if config.cutout_inside else ''}{share}")
    return ", ".join(parts) or "none"


def giga(flops: float) -> str:
    """Operations in a readable unit: '24.1 GFLOP'."""
    for factor, unit in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP")):
        if flops >= factor:
            return f"{flops / factor:.3g} {unit}"
    return f"{flops / 1e3:.3g} kFLOP"


def memory(count: int) -> str:
    """Bytes with their unit: '7.2 GiB', '94 MiB'."""
    return f"{words.gib(count)} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def duration_in_words(time: Duration, now: datetime) -> tuple[str, str]:
    """The sum and when it would end if it started now; its parts."""
    parts = [f"{words.duration(time.training)} training"]
    parts.append("evaluation unknown" if time.evaluation is None else f"{words.duration(time.evaluation)} evaluation")
    if time.startup >= 1:
        parts.append(f"{words.duration(time.startup)} to start")
    end = (now + timedelta(seconds=time.total)).astimezone()
    day = "" if end.date() == now.astimezone().date() else f"{end:%a} {end.day} {end:%b} "
    return f"about {words.duration(time.total)}, until {day}{end:%H:%M} if started now", f" ({', '.join(parts)})"


def reference_in_words(reference: Reference) -> tuple[str, str]:
    """The row of the reference table a preset reproduces."""
    of = f" (best of {reference.epochs:,} epochs, {reference.time} on a GTX 1080 Ti)"
    return f"{reference.accuracy:.2f} % of {reference.model_name}, 2018", of


def speed_in_words(speed: Speed) -> str:
    """'9,800 img/s, peak 7.2 GiB, cuda:0 NVIDIA H200, bf16'."""
    parts = [f"{words.speed(speed.images_per_second)} img/s"]
    if speed.peak_memory_bytes is not None:
        parts.append(f"peak memory {memory(speed.peak_memory_bytes)}")
    parts += [part for part in (speed.device_name or speed.device, speed.precision) if part]
    return ", ".join(parts)


def memory_in_words(config: RunConfig) -> tuple[str, str]:
    """The estimate for the precision that was chosen, both where that is left to the trainer; and what it counts."""
    precision = config.training.precision
    full, half = (memory(memory_estimate(config, size)) for size in (4, 2))
    amount = {"fp32": f"{full}", "auto": f"{full} in fp32, {half} in bf16"}.get(precision, half)
    if config.training.micro_batch == "auto":
        amount += ", less where the batch has to be split"
    images = words.count(images_at_once(config), "image")
    counted = f"weights, gradients, momentum, activations of {images}, data"
    return f"about {amount}", f" (estimate: {counted}; no workspaces)"


class OutlookPanel(VerticalScroll):
    """The panel; it scrolls where the terminal is low."""

    DEFAULT_CSS = """
    OutlookPanel { scrollbar-size-vertical: 1; }
    OutlookPanel Static { height: auto; width: 1fr; }
    OutlookPanel .title { margin-top: 1; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
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

    def compose(self) -> ComposeResult:
        """Facts, notes, LR curve, pictures."""
        yield Static(id="facts")
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
        """As many pictures as there is room for."""
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
        self.query_one("#facts", Static).update(self._facts())
        said = self._notes()
        mark = "!" if self.ascii_only else "▲"
        notes_line = self.query_one("#notes", Static)
        text = "\n".join(f"{mark} {line}" for line in said)
        if text != notes_line.content:
            notes_line.update(text)
            notes_line.display = bool(text)
        curve = self.query_one(LrCurve)
        curve.show(self.config)
        self.query_one("#lr-title", Static).update(self._title("Learning rate", curve.about))
        self._show_preview()

    def _title(self, name: str, about: str, keys: str = "") -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(name, "bold")
        text.append(f"  {about}")
        text.append(f"  {keys}" if keys else "", "dim")
        return text

    def _notes(self) -> list[str]:
        said = ["Shown for the last valid settings."] if self._stale else []
        said += [note.replace("--scale-schedule moves", "F8 moves") for note in notes(self.config)]
        if self.config.data.source == "full" and self.data_problem:
            said.append(self.data_problem)
        needed = memory_estimate(self.config, 4 if self.config.training.precision == "fp32" else 2)
        total = self.forecast.memory_total
        if total and needed > total and self.config.training.micro_batch != "auto":
            said.append(f"The estimate is above the {memory(total)} of {self.forecast.device}: micro_batch = auto")
        return said

    def _facts(self) -> Table:
        """Names and values in two columns; long values wrap below themselves."""
        work, network = plan(self.config), size(self.config)
        steps = f"{work.steps_per_epoch:,} an epoch, {work.steps:,} in all"
        if work.cut_short:
            steps += " (max_steps)"
        rows: list[tuple[str, str, str]] = [
            ("Network", f"{network.parameters:,} parameters", f", {giga(network.flops_per_image)} an image"),
            ("Images", f"{work.train_images:,} train, {work.test_images:,} test", ""),
            ("Steps", f"{steps}; {words.count(work.evaluations, 'evaluation')}", ""),
            ("Memory", *memory_in_words(self.config)),
            *self._speed_rows(),
        ]
        if self.config.reference:
            rows.append(("To beat", *reference_in_words(self.config.reference)))
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, style="bold", width=9)
        table.add_column(ratio=1)
        for name, value, faint in rows:
            table.add_row(name, Text.assemble(value, (faint, "dim")))
        return table

    def _speed_rows(self) -> list[tuple[str, str, str]]:
        """Measured, else last time; what is measured now, or why that failed."""
        forecast, now = self.forecast, datetime.now().astimezone()
        rows: list[tuple[str, str, str]] = []
        if forecast.running:
            rows.append(("Speed", f"measuring: {forecast.running}", " (m or F6 ends it)"))
        elif forecast.failed:
            rows.append(("Speed", f"could not be measured: {forecast.failed}", ""))
        elif forecast.measured is None:
            rows.append(("Speed", "not measured", "; m or F6 measures it"))
        if forecast.measured and forecast.measured.images_per_second:
            speed = forecast.measured.speed(forecast.device)
            rows.append(("Measured", speed_in_words(speed), f" (at {forecast.measured.measured:%H:%M:%S})"))
            rows.append(("Duration", *duration_in_words(duration(self.config, speed), now)))
        if forecast.earlier:
            speed = forecast.earlier.speed
            how = "" if forecast.earlier.same else ", with other batch or precision settings"
            rows.append(("Last time", speed_in_words(speed), f"{how} ({forecast.earlier.run.id})"))
            if forecast.earlier.same and not forecast.measured:
                rows.append(("Duration", *duration_in_words(duration(self.config, speed), now)))
        return rows

    def _show_preview(self) -> None:
        """The picture as it is and as the network would see it, as many times as fit in a row."""
        if not self.is_mounted:
            return
        grid = self.query_one("#preview", ImageGrid)
        config = self.config.augment
        about = self._images_problem or augmentation_in_words(config)
        self.query_one("#preview-title", Static).update(self._title("Augmentation", about, "a or F7 for another"))
        if not self._images:
            grid.show([])
            return
        columns = grid.columns(grid.size.width)
        room = self.size.height - grid.virtual_region.y
        tiles: list[Tile] = []
        for row in range(max(1, min(MAX_ROWS, room // grid.ROWS))):
            tiles += self._row_of_tiles(self.roll + row, max(2, columns))
        grid.show(tiles)

    def _row_of_tiles(self, roll: int, count: int) -> list[Tile]:
        """A picture as it is, and beside it as the network would see it in different epochs."""
        config = self.config.augment
        label = PREVIEW_CLASSES[roll % len(PREVIEW_CLASSES)]
        pictures = self._images[label]
        image = pictures[roll // len(PREVIEW_CLASSES) % len(pictures)]
        tiles = [Tile(image, CLASSES[label])]
        for index in range(1, count):
            drawn = draw(config, np.random.default_rng((roll, self.roll, index)))
            tiles.append(Tile(augment(image, drawn, config), in_words(drawn, config)))
        return tiles
