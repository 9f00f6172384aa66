"""The presets to start from, with a line on each and where it comes from. The New run screen shows it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from fmnist_tui.tui.drafts import PresetEntry
from fmnist_tui.tui.format import shorten

ONE_LINE_FROM = 52
"""Columns from which a preset takes one line where lines are scarce."""


class PresetList(OptionList):
    """One option a preset; an edited one is marked."""

    DEFAULT_CSS = """
    PresetList { border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1; }
    PresetList:focus { border: none; background-tint: $foreground 0%; }
    PresetList > .option-list--option-highlighted { background: $panel; color: $foreground; text-style: none; }
    PresetList:focus > .option-list--option-highlighted { background: $primary-muted; color: $foreground; }
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

    def fit(self, *, one_line: bool, whole_lines: bool) -> None:
        """Choose how much is said of each preset; see the two attributes."""
        if (one_line, whole_lines) != (self.compact_lines, self.whole_lines):
            self.compact_lines, self.whole_lines = one_line, whole_lines
            self.redraw()

    def show(self, entries: Sequence[PresetEntry]) -> None:
        """List these presets."""
        self.entries = list(entries)
        self.clear_options()
        self.add_options(Option(self._prompt(e), id=e.name, disabled=e.config is None) for e in self.entries)

    def point_at(self, name: str) -> None:
        """Put the highlight on a preset, without a message."""
        with self.prevent(OptionList.OptionHighlighted):
            self.highlighted = next(index for index, entry in enumerate(self.entries) if entry.name == name)

    def scroll_to_highlight(self, top: bool = False) -> None:
        """Scroll to the highlighted preset, and beyond the last usable one to those that can't be used.

        They can't be highlighted, and what is wrong with them was out of every key's reach.
        """
        if self.highlighted is not None:
            if not any(entry.config for entry in self.entries[self.highlighted + 1 :]):
                self.scroll_end(animate=False, immediate=True)
            elif not any(entry.config for entry in self.entries[: self.highlighted]):
                self.scroll_home(animate=False, immediate=True)
        super().scroll_to_highlight(top)

    def mark_edited(self, edited: set[str]) -> None:
        """Show which presets have edits."""
        if edited != self.edited:
            self.edited = edited
            self.redraw()

    def redraw(self) -> None:
        """Write every line anew for the width and the marks there are."""
        for index, entry in enumerate(self.entries[: self.option_count]):
            self.replace_option_prompt_at_index(index, self._prompt(entry))

    def _prompt(self, entry: PresetEntry) -> Content:
        mark = "* " if entry.name in self.edited else "  "
        if not (there := self.scrollable_content_region.width):
            return Content.styled(mark + entry.name, "bold")  # the rest is for a width: it comes with the first layout
        width = max(20, there)
        origin = entry.origin
        more = "~" if self.ascii_only else "…"
        faint = "$text-error" if entry.problem else "$foreground-muted"
        if self.compact_lines and width >= ONE_LINE_FROM:
            name_width = min(width * 2 // 5, max(len(other.name) for other in self.entries))
            said = f" {origin}" if origin != "shipped" else ""  # most are; the line on the preset needs the room
            room = width - name_width - 5 - len(said)
            name = mark + shorten(entry.name, name_width, more).ljust(name_width)
            about = shorten(entry.about, room, more).ljust(room)
            return Content.assemble((name, "bold"), "  ", (about, faint), (said, "$foreground-muted"))
        room = width - 3
        name = mark + shorten(entry.name, room - len(origin) - 1, more)
        gap = " " * max(1, width - 1 - len(name) - len(origin))
        lines = textwrap.wrap(entry.about, room) if self.whole_lines else [shorten(entry.about, room, more)]
        text = "".join(f"\n  {line}" for line in lines)
        return Content.assemble((name, "bold"), (gap + origin, "$foreground-muted"), (text, faint))
