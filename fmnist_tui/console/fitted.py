"""Tables that fit their terminal: the least wanted columns are left out where it is narrow, none is cut to nothing.

Used by every command that lists runs or figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

GAP = 2
SHORTEST = 13
"""Cells to which a wide column is cut before any is left out: room for '1 h 12 m left' and '… queued, 2nd'."""


class Column(NamedTuple):
    """A column of a fitted table."""

    title: str
    rank: int = 0
    """The higher, the sooner it is left out; columns of rank 0 are neither left out nor cut."""
    right: bool = False
    folds: bool = False
    """Whether a text that is too long goes on in a line below, instead of being cut."""
    least: int = SHORTEST
    """Cells below which it is left out rather than cut further."""


class _Fit(NamedTuple):
    columns: list[int]
    """The columns there is room for, by their places."""
    widths: list[int]
    """Their widths in cells."""


@dataclass(frozen=True)
class FittedTable:
    """A table as wide as what prints it has room for; below it stands what was left out, where `says` that."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Text]]
    says: bool = True

    def left_out(self, width: int) -> list[str]:
        """The titles of the columns that have no room at this width."""
        shown = self._fit(width).columns
        return [column.title for at, column in enumerate(self.columns) if at not in shown]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fit = self._fit(options.max_width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
        for at, cells in zip(fit.columns, fit.widths, strict=True):
            column = self.columns[at]
            justify: Literal["left", "right"] = "right" if column.right else "left"
            overflow: Literal["fold", "ellipsis"] = "fold" if column.folds else "ellipsis"
            no_wrap = not column.folds
            table.add_column(column.title, justify=justify, no_wrap=no_wrap, overflow=overflow, max_width=cells)
        for row in self.rows:
            table.add_row(*(row[at] for at in fit.columns))
        yield table
        if self.says and (missing := self.left_out(options.max_width)):
            yield Text(f"Left out for want of room: {', '.join(missing)}", style="dim")

    def _fit(self, width: int) -> _Fit:
        needed = [
            max([cell_len(column.title), *(cell_len(str(row[at])) for row in self.rows)])
            for at, column in enumerate(self.columns)
        ]
        shown = list(range(len(self.columns)))
        while (widths := self._widths(shown, needed, width)) is None:
            last = max(shown, key=lambda at: (self.columns[at].rank, at))
            if self.columns[last].rank == 0:
                return _Fit(shown, [needed[at] for at in shown])
            shown.remove(last)
        return _Fit(shown, widths)

    def _widths(self, shown: Sequence[int], needed: Sequence[int], width: int) -> list[int] | None:
        """The widths of these columns, cut as far as they must; None where that is not enough."""
        columns = [self.columns[at] for at in shown]
        least = [min(needed[at], self.columns[at].least) if self.columns[at].rank else needed[at] for at in shown]
        widths = [
            min(needed[at], max(width, column.least)) if column.rank else needed[at]
            for at, column in zip(shown, columns, strict=True)
        ]
        for _ in range(sum(widths) + GAP * (len(widths) - 1) - width):
            widest = max(range(len(widths)), key=lambda at: widths[at] - least[at])
            if widths[widest] == least[widest]:
                return None
            widths[widest] -= 1
        return widths
