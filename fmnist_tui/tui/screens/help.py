"""The help screen: every key of the screen one came from, and what that screen is for."""

from __future__ import annotations

import textwrap
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

HIDDEN = frozenset({"app.help_quit", "app.help"})
"""Actions that need no line: this screen itself, and Ctrl+C, which says how to leave."""
WIDTH, FRAME = 76, 5
"""Cells of the box (as in app.tcss), and those of its border, padding and scroll bar."""


class Key(NamedTuple):
    """A line of the list."""

    keys: str
    said: str
    enabled: bool


def keys_of(screen: Screen[object]) -> tuple[list[Key], list[Key]]:
    """The keys of a screen and those that work everywhere, each with what it does.

    Keys that Textual gives its own widgets (arrows, tab, editing) are left out: there are dozens.
    """
    here: dict[str, Key] = {}
    everywhere: dict[str, Key] = {}
    app = screen.app
    for node, binding, enabled, tooltip in screen.active_bindings.values():
        if not binding.description or binding.action in HIDDEN or _is_textuals(node, binding.action):
            continue
        group = everywhere if node is app or binding.action.startswith("app.go") else here
        key = app.get_key_display(binding)
        said = tooltip or binding.tooltip or binding.description
        before = group.get(binding.action)
        if before is None:
            group[binding.action] = Key(key, said, enabled)
        elif key not in before.keys.split():
            group[binding.action] = before._replace(keys=f"{before.keys} {key}")
    return list(here.values()), list(everywhere.values())


def _is_textuals(node: DOMNode, action: str) -> bool:
    """Whether the class that binds an action is one of Textual's own."""
    for kind in type(node).__mro__:
        for binding in kind.__dict__.get("BINDINGS", ()):
            if (binding.action if isinstance(binding, Binding) else binding[1]) == action:
                return kind.__module__.startswith("textual.")
    return False


class HelpScreen(ModalScreen[None]):
    """A box over the screen below; escape, enter, ? and q close it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,question_mark,f1", "dismiss(None)", "Close"),
    ]

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        self._about = (below.HELP or "").strip()
        self._here, self._everywhere = keys_of(below)

    def compose(self) -> ComposeResult:
        """What the screen is for, then its keys, then those of all screens."""
        with Vertical(classes="dialog -wide"), VerticalScroll(classes="dialog-scroll"):
            yield Static(id="help-text")

    def on_mount(self) -> None:
        """Write title and keys on the border."""
        box = self.query_one(".dialog")
        box.border_title, box.border_subtitle = "Keys", "arrows scroll, esc closes"

    def on_resize(self) -> None:
        """What a key does goes on under itself, not under the key: so it is wrapped here, for the width there is."""
        self.query_one("#help-text", Static).update(self._text(min(WIDTH, self.size.width) - FRAME))

    def _text(self, room: int) -> Content:
        parts: list[tuple[str, str]] = []
        if self._about:
            parts.append((self._about + "\n\n", "$foreground-muted"))
        width = max((len(key.keys) for key in (*self._here, *self._everywhere)), default=0)
        for title, keys in (("Here", self._here), ("Everywhere", self._everywhere)):
            if keys:
                parts.append((f"{title}\n", "bold"))
            for key in keys:
                parts.append((f"  {key.keys:<{width}}  ", "bold $primary" if key.enabled else "$foreground-disabled"))
                said = key.said + ("" if key.enabled else " (not now)")
                lines = textwrap.wrap(said, max(8, room - width - 4)) or [""]
                said = f"\n{'':{width + 4}}".join(lines)
                parts.append((f"{said}\n", "" if key.enabled else "$foreground-disabled"))
            parts.append(("\n", ""))
        parts.append(
            (
                "Runs are processes of their own: leaving the app, or losing the connection, stops none.",
                "$foreground-muted",
            )
        )
        return Content.assemble(*parts)
