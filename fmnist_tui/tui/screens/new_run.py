"""The New run screen: choose a preset, edit it, see what would happen, measure it, start it.

The app pushes it with a configuration to clone or with none. It posts StartRequested; it starts nothing
itself but the short calibration the user asks for, which ends with the screen.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.worker import get_current_worker

from fmnist_tui.config import CLASSES, ConfigError, RunConfig
from fmnist_tui.data import source
from fmnist_tui.monitor import Gpu, list_gpus
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.calibration import (
    COMMAND,
    TIMEOUT_SECONDS,
    Calibration,
    CalibrationCancelled,
    CalibrationError,
    Measurement,
)
from fmnist_tui.tui.draft import Draft
from fmnist_tui.tui.messages import StartRequested
from fmnist_tui.tui.outlook import earlier_run, speed_key
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.screens.save_preset import SavePresetDialog
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.form import ConfigForm, help_of
from fmnist_tui.tui.widgets.header import TopBar
from fmnist_tui.tui.widgets.outlook_panel import Forecast, OutlookPanel
from fmnist_tui.tui.widgets.pane_tabs import PANES, PaneTabs
from fmnist_tui.tui.widgets.preset_list import PresetEntry, PresetList, read_presets
from fmnist_tui.tui.widgets.start_bar import StartBar

CANCELLED = "cancelled"
PICTURES_PER_CLASS = 12
"""Pictures of each class kept for the augmentation preview."""
MEDIUM_FROM, WIDE_FROM = 110, 160
"""Columns from which the panel stands beside the form, and the presets too."""
BREAKPOINTS = [(0, "-narrow"), (MEDIUM_FROM, "-medium"), (WIDE_FROM, "-wide"), (190, "-wider")]
START_PAUSE_SECONDS = 1.0
"""A second start within this time is a key held too long."""


class NewRunScreen(FeedScreen):
    """Presets, form, and what would happen; one pane at a time where there are only 80 columns."""

    CSS_PATH = "new_run.tcss"
    HORIZONTAL_BREAKPOINTS = BREAKPOINTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start", priority=True),
        Binding("ctrl+t", "next_pane", "Pane"),
        Binding("escape", "back", "Back"),
        Binding("ctrl+z", "reset_field", "Reset field"),
        Binding("ctrl+r", "reset_all", "Reset all"),
        Binding("f6", "measure", "Measure"),
        Binding("ctrl+o", "save", "Save preset"),
        Binding("f7", "reroll", "Another picture"),
        Binding("f8", "scale_schedule", "Scale schedule"),
        Binding("m", "measure", "Measure", show=False),
        Binding("a", "reroll", "Another picture", show=False),
    ]

    class Looked(Message):
        """What the start-up worker found: pictures, GPUs, whether the full data set is there."""

        def __init__(self, pictures: dict[int, Any], no_pictures: str, gpus: list[Gpu], no_data: str) -> None:
            self.pictures = pictures
            self.no_pictures = no_pictures
            self.gpus = gpus
            self.no_data = no_data
            super().__init__()

    class Measured(Message):
        """News of a calibration: what is known so far, and at its end why it failed ('' where it did not)."""

        def __init__(self, calibration: Calibration, so_far: Measurement, done: bool, failed: str = "") -> None:
            self.calibration = calibration
            self.so_far = so_far
            self.done = done
            self.failed = failed
            super().__init__()

    calibration_command = COMMAND
    calibration_timeout = TIMEOUT_SECONDS

    def __init__(self, config: RunConfig | None = None) -> None:
        """Start from `config`, a run to clone, against its preset; or from the presets."""
        super().__init__()
        self._entries = read_presets()
        self._drafts: dict[str, Draft] = {}
        usable = {entry.name: entry.config for entry in self._entries if entry.config}
        if config is not None:
            known = config.preset if config.preset in usable else None
            self._current = known or config.name
            if self._current not in usable:
                self._entries.insert(0, PresetEntry(self._current, "run", config))
            self._drafts[self._current] = Draft(usable.get(self._current) or config, config)
        else:
            self._current = next(iter(usable))
            self._drafts[self._current] = Draft(usable[self._current])
        self._pane = "settings" if config is not None else "presets"
        self._runs: list[Run] = []
        self._calibration: Calibration | None = None
        self._progress = ""
        self._measurements: dict[Any, Measurement] = {}
        self._failures: dict[Any, str] = {}
        self._started_at = -START_PAUSE_SECONDS

    @property
    def draft(self) -> Draft:
        """The configuration as it is edited now."""
        return self._drafts[self._current]

    def compose(self) -> ComposeResult:
        """Top bar, panes, the difference and the start line, keys."""
        ascii_only = bool(getattr(self.app, "ascii_only", False))
        yield TopBar("new")
        yield PaneTabs(id="panes")
        with Horizontal(id="columns"):
            with Container(id="left"):
                with Vertical(id="presets-pane", classes="pane"):
                    yield Static("Presets", classes="heading")
                    yield PresetList(self._entries, ascii_only=ascii_only, id="presets")
                with Vertical(id="settings", classes="pane"):
                    yield Static("Settings", classes="heading")
                    yield Static(id="problems", markup=False)
                    yield ConfigForm(self.draft, ascii_only=ascii_only, id="form")
                    yield Static(id="help")
            with Vertical(id="outlook-pane", classes="pane"):
                yield Static("What would happen", classes="heading")
                yield OutlookPanel(self.draft.valid, ascii_only=ascii_only, id="outlook")
        yield Static(id="difference")
        yield StartBar(ascii_only=ascii_only, id="start-bar")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the first draft and look around in the background."""
        self._runs = list(getattr(self.app, "runs", []))
        presets = self.query_one(PresetList)
        with presets.prevent(OptionList.OptionHighlighted):
            presets.select_name(self._current)
        self._show_pane(self._pane, focus=True)
        self._draft_changed()
        self._look_around(getattr(self.app, "data_dir", None))

    def on_unmount(self) -> None:
        """A calibration ends with the screen."""
        if self._calibration is not None:
            self._calibration.cancel()

    # What comes in: the feed's news and what the background worker found.

    def runs_listed(self, runs: list[Run]) -> None:
        """Earlier runs tell speeds; runs at work occupy devices."""
        self._runs = runs
        if self.is_mounted:
            self._refresh_outlook()

    @work(thread=True, group="look-around")
    def _look_around(self, data_dir: Path | None) -> None:
        """Load the pictures, list the GPUs, look for the data set."""
        pictures: dict[int, Any] = {}
        no_pictures = no_data = ""
        try:
            sample = source.load_sample()
            for label in range(len(CLASSES)):
                of_class = sample.train_images[sample.train_labels == label]
                pictures[label] = of_class[:PICTURES_PER_CLASS].copy()
        except source.DataError as error:
            no_pictures = error.problem
        try:
            source.find(data_dir)
        except source.DataError as error:
            no_data = error.problem
        if not get_current_worker().is_cancelled:
            self.post_message(self.Looked(pictures, no_pictures, list_gpus().gpus, no_data))

    def on_new_run_screen_looked(self, message: Looked) -> None:
        """Show what was found."""
        panel = self.query_one(OutlookPanel)
        panel.data_problem = message.no_data
        panel.take_images(message.pictures, message.no_pictures)
        self.query_one(StartBar).take_gpus(message.gpus)
        self._refresh_outlook()

    # What the user does to the draft.

    @on(OptionList.OptionHighlighted, "#presets")
    def _preset_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Moving over a preset shows it; edits of the one left stay with it."""
        entry = self._entries[event.option_index]
        if event.option.id != entry.name or entry.name == self._current or entry.config is None:
            return
        self._current = entry.name
        self._drafts.setdefault(entry.name, Draft(entry.config))
        self.query_one(ConfigForm).load(self.draft)
        self._draft_changed()

    @on(OptionList.OptionSelected, "#presets")
    def _preset_selected(self) -> None:
        """Enter goes on to the form."""
        self._show_pane("settings", focus=True)

    @on(ConfigForm.Changed)
    def _draft_changed(self) -> None:
        """Everything that follows from the draft."""
        draft = self.draft
        self.query_one(PresetList).mark_edited(self._current, draft.edited)
        problems = self.query_one("#problems", Static)
        problems.set_class(not draft.cross_errors, "-none")
        problems.update("\n".join(f"! {message}" for message in draft.cross_errors))
        self.query_one("#difference", Static).update(self._difference())
        focused = self.query_one(ConfigForm).focused_key
        if focused:
            self._show_help(focused)
        self._refresh_outlook()

    @on(ConfigForm.FieldFocused)
    def _field_focused(self, event: ConfigForm.FieldFocused) -> None:
        self._show_help(event.spec.key)

    def _show_help(self, key: str) -> None:
        form = self.query_one(ConfigForm)
        self.query_one("#help", Static).update(help_of(self.draft.specs[key], self.draft, form.ascii_only))

    def _difference(self) -> Content:
        """How the draft differs from its preset, as much of it as fits in a line."""
        changes, ascii_only = self.draft.changes, self.query_one(ConfigForm).ascii_only
        if not changes:
            return Content.assemble((f"No changes from {self._current}", "$foreground-muted"))
        arrow = "->" if ascii_only else "→"
        said = [f"{change.key} {change.old} {arrow} {change.new}" for change in changes]
        count = f"{len(said)} change{'s' if len(said) > 1 else ''} from {self._current}: "
        room = max(20, self.size.width - 2 - len(count))
        shown: list[str] = []
        for index, text in enumerate(said):
            rest = len(said) - index - 1
            tail = f"; and {rest} more" if rest else ""
            if shown and len("; ".join([*shown, text])) + len(tail) > room:
                return Content.assemble((count, "bold"), "; ".join(shown), f"; and {rest + 1} more")
            shown.append(text)
        return Content.assemble((count, "bold"), "; ".join(shown))

    def on_resize(self) -> None:
        """The difference fits its line; presets take one line each where they stand above the form."""
        presets = self.query_one(PresetList)
        presets.compact_lines = MEDIUM_FROM <= self.size.width < WIDE_FROM
        presets.whole_lines = self.size.width >= WIDE_FROM
        presets.redraw()
        self.query_one("#difference", Static).update(self._difference())

    def action_reset_field(self) -> None:
        """The focused field back to the preset's value."""
        form = self.query_one(ConfigForm)
        if key := form.focused_key:
            self.draft.reset(key)
            form.load(self.draft)
            self._draft_changed()

    def action_reset_all(self) -> None:
        """Every field back to the preset's values."""
        self.draft.reset_all()
        self.query_one(ConfigForm).load(self.draft)
        self._draft_changed()

    def action_scale_schedule(self) -> None:
        """The preset's milestones and warm-up in proportion to the epochs typed."""
        try:
            moved = self.draft.scaled()
        except ConfigError as error:
            self.notify(str(error.errors[0]), severity="error")
            return
        for key, raw in moved.items():
            self.draft.edit(key, raw)
        self.query_one(ConfigForm).load(self.draft)
        self._draft_changed()

    # Saving and starting.

    def action_save(self) -> None:
        """Ask for a name and save the draft as a preset."""
        if self.draft.config is None:
            self.notify(f"Only valid settings can be saved. {self.draft.problems[0]}", severity="error")
            return
        self.app.push_screen(SavePresetDialog(self.draft.config), self._saved)

    def _saved(self, name: str | None) -> None:
        """List the saved preset and go on with it."""
        if name is None:
            return
        self._drafts.pop(name, None)
        kept = [entry for entry in self._entries if entry.origin == "run"]
        self._entries = [*kept, *read_presets()]
        entry = next(entry for entry in self._entries if entry.name == name)
        presets = self.query_one(PresetList)
        presets.edited.discard(name)
        presets.show(self._entries)
        self.notify(f"Saved as preset {name}.")
        if entry.config is not None:
            self._current = ""
            presets.select_name(name)

    @on(StartBar.Pressed)
    def action_start(self) -> None:
        """Ask the app to start the run; where anything is wrong, go to it instead."""
        draft, bar = self.draft, self.query_one(StartBar)
        if draft.config is None:
            self.notify(draft.problems[0], title="Cannot start", severity="error")
            wrong = next(iter(draft.field_errors), next(iter(sorted(draft.involved)), ""))
            if wrong:
                self._show_pane("settings")
                self.query_one(ConfigForm).focus_field(wrong)
            return
        if monotonic() - self._started_at >= START_PAUSE_SECONDS:
            self._started_at = monotonic()
            self.post_message(StartRequested(draft.config, bar.device, bar.queue))

    @on(StartBar.DeviceChanged)
    def _refresh_outlook(self) -> None:
        """The panel and the start line for the draft, the device and the runs there are."""
        draft, bar = self.draft, self.query_one(StartBar)
        bar.show(draft.problems, self._runs)
        key = speed_key(draft.valid, bar.device)
        forecast = Forecast(
            device=bar.device,
            memory_total=bar.memory_total,
            measured=self._measurements.get(key),
            running=self._progress if self._calibration else "",
            failed=self._failures.get(key, ""),
            earlier=earlier_run(draft.valid, bar.device, self._runs),
        )
        self.query_one(OutlookPanel).show(draft.valid, forecast, stale=draft.config is None)

    # Measuring.

    def action_measure(self) -> None:
        """Start a calibration of the draft, or end the one at work."""
        if self._calibration is not None:
            self._calibration.cancel()
            return
        if self.draft.config is None:
            self.notify(f"Only valid settings can be measured. {self.draft.problems[0]}", severity="error")
            return
        device, data_dir = self.query_one(StartBar).device, getattr(self.app, "data_dir", None)
        self._calibration = Calibration(
            self.draft.config, device, data_dir, command=self.calibration_command, timeout=self.calibration_timeout
        )
        self._progress = "starting"
        self._failures.pop(speed_key(self.draft.config, device), None)
        self._measure(self._calibration)
        self._refresh_outlook()

    @work(thread=True, group="calibration")
    def _measure(self, calibration: Calibration) -> None:
        def report(so_far: Measurement) -> None:
            self.post_message(self.Measured(calibration, so_far, done=False))

        so_far, failed = Measurement(), ""
        try:
            so_far = calibration.run(report)
        except CalibrationCancelled:
            failed = CANCELLED
        except CalibrationError as error:
            failed = str(error)
        self.post_message(self.Measured(calibration, so_far, True, failed))

    def on_new_run_screen_measured(self, message: Measured) -> None:
        """Show what the calibration knows; keep a result for these settings."""
        if message.calibration is not self._calibration:
            return
        key = speed_key(message.calibration.config, message.calibration.device)
        self._progress = message.so_far.phase or "training"
        if message.done:
            self._calibration = None
            if not message.failed:
                self._measurements[key] = message.so_far
            elif message.failed != CANCELLED:
                self._failures[key] = message.failed
        self._refresh_outlook()

    # Panes and leaving.

    def action_next_pane(self) -> None:
        """The focus to the next pane."""
        names = [pane.name for pane in PANES]
        self._show_pane(names[(names.index(self._pane) + 1) % len(names)], focus=True)

    @on(PaneTabs.Chosen)
    def _pane_chosen(self, event: PaneTabs.Chosen) -> None:
        self._show_pane(event.name, focus=True)

    def _show_pane(self, name: str, focus: bool = False) -> None:
        """Bring a pane to the front (where only one is shown) and, if asked, the focus into it."""
        self._pane = name
        self.query_one(PaneTabs).active = name
        for pane in PANES:
            self.set_class(pane.name == name, f"-show-{pane.name}")
        if focus and name == "settings":
            self.call_after_refresh(self.query_one(ConfigForm).focus_field, self._first_field)
        elif focus:
            self.call_after_refresh(self.query_one("#presets" if name == "presets" else "#outlook").focus)

    @property
    def _first_field(self) -> str:
        """Where the form is entered: what is edited most."""
        return "name"

    def action_reroll(self) -> None:
        """Another picture in the preview."""
        self.query_one(OutlookPanel).reroll()

    def action_back(self) -> None:
        """Leave; nothing is kept."""
        self.dismiss()
