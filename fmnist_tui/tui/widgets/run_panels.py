"""The panels of the Run screen that are made of text: narration, events, log tail. Each has the look of a chart."""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Literal

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from fmnist_tui.tui.format import ASCII, UNICODE
from fmnist_tui.tui.notes import Note
from fmnist_tui.tui.remedies import APP
from fmnist_tui.tui.run_data import PlacedEvent

LOG_LINES = 200
"""Lines the log tail keeps; the whole log has its own screen."""
_LOOKS: dict[str, tuple[str, str, str]] = {
    "error": ("×", "x", "bold $text-error"),
    "warning": ("▲", "!", "bold $text-warning"),
    "good": ("✓", "+", "bold $text-success"),
    "info": ("·", "-", "bold $text-primary"),
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
                border-title-align: left; padding: 0 1; }
    TextPanel:focus { border-top: solid $primary; }
    #panel-log > Static { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, title: str, empty: str, kind: Literal["events", "log"]) -> None:
        super().__init__(id=f"panel-{kind}")
        self.border_title = title
        self._empty = empty
        self._version: object = None
        self._body = Static(empty, markup=False)

    def compose(self) -> Iterable[Widget]:
        """The lines."""
        yield self._body

    def write(self, version: object, content: Callable[[], Content | None]) -> None:
        """Show what `content` gives (None: there is nothing), where `version` is another than the last time."""
        if version == self._version:
            return
        self._version = version
        at_end = self.scroll_offset.y >= self.max_scroll_y
        self._body.update(content() or self._empty)
        if at_end:
            self.scroll_end(animate=False)


def events_text(events: Sequence[PlacedEvent]) -> Content | None:
    """A line for each event: local time, epoch, what, and its sentence."""
    parts: list[tuple[str, str]] = []
    for event in events:
        record = event.record
        parts += [
            ("\n" if parts else "", ""),
            (f"{local_time(record.time)}  ", "$foreground 65%"),
            (f"epoch {record.epoch:<5}", "$foreground 65%"),
            (f"{record.event:<8}", "bold " + _EVENT_LOOKS.get(record.event, "$text-primary")),
            (f" {record.told(APP)}", ""),
        ]
    return Content.assemble(*parts) if parts else None


def local_time(timestamp: str) -> str:
    """A record's timestamp as hours and minutes here."""
    return f"{datetime.fromisoformat(timestamp).astimezone():%H:%M}"


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

    def text(self) -> Content | None:
        """All that is kept."""
        return Content("\n".join(self._lines)) if self._lines else None
