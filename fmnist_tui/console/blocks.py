"""The report's blocks on a console: paragraphs, lists and tables. Called by `bench`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from fmnist_tui.report import blocks as b

if TYPE_CHECKING:
    from rich.console import Console


def print_blocks(blocks: Iterable[b.Block], console: Console) -> None:
    """Print them one below the other, an empty line between."""
    for number, block in enumerate(blocks):
        if number:
            console.print()
        if isinstance(block, b.Table):
            console.print(_table(block))
        elif isinstance(block, b.Items):
            for text in block.texts:
                console.print(Text(f"- {text}"))
        elif isinstance(block, b.Heading):
            console.print(Text(block.text, style="bold"))
        else:
            console.print(Text(" ".join(block.parts), style="dim"))


def _table(block: b.Table) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(block.columns):
        table.add_column(column.heading, justify="right" if column.numeric else "left", no_wrap=number == 0)
    for row in block.rows:
        table.add_row(*map(Text, row))
    return table
