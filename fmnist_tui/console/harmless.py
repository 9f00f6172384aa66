"""A Rich console whose text can't steer the terminal. Made by `output.console`; here because Rich is imported late."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from fmnist_tui.wording import without_controls


class HarmlessConsole(Console):
    """Prints every text without control characters; colours and the live display are Rich's own and stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Rich does; all that is printed comes through here."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                segment = Segment(without_controls(segment.text), segment.style)
            yield segment
