"""A DataTable one moves through by rows, in theme colours. Base of the tables of the Runs and Benchmarks screens."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.widgets import DataTable


class RowTable(DataTable[Text]):
    """Cells are styled texts of their columns' widths; home and end go to the first and last row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_top", "First row", show=False, tooltip="the first row"),
        Binding("end", "scroll_bottom", "Last row", show=False, tooltip="the last row"),
        Binding("enter", "select_cursor", "Open", tooltip="open the run under the cursor"),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0, cursor_foreground_priority="renderable")

    def theme_color(self, name: str) -> str:
        """A theme's colour as Rich takes it; a translucent one as it looks on the background."""
        variables = self.app.theme_variables
        color = Color.parse(variables[name])
        return (Color.parse(variables["background"]) + color).hex6 if color.a < 1 else color.hex6
