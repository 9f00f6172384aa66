"""The report as GitHub-flavoured Markdown whose source reads well too: its columns are aligned."""

from __future__ import annotations

import re

from rich.cells import cell_len

from fmnist_tui.report.blocks import Block, Code, Heading, Items, Paragraph, Table
from fmnist_tui.report.words import one_line


def write(blocks: list[Block]) -> str:
    """Markdown text that ends in a newline."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {escape(block.text)}"
    if isinstance(block, Items):
        return "\n".join(f"- {escape(text)}" for text in block.texts)
    if isinstance(block, Table):
        return _table(block)
    assert isinstance(block, Paragraph), block
    return " ".join(f"`{part}`" if isinstance(part, Code) else escape(part) for part in block.parts)


def _table(table: Table) -> str:
    headings = [escape(column.heading) for column in table.columns]
    rows = [[escape(cell) for cell in row] for row in table.rows]
    widths = [max(3, *map(cell_len, cells)) for cells in zip(headings, *rows, strict=True)]
    numeric = [column.numeric for column in table.columns]
    rule = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
    lines = [headings, rule, *rows]
    return "\n".join("| " + " | ".join(map(_pad, line, widths, numeric)) + " |" for line in lines)


def _pad(text: str, width: int, right: bool) -> str:
    fill = " " * (width - cell_len(text))
    return fill + text if right else text + fill


def escape(text: str) -> str:
    """Text as Markdown that shows just this text on one line, also inside a table.

    What means nothing in Markdown is left readable: the underscore inside a word (`batch_size`), brackets that
    are no link (`[60, 120]`: the report defines no link targets), a lone `&`.
    """
    text = re.sub(r"([\\`*|~]|\](?=[(\[:]))", r"\\\1", one_line(text))
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    return text.replace("<", "&lt;")
