"""Lines of a log, none wider than the screen. The Log screen shows what a worker wrote in one."""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells
from textual import events
from textual.widgets import Log

TAB = 8
"""Cells between tab stops, as Log draws them."""


class WrappedLog(Log):
    """Cuts lines that are too wide into several, anew when the terminal has another width."""

    DEFAULT_CSS = """
    WrappedLog { overflow-x: hidden; overflow-y: scroll; }
    """

    def __init__(self, most: int) -> None:
        super().__init__(auto_scroll=True)
        self._whole: deque[str] = deque(maxlen=most)
        self._wrapped_at = 0
        self._follows = True

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Remember whether the end is in view: a resize moves the end away, without a scroll."""
        super().watch_scroll_y(old_value, new_value)
        self._follows = self.is_vertical_scroll_end

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written."""
        return not self._whole

    def add(self, lines: Iterable[str]) -> None:
        """Write lines below the others, of which the oldest go where there are too many."""
        new = [part for line in lines for part in line.splitlines() or [""]]
        at_most = self._whole.maxlen or 0
        full = len(self._whole) + len(new) > at_most
        self._whole.extend(new)
        if full:
            self._fill()
        elif self._wrapped_at:
            self.write_lines(self._parts(new))

    def empty(self) -> None:
        """Forget every line."""
        self._whole.clear()
        self.clear()

    def on_resize(self, event: events.Resize) -> None:
        """Wrap at the new width; who follows the end still does."""
        if self.scrollable_content_region.width != self._wrapped_at:
            self._wrapped_at = self.scrollable_content_region.width
            self._fill()
        elif self._follows:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def _fill(self) -> None:
        """Write every line anew, and stay as far from the beginning as before, or at the end."""
        if not self._wrapped_at:
            return
        follows, share = self._follows, self.scroll_y / max(1, self.line_count)
        self.clear()
        self.write_lines(self._parts(self._whole), scroll_end=False)
        if follows:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        else:
            self.scroll_to(y=round(share * self.line_count), animate=False, immediate=True)
        self._follows = follows

    def _parts(self, lines: Iterable[str]) -> Iterable[str]:
        width = max(1, self._wrapped_at)
        for line in lines:
            yield from (part + "\n" for part in wrapped(line.expandtabs(TAB), width))


def wrapped(text: str, width: int) -> list[str]:
    """A line as lines of at most `width` cells, parted between words; where characters may be wide, anywhere."""
    if cell_len(text) <= width:
        return [text]
    if text.isascii():
        return textwrap.wrap(text, width, replace_whitespace=False, break_on_hyphens=False) or [""]
    return chop_cells(text, width)
