"""The panels of the Run screen that are made of text: narration, events, log tail. Each has the look of a chart."""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Literal

from textual import events
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from fmnist_tui.tui.format import ASCII, UNICODE
from fmnist_tui.tui.notes import Note
from fmnist_tui.tui.remedies import APP
from fmnist_tui.tui.run_data import PlacedEvent
from fmnist_tui.tui.widgets.wrapped_log import wrapped

LOG_LINES = 200
"""Lines the log tail keeps; the whole log has its own screen."""
LEAST_HANGING = 30
"""Columns beside what an event is from which on its sentence stands there, not below."""
_LOOKS: dict[str, tuple[str, str, str]] = {
    "error": ("×", "x", "bold $text-error"),
    "warning": ("▲", "!", "bold $text-warning"),
    "good": ("✓", "+", "bold $text-success"),
    "info": ("·", "-", "bold $text-primary"),
    "comment": ("#", "#", "bold $text-accent"),
}
"""Glyph, ASCII glyph and its style by a note's level."""
_EVENT_LOOKS = {"warning": "$text-warning", "error": "$text-error", "finish": "$text-success"}


def narration_rows(
    notes: Sequence[Note], width: int, rows: int, ascii_only: bool = False
) -> list[tuple[str, str, str]]:
    """(glyph, its style, text) of each row: notes wrapped, as many as fit; an error that does not fit ends in …."""
    ellipsis = (ASCII if ascii_only else UNICODE).ellipsis
    wrapped = [textwrap.wrap(note.text, max(10, width - 4)) or [""] for note in notes[:rows]]
    found: list[tuple[str, str, str]] = []
    for at, (note, lines) in enumerate(zip(notes, wrapped, strict=False)):
        # What explains an end is followed by what to press: that keeps its row, however long the explanation.
        kept = 1 if at == 0 and note.level == "error" and len(wrapped) > 1 else 0
        room = rows - len(found) - kept
        if room <= 0 or (len(lines) > room and found and note.level != "error"):
            break
        if len(lines) > room:
            lines = [*lines[: room - 1], lines[room - 1][: width - 5].rstrip() + ellipsis]
        glyph, ascii_glyph, style = _LOOKS[note.level]
        for nth, line in enumerate(lines):
            found.append(((ascii_glyph if ascii_only else glyph) if nth == 0 else " ", style, line))
    return found


class Narration(Static):
    """What stands out, in words; as high as the screen gives it."""

    DEFAULT_CSS = """
    Narration { height: 1; width: 100%; color: $foreground; }
    """

    def __init__(self, ascii_only: bool) -> None:
        super().__init__(markup=False)
        self._ascii_only = ascii_only
        self._shown: tuple[object, ...] = ()

    def show(self, notes: Sequence[Note], most: int) -> None:
        """Show the notes in at most `most` rows; takes the rows it needs, at least one."""
        key = (tuple(notes), most, self.size.width)
        if key == self._shown or not self.size.width:
            return
        self._shown = key
        rows = narration_rows(notes, self.size.width, most, self._ascii_only)
        self.styles.height = max(1, len(rows))
        parts: list[tuple[str, str]] = []
        for glyph, style, text in rows:
            parts += [("\n" if parts else "", ""), (f" {glyph} ", style), (text, "")]
        self.update(Content.assemble(*parts))


class TextPanel(VerticalScroll):
    """Lines under a title; follows the end until one scrolls up."""

    DEFAULT_CSS = """
    TextPanel { width: 1fr; height: 1fr; scrollbar-size-vertical: 1; color: $foreground;
                border-top: solid $foreground 30%; border-title-color: $foreground; border-title-style: bold;
                border-title-align: left; padding: 0 1; scrollbar-gutter: stable; }
    TextPanel:focus { border-top: solid $primary; }
    """

    def __init__(self, title: str, empty: str, kind: Literal["events", "log"]) -> None:
        super().__init__(id=f"panel-{kind}")
        self.border_title = title
        self._empty = empty
        self._version: object = None
        self._content: Callable[[int], Content | None] = lambda width: None
        self._body = Static(empty, markup=False)

    def compose(self) -> Iterable[Widget]:
        """The lines."""
        yield self._body

    def write(self, version: object, content: Callable[[int], Content | None]) -> None:
        """Show what `content` gives for a width (None: there is nothing), where `version` is another than last time."""
        if version == self._version:
            return
        self._version, self._content = version, content
        self._fill()

    def on_resize(self, event: events.Resize) -> None:
        """Lines are broken anew for another width."""
        self._fill()

    def _fill(self) -> None:
        at_end = self.scroll_offset.y >= self.max_scroll_y
        self._body.update(self._content(self.scrollable_content_region.width) or self._empty)
        if at_end:
            self.scroll_end(animate=False)


def events_text(placed: Sequence[PlacedEvent], width: int) -> Content | None:
    """A line for each event: local time, epoch, what, and its sentence, which goes on under itself."""
    parts: list[tuple[str, str]] = []
    for event in placed:
        record = event.record
        time, epoch, what = f"{local_time(record.time)}  ", f"epoch {record.epoch:<5}", f"{record.event:<8} "
        before = len(time + epoch + what)
        hang = before if width - before >= LEAST_HANGING else len(time)
        lines = [line for text in record.told(APP).splitlines() for line in wrapped(text, max(8, width - hang))] or [""]
        if hang < before:  # too narrow beside: the sentence begins below
            lines.insert(0, "")
        parts += [
            ("\n" if parts else "", ""),
            (time + epoch, "$foreground 65%"),
            (what if lines[0] else what.rstrip(), "bold " + _EVENT_LOOKS.get(record.event, "$text-primary")),
            (f"\n{' ' * hang}".join(lines), ""),
        ]
    return Content.assemble(*parts) if parts else None


def local_time(timestamp: str) -> str:
    """A record's timestamp as hours and minutes here."""
    return f"{datetime.fromisoformat(timestamp).astimezone():%H:%M}"


LOG_HANG = "  "
"""Before the further parts of a line of the log."""


def _hanging(line: str, width: int, room: int) -> list[str]:
    """A line of the log in parts: the first as wide as the panel, the others as wide as `room`."""
    line = line.expandtabs()
    first, *rest = wrapped(line, max(8, width))
    return [first, *wrapped(line[len(first) :].lstrip(), room)] if rest else [first]


class LogTail:
    """The newest lines of the worker's log."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self.version = 0
        """Another number for other lines."""

    def extend(self, lines: Iterable[str], restarted: bool) -> None:
        """Take in new lines."""
        if restarted:
            self._lines.clear()
        self._lines.extend(lines)
        self.version += 1

    def text(self, width: int) -> Content | None:
        """All that is kept; what is too long for the width goes on a little further right."""
        if not self._lines:
            return None
        room = max(8, width - len(LOG_HANG))
        parts = (f"\n{LOG_HANG}".join(_hanging(line, width, room)) for line in self._lines)
        return Content("\n".join(parts))
