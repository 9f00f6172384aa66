"""A screen on which a configuration is edited: presets to choose from, their drafts, resets, saving as a preset.

A base of the New run screen, which composes the widgets spoken of here; what is typed lives in `tui.drafts`.
"""

from __future__ import annotations

from textual import on
from textual.content import Content
from textual.widgets import OptionList, Static

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.tui.draft import Draft
from fmnist_tui.tui.drafts import PresetDrafts
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.screens.save_preset import SavePresetDialog
from fmnist_tui.tui.widgets.form import ConfigForm, help_of
from fmnist_tui.tui.widgets.preset_list import PresetList

HELP_FROM = 16
"""Lines of the terminal from which there is room for a field's help, and for errors that speak of several fields."""


class DraftingScreen(FeedScreen):
    """Shows a draft and what is wrong with it; `show_outlook` is called whenever it has changed."""

    def __init__(self, config: RunConfig | None) -> None:
        super().__init__()
        self._drafts = PresetDrafts(config)

    def show_outlook(self) -> None:
        """To be overridden: show what would happen."""
        raise NotImplementedError

    @property
    def draft(self) -> Draft:
        """The configuration as it is edited now."""
        return self._drafts.draft

    def on_screen_resume(self) -> None:
        """Presets may have changed on disk while the user was elsewhere."""
        self._list_presets()

    # Presets and what is typed.

    @on(OptionList.OptionHighlighted, "#presets")
    def _preset_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Moving over a preset shows it; edits of the one left stay with it."""
        if event.option.id and self._drafts.choose(event.option.id):
            self._draft_replaced()

    def _draft_replaced(self) -> None:
        """Another draft, or the same changed otherwise than by typing."""
        self.query_one(ConfigForm).load(self.draft)
        self.show_draft()

    @on(ConfigForm.Changed)
    def show_draft(self) -> None:
        """Everything that follows from the draft."""
        draft = self.draft
        self.query_one(PresetList).mark_edited(self._drafts.edited)
        problems = self.query_one("#problems", Static)
        said = "\n".join(f"! {message}" for message in draft.cross_errors)
        if said != problems.content:
            problems.update(said)
        problems.display = bool(said) and self.size.height >= HELP_FROM
        self.show_difference()
        self.refresh_bindings()
        focused = self.query_one(ConfigForm).focused_key
        if focused:
            self._show_help(focused)
        self.show_outlook()

    @on(ConfigForm.FieldFocused)
    def _field_focused(self, event: ConfigForm.FieldFocused) -> None:
        if event.spec.key in self.draft.specs:  # else a preset of another family was chosen since
            self._show_help(event.spec.key)

    def _show_help(self, key: str) -> None:
        text = help_of(self.draft.specs[key], self.draft, self.query_one(ConfigForm).ascii_only)
        self.query_one("#help", Static).update(text, layout=False)

    def show_difference(self) -> None:
        """How the draft differs from its preset, as much of it as fits in a line."""
        count, changes = self._drafts.difference(self.size.width - 2, self.query_one(ConfigForm).ascii_only)
        line = Content.assemble((count, "bold" if changes else "$foreground-muted"), changes)
        self.query_one("#difference", Static).update(line, layout=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Resets are offered where there is something to reset."""
        if action not in ("reset_field", "reset_all") or not self.is_mounted:
            return True
        if action == "reset_all":
            return True if self.draft.edited else None
        key = self.query_one(ConfigForm).focused_key
        return True if key and self.draft.changed(key) else None

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
        self.query_one(ConfigForm).take_in()
        try:
            moved = self.draft.scaled()
        except ConfigError as error:
            self.notify(str(error.errors[0]), severity="error", markup=False)
            return
        if self.draft.config is None:
            self.refuse("Only valid settings can be scaled")
            return
        changes = {key: raw for key, raw in moved.items() if raw != self.draft.raw(key)}
        if not changes:
            epochs, planned = self.draft.config.training.epochs, self.draft.base.training.epochs
            why = "as the preset's" if epochs == planned else "the schedule fits it already"
            self.notify(f"Nothing to scale: training.epochs = {epochs}, {why}.", markup=False)
            return
        for key, raw in changes.items():
            self.draft.edit(key, raw)
        self._draft_replaced()

    # Saving.

    def action_save(self) -> None:
        """Ask for a name and save the draft as a preset."""
        self.query_one(ConfigForm).take_in()
        if self.draft.config is None:
            self.refuse("Only valid settings can be saved")
            return
        self.app.push_screen(SavePresetDialog(self.draft.config), self._saved)

    def _saved(self, name: str | None) -> None:
        """List the saved preset and go on with it."""
        if name is None:
            return
        self._list_presets(forget=name)
        if self._drafts.choose(name):
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

    def refuse(self, what: str) -> None:
        """Say that something can't be done with settings that are wrong."""
        self.notify(self.draft.problems[0], title=what, severity="error", markup=False)
