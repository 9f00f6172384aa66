"""The New run screen: choose a preset, edit it, see what would happen, measure it, start it.

The app pushes it with a configuration to clone or with none. It posts StartRequested; it starts nothing
itself but the short calibration the user asks for, which ends with the screen. Its bases are `DraftingScreen`, what
is done to the settings, and `MeasuringScreen`.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.worker import get_current_worker

from fmnist_tui.analysis.outlook import earlier_run
from fmnist_tui.config import RunConfig
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.forecast import Forecast, news_in_words
from fmnist_tui.tui.messages import StartRequested
from fmnist_tui.tui.screens.drafting import HELP_FROM, DraftingScreen
from fmnist_tui.tui.screens.measuring import MeasuringScreen
from fmnist_tui.tui.surroundings import Surroundings, at_work_elsewhere, look_around
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.form import ConfigForm
from fmnist_tui.tui.widgets.header import TopBar
from fmnist_tui.tui.widgets.outlook_panel import OutlookPanel
from fmnist_tui.tui.widgets.panes import MEDIUM_FROM, WIDE_FROM, Panes, PaneTabs
from fmnist_tui.tui.widgets.preset_list import PresetList
from fmnist_tui.tui.widgets.start_bar import StartBar, run_on

CLOCK_SECONDS = 20.0
"""How often the time at which a run would end is drawn anew."""
ELSEWHERE_SECONDS = 2.0
"""How often the device queue is asked for runs of other runs directories."""
START_PAUSE_SECONDS = 1.0
"""A second start within this time is a key held too long."""


class NewRunScreen(DraftingScreen, MeasuringScreen):
    """Presets, form, and what would happen; one pane at a time where there are only 80 columns."""

    HELP = (
        "A preset, its settings, and what would happen. A setting that is not the preset's has a star, one that is "
        "wrong an exclamation mark; presets keep what was typed. Measuring trains the settings for a few seconds in a "
        "process of its own, for images/s, peak memory and the time the run would take."
    )
    CSS = Path(__file__).with_name("new_run.tcss").read_text("utf-8")  # now: the file may become another version's
    AUTO_FOCUS = ""  # a clone begins in the form, not in the first widget
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start", tooltip="start it, in its turn on the device"),
        Binding("ctrl+t", "next_pane", "Pane", tooltip="the next of presets, settings and what would happen"),
        Binding("escape", "back", "Back"),
        Binding("ctrl+z", "reset_field", "Reset field", tooltip="the field back to the preset's value"),
        Binding("ctrl+r", "reset_all", "Reset all", tooltip="every field back to the preset's values"),
        Binding("f6", "measure", "Measure", tooltip="measure the settings for a few seconds; again ends it"),
        Binding("ctrl+o", "save", "Save preset", tooltip="save the settings as a preset of your own"),
        Binding("f7", "reroll", "Another picture", tooltip="another picture, and other draws, in the preview"),
        Binding("ctrl+n", "start_beside", "Start beside", tooltip="start at once, beside the run on the device"),
        Binding(
            "f8", "scale_schedule", "Scale schedule", tooltip="milestones and warm-up in proportion to the epochs typed"
        ),
    ]

    class Looked(Message):
        """What was found in the background."""

        def __init__(self, found: Surroundings) -> None:
            self.found = found
            super().__init__()

    class Elsewhere(Message):
        """Which runs of other runs directories are on this machine's devices."""

        def __init__(self, runs: list[Run]) -> None:
            self.runs = runs
            super().__init__()

    def __init__(self, config: RunConfig | None = None) -> None:
        """Start from `config`, a run to clone, against its preset; or from the presets."""
        super().__init__(config)
        self._first_pane = "settings" if config is not None else "presets"
        self._runs: list[Run] = []
        self._elsewhere: list[Run] = []
        self._started_at = -START_PAUSE_SECONDS

    def compose(self) -> ComposeResult:
        """Top bar, panes, the difference and the start line, keys."""
        ascii_only = bool(getattr(self.app, "ascii_only", False))
        yield TopBar("new")
        presets = Vertical(
            Static("Presets", classes="heading"),
            PresetList(self._drafts.entries, ascii_only=ascii_only, id="presets"),
        )
        settings = Vertical(
            Static("Settings", classes="heading"),
            Static(id="problems", markup=False),
            ConfigForm(self.draft, ascii_only=ascii_only, id="form"),
            Static(id="help"),
        )
        outlook = Vertical(
            Static("What would happen", classes="heading"),
            OutlookPanel(self.draft.valid, ascii_only=ascii_only, id="outlook"),
        )
        yield Panes(presets, settings, outlook, self._first_pane)
        yield Static(id="difference")
        yield StartBar(ascii_only=ascii_only, id="start-bar")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the first draft and look around in the background."""
        self._runs = list(getattr(self.app, "runs", []))
        self.query_one("#problems").display = False
        self.query_one(PresetList).point_at(self._drafts.current)
        self._show_pane(self._first_pane, focus=True)
        self.show_draft()
        self.set_interval(CLOCK_SECONDS, self._clock)
        self.set_interval(ELSEWHERE_SECONDS, self._ask_elsewhere)
        self._ask_elsewhere()
        self._look_around(getattr(self.app, "data_dir", None))

    # What comes in: the feed's news and what the background worker found.

    def runs_listed(self, runs: list[Run]) -> None:
        """Earlier runs tell speeds; runs at work occupy devices."""
        self._runs = runs
        if self.is_mounted:
            self.show_outlook()

    @work(thread=True, group="look-around")
    def _look_around(self, data_dir: Path | None) -> None:
        """Pictures, GPUs, the data set."""
        found = look_around(data_dir)
        if not get_current_worker().is_cancelled:
            self.post_message(self.Looked(found))

    def _ask_elsewhere(self) -> None:
        """Only while the screen is seen."""
        runs_dir: Path | None = getattr(self.app, "runs_dir", None)
        if runs_dir is not None and self.is_seen:
            self._look_elsewhere(runs_dir)

    @work(thread=True, group="elsewhere", exclusive=True)
    def _look_elsewhere(self, runs_dir: Path) -> None:
        found = at_work_elsewhere(runs_dir)
        if not get_current_worker().is_cancelled:
            self.post_message(self.Elsewhere(found))

    def on_new_run_screen_elsewhere(self, message: Elsewhere) -> None:
        """Say it where it is news."""
        if message.runs != self._elsewhere:
            self._elsewhere = message.runs
            self.show_outlook()

    def on_new_run_screen_looked(self, message: Looked) -> None:
        """Show what was found."""
        found, panel = message.found, self.query_one(OutlookPanel)
        panel.data_problem = found.data_problem
        panel.take_images(found.pictures, found.pictures_problem)
        self.query_one(StartBar).take_gpus(found.gpus, found.slurm)
        self.show_outlook()

    @on(OptionList.OptionSelected, "#presets")
    def _preset_selected(self) -> None:
        """Enter goes on to the form."""
        self._show_pane("settings", focus=True)

    def on_resize(self) -> None:
        """Arrange the panes for the terminal; what is said of the draft fits its lines."""
        self._arrange()
        self.show_draft()

    def _arrange(self) -> None:
        width, height = self.size
        self.query_one(Panes).arrange_for(self.size)
        self.query_one("#help").display = height >= HELP_FROM
        self.query_one(PresetList).fit(one_line=MEDIUM_FROM <= width < WIDE_FROM, whole_lines=width >= WIDE_FROM)

    # Starting.

    @on(StartBar.Pressed)
    def action_start(self) -> None:
        """Ask the app to start the run in its turn on the device; where anything is wrong, go to it instead."""
        self._start(queue=True)

    def action_start_beside(self) -> None:
        """Ask the app to start the run at once, beside whatever is on the device."""
        self._start(queue=False)

    def _start(self, queue: bool) -> None:
        self.query_one(ConfigForm).take_in()
        draft, bar = self.draft, self.query_one(StartBar)
        if draft.config is None:
            self.refuse("Cannot start")
            wrong = next(iter(draft.field_errors), next(iter(sorted(draft.involved)), ""))
            if wrong:
                self._show_pane("settings")
                self.query_one(ConfigForm).focus_field(wrong)
            return
        if bar.slurm and not queue:
            self.notify("Slurm says when a job starts; ^s submits it.")
            return
        if monotonic() - self._started_at >= START_PAUSE_SECONDS:
            self._started_at = monotonic()
            self.post_message(StartRequested(draft.config, bar.device, queue, bar.count, bar.slurm))

    @on(StartBar.DeviceChanged)
    def show_outlook(self) -> None:
        """The panel and the start line for the draft, the device and the runs there are."""
        draft, bar = self.draft, self.query_one(StartBar)
        bar.show(draft.problems, self._runs, self._elsewhere)
        device = "slurm" if bar.slurm else bar.device
        known = self.known(draft.valid, device)
        forecast = Forecast(
            device=device,
            gpus=bar.count,
            memory_total=bar.memory_total,
            known=known,
            earlier=earlier_run(draft.valid, device, self._runs, bool(bar.gpus)),
        )
        self.query_one(Panes).tell(news_in_words(known))
        self.query_one(OutlookPanel).show(draft.valid, forecast, stale=draft.config is None)

    def _clock(self) -> None:
        """Time has gone by: a run started now would end later."""
        if self.is_seen:
            self.show_outlook()

    def action_measure(self) -> None:
        """Start a calibration of the draft, or end the one at work."""
        self.query_one(ConfigForm).take_in()
        if self.draft.config is None and not self.measuring:
            self.refuse("Only valid settings can be measured")
            return
        bar = self.query_one(StartBar)
        busy = run_on(bar.device, [*self._runs, *self._elsewhere], bool(bar.gpus))
        data_dir = getattr(self.app, "data_dir", None)
        self.measure(self.draft.valid, bar.device, data_dir, busy.name if busy else "")

    def measuring_changed(self) -> None:
        """Show what is known of the speed."""
        self.show_outlook()

    # Panes and leaving.

    def action_next_pane(self) -> None:
        """The focus to the next pane."""
        self._show_pane(self.query_one(Panes).next, focus=True)

    @on(PaneTabs.Chosen)
    def _pane_chosen(self, event: PaneTabs.Chosen) -> None:
        self._show_pane(event.name, focus=True)

    def _show_pane(self, name: str, focus: bool = False) -> None:
        """Bring a pane to the front (where only one is shown) and, if asked, the focus into it."""
        self.query_one(Panes).show(name)
        if focus:
            self.call_after_refresh(self._focus_pane, name)

    def _focus_pane(self, name: str) -> None:
        """The focus into a pane, on the field that had it last, unless another was brought to the front since."""
        if name != self.query_one(Panes).active:
            return
        if name == "settings":
            form = self.query_one(ConfigForm)
            form.focus_field(form.last_key)
        else:
            self.query_one("#presets" if name == "presets" else "#outlook").focus()

    def action_reroll(self) -> None:
        """Another picture in the preview."""
        self.query_one(OutlookPanel).reroll()

    def action_back(self) -> None:
        """Leave; the app may keep the screen with what was typed."""
        self.dismiss()
