"""What a report is made of: headings, paragraphs, tables and lists of plain text.

Markdown and HTML are written from the same blocks. A block holds text as it is; the writers escape it.
"""

from __future__ import annotations

from dataclasses import dataclass


class Code(str):
    """Text to be typed as it stands."""


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int


@dataclass(frozen=True)
class Paragraph:
    """A paragraph: sentences and Code, with a space between one and the next."""

    parts: tuple[str, ...]

    @classmethod
    def of(cls, *parts: str) -> Paragraph:
        """A paragraph of these parts."""
        return cls(parts)


@dataclass(frozen=True)
class Items:
    """An unordered list."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether it holds numbers (then its cells stand to the right)."""

    heading: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table; every row has a cell for each column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Items | Table
