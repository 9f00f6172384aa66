"""The row of the configuration form for a field that takes one of a few words. `widgets.form` makes them."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from fmnist_tui.fields import FieldSpec
from fmnist_tui.tui.draft import Raw
from fmnist_tui.tui.widgets.field_row import LABEL_WIDTH, WIDE_INPUT, FieldRow


class ChoiceMenu(OptionList):
    """The values to choose from, over the form while it is open."""

    DEFAULT_CSS = """
    ChoiceMenu {
        overlay: screen; constrain: inside inflect; offset: 22 1; margin-bottom: 1; width: 19; height: auto;
        max-height: 8; background: $panel;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Close", show=False)]

    class Left(Message):
        """Nothing was chosen."""

    def action_leave(self) -> None:
        """Close it."""
        self.post_message(self.Left())

    def on_blur(self) -> None:
        """Close it when the focus goes elsewhere."""
        self.post_message(self.Left())


class ChoiceRow(FieldRow, can_focus=True):
    """One of a few words: left and right go through them, enter opens the list."""

    input_width = WIDE_INPUT
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Previous", show=False),
        Binding("right", "step(1)", "Next", show=False),
        Binding("space,enter", "open", "Choose", show=False),
    ]

    def __init__(self, spec: FieldSpec, family: str, raw: Raw, ascii_only: bool) -> None:
        super().__init__(spec, family, ascii_only)
        self._value = str(raw)
        self.choices = spec.choices

    @property
    def raw(self) -> Raw:
        """The chosen word."""
        return self._value

    def put(self, raw: Raw) -> None:
        """Show a choice."""
        self._value = str(raw)
        self.refresh()

    def _value_cells(self) -> list[tuple[str, str]]:
        arrow = "v" if self.ascii_only else "▾"
        return self._boxed(f"{self._value:<{self.input_width - 3}}{arrow}")

    def choose(self, value: str) -> None:
        """Take one of the choices and say so."""
        if value != self._value:
            self.put(value)
            self.post_message(self.Edited(self, value))

    def action_step(self, by: int) -> None:
        """The next or the previous choice; it stays at the ends."""
        at = self.choices.index(self._value) + by
        if 0 <= at < len(self.choices):
            self.choose(self.choices[at])

    async def action_open(self) -> None:
        """Open the list of choices."""
        if not self.query(ChoiceMenu):
            menu = ChoiceMenu(*(Option(f" {choice}", id=choice) for choice in self.choices), compact=True)
            menu.highlighted = self.choices.index(self._value)
            await self.mount(menu)
            menu.focus(scroll_visible=False)

    async def on_click(self, event: events.Click) -> None:
        """A click on the box opens the list."""
        if LABEL_WIDTH <= event.x < LABEL_WIDTH + self.input_width:
            await self.action_open()

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.focus()
        self.choose(self.choices[event.option_index])

    @on(ChoiceMenu.Left)
    async def _menu_left(self, event: ChoiceMenu.Left) -> None:
        event.stop()
        menu = self.query(ChoiceMenu)
        if menu and menu.first().has_focus:
            self.focus()
        await menu.remove()
