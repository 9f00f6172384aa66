"""One field of the configuration form: mark, label, input, and beside it the unit and bounds or what is wrong.

`widgets.form` makes a row for every field of a configuration. A row draws everything but its text input itself,
so that a form of fifty fields is some seventy widgets and opens at once.
"""

from __future__ import annotations

import textwrap
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from fmnist_tui.fields import FieldSpec
from fmnist_tui.tui.draft import Raw, input_kind, takes_none

LABEL_WIDTH, INPUT_WIDTH, WIDE_INPUT = 22, 14, 19
"""Columns of the label with its mark, of an input, and of one for a list or for words to choose from."""
LEAST_NOTE, BELOW = 12, 2
"""Columns an error needs beside the input; where there are fewer it stands below, from this column on."""
MAX_TEXT = 200
"""Characters an input takes; no field needs more, and a pasted book is refused."""


def hints_of(spec: FieldSpec, ascii_only: bool) -> tuple[str, str, str]:
    """Unit and bounds beside the input, 'epochs 1 <= x <= 100,000'; the bounds and the unit for where only one fits."""
    bounds = spec.bounds if ascii_only else spec.bounds.replace("<=", "≤")
    words = ", ".join(spec.choices) if input_kind(spec) == "number" else ""
    unit = "" if spec.unit == "x" else spec.unit  # a factor; the bounds have an x of their own
    values = " or ".join(part for part in (words, bounds) if part)
    return " ".join(part for part in (unit, values) if part), values, unit


class FieldRow(Widget):
    """What the kinds of rows share: TextRow, ToggleRow and `choice_row.ChoiceRow`."""

    DEFAULT_CSS = """
    FieldRow { width: 1fr; height: auto; text-wrap: nowrap; }
    FieldRow Input.-textual-compact { margin-left: 22; width: 14; padding: 0 1; background: $surface; }
    FieldRow.-list Input.-textual-compact { width: 19; }
    FieldRow Input.-textual-compact:focus { background: $primary-muted; background-tint: $foreground 0%; }
    FieldRow.-text Input.-textual-compact { width: 1fr; }
    """
    ALLOW_SELECT = False
    input_width = INPUT_WIDTH

    class Edited(Message):
        """Something was typed or chosen."""

        def __init__(self, row: FieldRow, raw: Raw) -> None:
            self.row = row
            self.raw = raw
            super().__init__()

    class Focused(Message):
        """The row got the focus."""

        def __init__(self, row: FieldRow) -> None:
            self.row = row
            super().__init__()

    def __init__(self, spec: FieldSpec, family: str, ascii_only: bool) -> None:
        super().__init__(classes=f"-{input_kind(spec)}")
        self.spec = spec
        self.family = family
        """The model family whose field it is, '' for a field of all."""
        self.ascii_only = ascii_only
        self.changed = False
        """Whether it is marked as not the preset's."""
        self.error = ""
        """What is shown to be wrong, '' where nothing is."""
        self.involved = False
        """Whether an error about several fields speaks of it."""
        self._label = spec.key.rpartition(".")[2].replace("_", " ")
        self._hints = hints_of(spec, ascii_only)

    @property
    def key(self) -> str:
        """The dotted key."""
        return self.spec.key

    @property
    def raw(self) -> Raw:
        """What the input holds."""
        raise NotImplementedError

    @property
    def target(self) -> Widget:
        """What takes the focus."""
        return self

    def put(self, raw: Raw) -> None:
        """Show a value without saying that it was edited."""
        raise NotImplementedError

    def mark(self, changed: bool, error: str, involved: bool) -> None:
        """Show whether the value is not the preset's, and what is wrong with it."""
        if (changed, error, involved) != (self.changed, self.error, self.involved):
            layout = error != self.error
            self.changed, self.error, self.involved = changed, error, involved
            self.refresh(layout=layout)

    @property
    def _beside(self) -> int:
        """Column at which the hint begins."""
        return LABEL_WIDTH + self.input_width + 1

    def _notes(self, width: int) -> tuple[int, list[str]]:
        """The column they begin at, and as much of the hint as fits whole, or all lines of the error."""
        room = width - self._beside
        if not self.error:
            return self._beside, [next((hint for hint in self._hints if len(hint) <= room), "")]
        if room >= LEAST_NOTE:
            return self._beside, textwrap.wrap(self.error, room)
        return BELOW, ["", *textwrap.wrap(self.error, max(LEAST_NOTE, width - BELOW))]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """One line, or as many as the error takes."""
        return len(self._notes(width)[1])

    def render(self) -> Content:
        """All but a text input."""
        wrong = bool(self.error) or self.involved
        flag = "!" if wrong else "*" if self.changed else " "
        color = "$text-error" if wrong else "$text-warning" if self.changed else "$foreground"
        style = f"bold {color}" if self.target.has_focus else color
        column, (first, *rest) = self._notes(self.size.width)
        faint = "$text-error" if self.error else "$foreground-muted"
        label = f"{flag} {self._label}".ljust(LABEL_WIDTH)
        parts = [(label, style), *self._value_cells(), (f" {first}", faint)]
        parts += [(f"\n{'':{column}}{line}", faint) for line in rest]
        return Content.assemble(*parts)

    def _value_cells(self) -> list[tuple[str, str]]:
        """The input as text and styles; `input_width` columns."""
        return [(" " * self.input_width, "")]

    def _boxed(self, text: str) -> list[tuple[str, str]]:
        """A value in the look of an input."""
        focused = self.has_focus or self.has_focus_within
        return [(f" {text}".ljust(self.input_width), f"$foreground on {'$primary-muted' if focused else '$surface'}")]

    def on_focus(self) -> None:
        """Tell whose help to show."""
        self.post_message(self.Focused(self))

    def on_descendant_focus(self) -> None:
        """Tell whose help to show; the label is drawn anew."""
        self.refresh()
        self.post_message(self.Focused(self))

    def on_descendant_blur(self) -> None:
        """The label is drawn anew."""
        self.refresh()


class TextRow(FieldRow):
    """A text, a number or a list of numbers."""

    def __init__(self, spec: FieldSpec, family: str, raw: Raw, ascii_only: bool) -> None:
        super().__init__(spec, family, ascii_only)
        kind = input_kind(spec)
        self.input_width = WIDE_INPUT if kind == "list" else INPUT_WIDTH
        placeholder = "none" if takes_none(spec) or kind == "list" else ""
        self.input = Input(str(raw), placeholder=placeholder, compact=True, max_length=MAX_TEXT)

    def compose(self) -> ComposeResult:
        """The input, over the place the row leaves for it."""
        yield self.input

    def on_mount(self) -> None:
        """Show where a long text begins."""
        self.call_after_refresh(self._rewind)

    def on_descendant_blur(self) -> None:
        """The label is drawn anew, and the text from its beginning."""
        self.refresh()
        self._rewind()

    def _rewind(self) -> None:
        """A text nobody is typing in is shown from its beginning."""
        if not self.input.has_focus:
            self.input.cursor_position = 0

    @property
    def raw(self) -> Raw:
        """The text."""
        return self.input.value

    @property
    def target(self) -> Widget:
        """The input."""
        return self.input

    def put(self, raw: Raw) -> None:
        """An input that has the text already is left alone, with its cursor."""
        if self.input.value != raw:
            with self.input.prevent(Input.Changed):
                self.input.value = str(raw)
            self.call_after_refresh(self._rewind)

    def _notes(self, width: int) -> tuple[int, list[str]]:
        """Below the input where that takes the whole width, else beside it."""
        if input_kind(self.spec) != "text":
            return super()._notes(width)
        room = max(LEAST_NOTE, width - self._beside)
        return self._beside, ["", *(textwrap.wrap(self.error, room) if self.error else [])]

    @property
    def _beside(self) -> int:
        return LABEL_WIDTH + 1 if input_kind(self.spec) == "text" else super()._beside

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        """Pass the edit on; one that is out of date (another value was put there since) is dropped."""
        event.stop()
        if event.value == self.input.value:
            self.post_message(self.Edited(self, event.value))


class ToggleRow(FieldRow, can_focus=True):
    """On or off, in words, so that it reads without colour too."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space,enter", "toggle_value", "Toggle", show=False)]

    def __init__(self, spec: FieldSpec, family: str, raw: Raw, ascii_only: bool) -> None:
        super().__init__(spec, family, ascii_only)
        self._on = bool(raw)

    @property
    def raw(self) -> Raw:
        """Whether it is on."""
        return self._on

    def put(self, raw: Raw) -> None:
        """Show on or off."""
        self._on = bool(raw)
        self.refresh()

    def _value_cells(self) -> list[tuple[str, str]]:
        return self._boxed("[x] on" if self._on else "[ ] off")

    def action_toggle_value(self) -> None:
        """Turn it over."""
        self.put(not self._on)
        self.post_message(self.Edited(self, self._on))

    def on_click(self, event: events.Click) -> None:
        """A click on the box turns it over."""
        if LABEL_WIDTH <= event.x < LABEL_WIDTH + self.input_width:
            self.action_toggle_value()
