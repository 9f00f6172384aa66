"""The one-line tabs of the New run screen where only one of its panes fits at a time."""

from __future__ import annotations

from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Pane(NamedTuple):
    """A pane: its name and its title."""

    name: str
    title: str


PANES = (Pane("presets", "Presets"), Pane("settings", "Settings"), Pane("outlook", "What would happen"))


class PaneTabs(Widget):
    """Titles of the panes, the one on top marked; a click brings another to the front."""

    DEFAULT_CSS = "PaneTabs { height: 1; background: $boost; }"
    ALLOW_SELECT = False
    active = reactive("presets")

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

    def render(self) -> Content:
        """' Presets  Settings  What would happen ', and the key that goes on."""
        mark = "bold $block-cursor-blurred-foreground on $primary-muted"
        parts = [(f" {pane.title} ", mark if pane.name == self.active else "") for pane in PANES]
        return Content.assemble(" ", *parts, ("  ^t for the next", "$foreground-muted"))

    def on_click(self, event: events.Click) -> None:
        """Choose the tab that was clicked."""
        left = 1
        for pane in PANES:
            right = left + len(pane.title) + 2
            if left <= event.x < right:
                self.post_message(self.Chosen(pane.name))
            left = right
