"""Names and values in two columns, long values wrapped below themselves. The New run screen's panel uses it."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.widgets import Static

from fmnist_tui.tui.forecast import Fact

NAME_WIDTH = 11


class Facts(Static):
    """A table without lines; laid out anew only when it grows or shrinks."""

    DEFAULT_CSS = "Facts { width: 1fr; height: auto; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._facts: Sequence[Fact] = ()
        self._lines = 0

    def show(self, facts: Sequence[Fact]) -> None:
        """Show these facts instead."""
        self._facts = facts
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """Wrap for the width there is."""
        self._draw()

    def _draw(self) -> None:
        width = max(16, (self.size.width or 58) - NAME_WIDTH)
        lines: list[Content] = []
        for fact in self._facts:
            value = Content.assemble(fact.value, (fact.about, "$foreground-muted"))
            for number, line in enumerate(value.wrap(width)):
                name = (fact.name if number == 0 else "").ljust(NAME_WIDTH)
                lines.append(Content.assemble((name, "bold"), line))
        self.update(Content("\n").join(lines), layout=len(lines) != self._lines)
        self._lines = len(lines)
