"""The help screen: every key of the screen one came from, and what that screen is for."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

HIDDEN = frozenset({"app.help_quit", "app.quit", "screen.minimize", "screen.copy_text", "app.focus_next", "app.focus_previous"})
"""Actions everyone knows, or that have another key in the list."""


def keys_of(screen: Screen[object]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The active keys of a screen and those that work everywhere, each with what it does."""
    here: dict[str, tuple[str, str]] = {}
    everywhere: dict[str, tuple[str, str]] = {}
    app = screen.app
    for node, binding, enabled, tooltip in screen.active_bindings.values():
        if not enabled or not binding.description or binding.action in HIDDEN:
            continue
        group = everywhere if node is app or binding.action.startswith("app.") else here
        key = app.get_key_display(binding)
        said = tooltip or binding.tooltip or binding.description
        before = group.get(binding.action)
        group[binding.action] = (f"{before[0]} {key}" if before else key, said)
    return list(here.values()), list(everywhere.values())


class HelpScreen(ModalScreen[None]):
    """A box over the screen below; escape, enter, ? and q close it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,question_mark", "dismiss(None)", "Close", priority=True),
    ]

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        self._about = (below.HELP or "").strip()
        self._here, self._everywhere = keys_of(below)

    def compose(self) -> ComposeResult:
        """What the screen is for, then its keys, then those of all screens."""
        with Vertical(classes="dialog -wide"):
            with VerticalScroll(classes="dialog-scroll"):
                yield Static(self._text())
            yield Static("esc closes", classes="dialog-hint")

    def on_mount(self) -> None:
        """Write the title on the border."""
        self.query_one(".dialog").border_title = "Keys"

    def _text(self) -> Content:
        parts: list[tuple[str, str]] = []
        if self._about:
            parts.append((self._about + "\n\n", "$foreground-muted"))
        width = max((len(key) for key, _ in (*self._here, *self._everywhere)), default=0)
        for title, keys in (("Here", self._here), ("Everywhere", self._everywhere)):
            if keys:
                parts.append((f"{title}\n", "bold"))
            for key, said in keys:
                parts.append((f"  {key:<{width}}  ", "bold $primary"))
                parts.append((f"{said}\n", ""))
            parts.append(("\n", ""))
        parts.append(("Runs are processes of their own: leaving the app, or losing the connection, stops none.", "$foreground-muted"))
        return Content.assemble(*parts)
