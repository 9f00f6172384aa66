"""The presets to start from, with a line on each and where it comes from. The New run screen shows it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.presets import find_presets, load_preset
from fmnist_tui.tui.format import shorten

ONE_LINE_FROM = 52
"""Columns from which a preset takes one line where lines are scarce."""


@dataclass(frozen=True)
class PresetEntry:
    """A preset as the list shows it."""

    name: str
    origin: str
    """'shipped', 'user', 'local', or 'run' for a cloned run whose preset is gone."""
    config: RunConfig | None
    problem: str = ""
    """Why it cannot be used, where `config` is None."""

    @property
    def about(self) -> str:
        """One line on it."""
        return self.config.description if self.config else self.problem


def read_presets() -> list[PresetEntry]:
    """Every preset there is; one that is not valid is listed with what is wrong."""
    entries = []
    for name, file in find_presets().items():
        try:
            entries.append(PresetEntry(name, file.origin, load_preset(name)))
        except ConfigError as error:
            entries.append(PresetEntry(name, file.origin, None, str(error.errors[0])))
    return entries


class PresetList(OptionList):
    """One option a preset; an edited one is marked."""

    DEFAULT_CSS = """
    PresetList { border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1; }
    PresetList:focus { border: none; background-tint: $foreground 0%; }
    """

    def __init__(self, entries: Sequence[PresetEntry], *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.entries = list(entries)
        self.ascii_only = ascii_only
        self.edited: set[str] = set()
        self.compact_lines = False
        """Whether each preset must do with one line (where the list stands above the form)."""
        self.whole_lines = False
        """Whether the line on a preset may wrap (where the list has a column of its own)."""

    def on_mount(self) -> None:
        """Fill the list."""
        self.show(self.entries)

    def on_resize(self, event: events.Resize) -> None:
        """Fit the lines to the width."""
        self.redraw()

    def show(self, entries: Sequence[PresetEntry]) -> None:
        """List these presets."""
        self.entries = list(entries)
        self.clear_options()
        self.add_options(Option(self._prompt(e), id=e.name, disabled=e.config is None) for e in self.entries)

    def select_name(self, name: str) -> None:
        """Put the highlight on a preset; the screen hears of it as of any highlight."""
        self.highlighted = next(index for index, entry in enumerate(self.entries) if entry.name == name)

    def mark_edited(self, name: str, edited: bool) -> None:
        """Show whether the preset has unsaved edits."""
        if edited != (name in self.edited):
            (self.edited.add if edited else self.edited.discard)(name)
            self.redraw()

    def redraw(self) -> None:
        """Write every line anew for the width and the marks there are."""
        for index, entry in enumerate(self.entries[: self.option_count]):
            self.replace_option_prompt_at_index(index, self._prompt(entry))

    def _prompt(self, entry: PresetEntry) -> Content:
        width = max(20, self.scrollable_content_region.width)
        mark = "* " if entry.name in self.edited else "  "
        origin = entry.origin
        more = "~" if self.ascii_only else "…"
        faint = "$text-error" if entry.problem else "$foreground-muted"
        if self.compact_lines and width >= ONE_LINE_FROM:
            name_width = max(len(other.name) for other in self.entries)
            room = width - name_width - 5 - (len("shipped") + 1)
            name = mark + shorten(entry.name, name_width, more).ljust(name_width)
            about = shorten(entry.about, room, more).ljust(room)
            return Content.assemble((name, "bold"), "  ", (about, faint), (f" {origin:>7}", "$foreground-muted"))
        room = width - 3
        name = mark + shorten(entry.name, room - len(origin) - 1, more)
        gap = " " * max(1, width - 1 - len(name) - len(origin))
        lines = textwrap.wrap(entry.about, room) if self.whole_lines else [shorten(entry.about, room, more)]
        text = "".join(f"\n  {line}" for line in lines)
        return Content.assemble((name, "bold"), (gap + origin, "$foreground-muted"), (text, faint))
