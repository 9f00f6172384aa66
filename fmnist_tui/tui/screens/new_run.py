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
from fmnist_tui.tui.draft import Draft
from fmnist_tui.tui.drafts import PresetDrafts
from fmnist_tui.tui.forecast import Forecast
from fmnist_tui.tui.messages import StartRequested
from fmnist_tui.tui.outlook import earlier_run
from fmnist_tui.tui.screens.measuring import MeasuringScreen
from fmnist_tui.tui.screens.save_preset import SavePresetDialog
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.form import ConfigForm, help_of
from fmnist_tui.tui.widgets.header import TopBar
from fmnist_tui.tui.widgets.outlook_panel import OutlookPanel
from fmnist_tui.tui.widgets.pane_tabs import PANES, PaneTabs
from fmnist_tui.tui.widgets.preset_list import PresetList
from fmnist_tui.tui.widgets.start_bar import StartBar

PICTURES_PER_CLASS = 12
"""Pictures of each class kept for the augmentation preview."""
MEDIUM_FROM, WIDE_FROM = 110, 160
"""Columns from which the panel stands beside the form, and the presets too."""
OUTLOOK_WIDTHS = ((190, 88), (0, 59))
"""The panel's width from which width of the terminal: three pictures side by side, or two."""
PRESETS_WIDTH, PRESETS_HEIGHT = 42, 10
"""Of the presets in a column of their own, and at most above the form."""
START_PAUSE_SECONDS = 1.0
"""A second start within this time is a key held too long."""


class NewRunScreen(MeasuringScreen):
    """Presets, form, and what would happen; one pane at a time where there are only 80 columns."""

    CSS_PATH = "new_run.tcss"
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

    def __init__(self, config: RunConfig | None = None) -> None:
        """Start from `config`, a run to clone, against its preset; or from the presets."""
        super().__init__()
        self._drafts = PresetDrafts(config)
        self._pane = "settings" if config is not None else "presets"
        self._runs: list[Run] = []
        self._started_at = -START_PAUSE_SECONDS

    @property
    def draft(self) -> Draft:
        """The configuration as it is edited now."""
        return self._drafts.draft

    def compose(self) -> ComposeResult:
        """Top bar, panes, the difference and the start line, keys."""
        ascii_only = bool(getattr(self.app, "ascii_only", False))
        yield TopBar("new")
        yield PaneTabs(id="panes")
        with Horizontal(id="columns"):
            with Container(id="left"):
                with Vertical(id="presets-pane"):
                    yield Static("Presets", classes="heading")
                    yield PresetList(self._drafts.entries, ascii_only=ascii_only, id="presets")
                yield Static(id="before-settings", classes="divider")
                with Vertical(id="settings-pane"):
                    yield Static("Settings", classes="heading")
                    yield Static(id="problems", markup=False)
                    yield ConfigForm(self.draft, ascii_only=ascii_only, id="form")
                    yield Static(id="help")
            yield Static(id="before-outlook", classes="divider")
            with Vertical(id="outlook-pane"):
                yield Static("What would happen", classes="heading")
                yield OutlookPanel(self.draft.valid, ascii_only=ascii_only, id="outlook")
        yield Static(id="difference")
        yield StartBar(ascii_only=ascii_only, id="start-bar")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the first draft and look around in the background."""
        self._runs = list(getattr(self.app, "runs", []))
        self.query_one("#problems").display = False
        self.query_one(PresetList).point_at(self._drafts.current)
        self._show_pane(self._pane, focus=True)
        self._draft_changed()
        self._look_around(getattr(self.app, "data_dir", None))

    def on_screen_resume(self) -> None:
        """Presets may have changed on disk while the user was elsewhere."""
        self._list_presets()

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
        name = event.option.id
        if name and name != self._drafts.current and not event.option.disabled:
            self._drafts.current = name
            self._draft_replaced()

    def _draft_replaced(self) -> None:
        """Another draft, or the same changed otherwise than by typing."""
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
        self.query_one(PresetList).mark_edited(self._drafts.edited)
        problems = self.query_one("#problems", Static)
        said = "\n".join(f"! {message}" for message in draft.cross_errors)
        if said != problems.content:
            problems.update(said)
            problems.display = bool(said)
        self.query_one("#difference", Static).update(self._difference(), layout=False)
        focused = self.query_one(ConfigForm).focused_key
        if focused:
            self._show_help(focused)
        self._refresh_outlook()

    @on(ConfigForm.FieldFocused)
    def _field_focused(self, event: ConfigForm.FieldFocused) -> None:
        self._show_help(event.spec.key)

    def _show_help(self, key: str) -> None:
        text = help_of(self.draft.specs[key], self.draft, self.query_one(ConfigForm).ascii_only)
        self.query_one("#help", Static).update(text, layout=False)

    def _difference(self) -> Content:
        """How the draft differs from its preset, as much of it as fits in a line."""
        changes, ascii_only = self.draft.changes, self.query_one(ConfigForm).ascii_only
        if not changes:
            return Content.assemble((f"No changes from {self._drafts.current}", "$foreground-muted"))
        arrow = "->" if ascii_only else "→"
        said = [f"{change.key} {change.old} {arrow} {change.new}" for change in changes]
        count = f"{len(said)} change{'s' if len(said) > 1 else ''} from {self._drafts.current}: "
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
        """Arrange the panes for the width; the difference fits its line."""
        self._arrange()
        self.query_one("#difference", Static).update(self._difference(), layout=False)

    def _arrange(self) -> None:
        """Three columns, or presets above the form and the panel beside, or one pane at a time."""
        width = self.size.width
        narrow, wide = width < MEDIUM_FROM, width >= WIDE_FROM
        panes = {pane.name: self.query_one(f"#{pane.name}-pane") for pane in PANES}
        for name, pane in panes.items():
            pane.display = not narrow or name == self._pane
        self.query_one("#left").display = not narrow or self._pane != "outlook"
        self.query_one(PaneTabs).display = narrow
        for heading in self.query(".heading"):
            heading.display = not narrow
        self.query_one("#left").styles.layout = "horizontal" if wide else "vertical"
        panes["presets"].styles.width = PRESETS_WIDTH if wide else "1fr"
        panes["presets"].styles.height = "1fr" if narrow or wide else "auto"
        panes["presets"].styles.max_height = None if narrow or wide else PRESETS_HEIGHT
        self.query_one("#before-settings").display = wide
        self.query_one("#before-outlook").display = not narrow
        panes["outlook"].styles.width = "1fr" if narrow else next(w for least, w in OUTLOOK_WIDTHS if width >= least)
        presets = self.query_one(PresetList)
        presets.fit(one_line=not narrow and not wide, whole_lines=wide)

    def action_reset_field(self) -> None:
        """The focused field back to the preset's value."""
        if key := self.query_one(ConfigForm).focused_key:
            self.draft.reset(key)
            self._draft_replaced()

    def action_reset_all(self) -> None:
        """Every field back to the preset's values."""
        self.draft.reset_all()
        self._draft_replaced()

    def action_scale_schedule(self) -> None:
        """The preset's milestones and warm-up in proportion to the epochs typed."""
        try:
            moved = self.draft.scaled()
        except ConfigError as error:
            self.notify(str(error.errors[0]), severity="error")
            return
        for key, raw in moved.items():
            self.draft.edit(key, raw)
        self._draft_replaced()

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
        self._list_presets(forget=name)
        self._drafts.current = name
        self.query_one(PresetList).point_at(name)
        self._draft_replaced()
        self.notify(f"Saved as preset {name}.")

    def _list_presets(self, forget: str = "") -> None:
        """Read the presets anew and show them."""
        if self._drafts.reread(forget):
            presets = self.query_one(PresetList)
            presets.show(self._drafts.entries)
            presets.point_at(self._drafts.current)
            self._draft_replaced()

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
            self.post_message(StartRequested(draft.config, bar.device))

    @on(StartBar.DeviceChanged)
    def _refresh_outlook(self) -> None:
        """The panel and the start line for the draft, the device and the runs there are."""
        draft, bar = self.draft, self.query_one(StartBar)
        bar.show(draft.problems, self._runs)
        measured, failed = self.measured(draft.valid, bar.device)
        forecast = Forecast(
            device=bar.device,
            memory_total=bar.memory_total,
            measured=measured,
            running=self.measuring,
            failed=failed,
            earlier=earlier_run(draft.valid, bar.device, self._runs),
        )
        self.query_one(OutlookPanel).show(draft.valid, forecast, stale=draft.config is None)

    def action_measure(self) -> None:
        """Start a calibration of the draft, or end the one at work."""
        if self.draft.config is None and not self.measuring:
            self.notify(f"Only valid settings can be measured. {self.draft.problems[0]}", severity="error")
            return
        self.measure(self.draft.valid, self.query_one(StartBar).device, getattr(self.app, "data_dir", None))

    def measuring_changed(self) -> None:
        """Show what is known of the speed."""
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
        self._arrange()
        if focus:
            self.call_after_refresh(self._focus_pane, name)

    def _focus_pane(self, name: str) -> None:
        """The focus into a pane, unless another was brought to the front since."""
        if name != self._pane:
            return
        if name == "settings":
            self.query_one(ConfigForm).focus_field("name")
        else:
            self.query_one("#presets" if name == "presets" else "#outlook").focus()

    def action_reroll(self) -> None:
        """Another picture in the preview."""
        self.query_one(OutlookPanel).reroll()

    def action_back(self) -> None:
        """Leave; the app may keep the screen with what was typed."""
        self.dismiss()
