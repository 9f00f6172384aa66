"""A DataTable one moves through by rows, in theme colours. Base of the tables of the Runs and Benchmarks screens."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from fmnist_tui.tui.theme_colors import theme_style


class RowTable(DataTable[Text]):
    """Cells are styled texts of their columns' widths; home and end go to the first and last row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_top", "First row", show=False, tooltip="the first row"),
        Binding("end", "scroll_bottom", "Last row", show=False, tooltip="the last row"),
        Binding("enter", "select_cursor", "Open", tooltip="open the run under the cursor"),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0, cursor_foreground_priority="renderable")

    def theme_style(self, name: str) -> Style:
        """A theme's colour as the style of a cell's text."""
        return theme_style(self.app, name)
