"""The dialog that saves a configuration as a preset of the user's own. The New run screen opens it."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from fmnist_tui import paths
from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.presets import PRESET_NAME, find_presets, save_preset

RULE = "1 to 64 of a to z, A to Z, digits, '-' and '_', not starting with '-' or '_'"

LOW = 16
"""On terminals lower than this the dialog has no room for empty lines."""


class SavePresetDialog(ModalScreen[str | None]):
    """Asks for a name and a line on the preset, saves it, and gives the name back; None where it was cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel"),
        Binding("ctrl+s", "save", "Save"),
    ]
    DEFAULT_CSS = """
    SavePresetDialog { align: center middle; }
    SavePresetDialog > Vertical {
        width: 64; max-width: 95%; height: auto; padding: 1 2; background: $surface; border: round $primary;
        border-title-color: $foreground; border-title-style: bold; border-subtitle-color: $foreground-muted;
    }
    SavePresetDialog > Vertical { max-height: 100%; overflow-y: auto; scrollbar-size-vertical: 1; }
    SavePresetDialog.-low > Vertical { max-width: 100%; padding: 0 1; }
    SavePresetDialog.-low #said { margin: 0; }
    SavePresetDialog Static { height: auto; }
    SavePresetDialog .label { color: $text-muted; }
    SavePresetDialog Input.-textual-compact { background: $panel; padding: 0 1; }
    SavePresetDialog Input.-textual-compact:focus { background: $primary-muted; background-tint: $foreground 0%; }
    SavePresetDialog #said { margin: 1 0; min-height: 2; color: $text-muted; }
    SavePresetDialog #said.-wrong { color: $text-error; }
    SavePresetDialog #said.-asks { color: $text-warning; }
    SavePresetDialog Horizontal { height: 1; align-horizontal: right; }
    SavePresetDialog Button { margin-left: 2; }
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.config = config
        self._asked_for = ""
        """The taken name that the user was asked about."""

    def compose(self) -> ComposeResult:
        """Two inputs, what is to be said about the name, two buttons."""
        with Vertical() as box:
            box.border_title, box.border_subtitle = "Save as a preset of your own", "enter saves, esc cancels"
            yield Static("Name", classes="label")
            yield Input(self.config.name.replace(" ", "-"), compact=True, max_length=80, id="name")
            yield Static("One line on it", classes="label")
            yield Input(self.config.description, compact=True, max_length=200, id="description")
            yield Static(id="said", markup=False)
            with Horizontal():
                yield Button("Cancel", compact=True, id="cancel")
                yield Button("Save", variant="primary", compact=True, id="save")

    def on_mount(self) -> None:
        """Look at the proposed name."""
        self._look()

    def on_resize(self, event: events.Resize) -> None:
        """On low terminals without empty lines."""
        self.set_class(event.size.height < LOW, "-low")

    @property
    def preset_name(self) -> str:
        """What was typed as the name."""
        return self.query_one("#name", Input).value.strip()

    @on(Input.Changed)
    def _look(self) -> None:
        """Say what would happen under the name typed so far."""
        name = self.preset_name
        if name != self._asked_for:
            self._asked_for = ""
        save, said = self.query_one("#save", Button), self.query_one("#said", Static)
        valid = bool(PRESET_NAME.fullmatch(name))
        save.disabled = not valid
        save.label = "Replace" if self._asked_for else "Save"
        said.set_class(not valid, "-wrong")
        said.set_class(bool(self._asked_for), "-asks")
        if self._asked_for:
            said.update(f"You have a preset {name} already. Press Replace (or Enter) to overwrite it.")
        else:
            said.update(self._about(name) if valid else f"A preset's name is {RULE}.")

    def _about(self, name: str) -> str:
        existing = find_presets().get(name)
        if existing is None:
            return f"Will be {paths.user_presets_dir() / name}.toml"
        return {
            "user": f"You have a preset {name} already; you will be asked before it is replaced.",
            "local": f"{existing.path} has this name and hides yours while you work in this directory.",
            "shipped": f"Yours will stand in place of the shipped {name}.",
        }[existing.origin]

    @on(Input.Submitted)
    @on(Button.Pressed, "#save")
    async def action_save(self) -> None:
        """Save it; a taken name is asked about first."""
        name = self.preset_name
        if not PRESET_NAME.fullmatch(name):
            return
        taken = (paths.user_presets_dir() / f"{name}.toml").exists()
        if taken and self._asked_for != name:
            self._asked_for = name
            self._look()
            return
        config = self.config.model_copy(update={"description": self.query_one("#description", Input).value})
        try:
            await asyncio.to_thread(save_preset, config, name, taken)
        except (ConfigError, OSError) as error:
            said = self.query_one("#said", Static)
            said.set_class(True, "-wrong")
            said.update(f"It could not be saved: {error}")
            return
        self.dismiss(name)

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.dismiss(None)
