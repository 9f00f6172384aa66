"""The one line of keys at the bottom of every screen. It never wraps: keys that do not fit are left out.

What is left out stands in the help screen (`?`), whose key is always shown.
"""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

LAST = ("app.help", "help", "app.detach", "detach")
"""Actions whose keys stand at the right end and are always shown."""


class KeyBar(Widget):
    """Shows the screen's active bindings (`show=True`), each as clickable 'key what'; disabled ones are left out."""

    DEFAULT_CSS = """
    KeyBar {
        dock: bottom;
        width: 100%;
        height: 1;
        background: $panel;
        color: $foreground;
    }
    """
    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        """Hear of every change of the active bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def on_unmount(self) -> None:
        """Stop hearing."""
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        if self.is_attached and screen is self.screen:
            self.refresh()

    def render(self) -> Content:
        """The keys that fit, the last ones at the right end."""
        shown: dict[str, Binding] = {}
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            if binding.show and enabled and (binding.action not in shown or shown[binding.action].priority):
                shown[binding.action] = binding  # q before ^q, which works everywhere
        right = [shown.pop(action) for action in LAST if action in shown]
        room = self.size.width - 1 - sum(len(self._label(binding)) for binding in right)
        left = []
        for binding in shown.values():
            needed = len(self._label(binding))
            if needed > room:
                break
            room -= needed
            left.append(binding)
        return self._assemble(left, right, max(0, room))

    def _label(self, binding: Binding) -> str:
        return f" {self.app.get_key_display(binding)} {binding.description} "

    def _assemble(self, left: list[Binding], right: list[Binding], gap: int) -> Content:
        parts: list[tuple[str, str]] = []
        self._spans = []
        at = 0
        for bindings, space in ((left, gap), (right, 0)):
            for binding in bindings:
                parts.append((f" {self.app.get_key_display(binding)} ", "bold $primary"))
                parts.append((f"{binding.description} ", ""))
                self._spans.append((at, at + len(self._label(binding)), binding.key))
                at += len(self._label(binding))
            parts.append((" " * space, ""))
            at += space
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked."""
        for start, end, key in self._spans:
            if start <= event.x < end:
                self.app.simulate_key(key)
