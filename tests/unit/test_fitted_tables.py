"""Tables that fit their terminal: which columns go, what is cut, and what is said of it."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from fmnist_tui.console.fitted import Column, FittedTable
from fmnist_tui.console.mistakes import _MatrixTable

COLUMNS = (
    Column("run"),
    Column("epoch", 3, right=True),
    Column("test %", 1, right=True),
    Column("what it is", 2, folds=True, least=10),
)
ROWS = (
    ("20261129-132502-quick-ab12", "8", "84.25", "a small network on the sample"),
    ("20261129-132503-wrn-cd34", "200", "95.00", "wide"),
)


def printed(what: RenderableType, width: int) -> list[str]:
    output = StringIO()
    Console(file=output, width=width).print(what)
    return [line.rstrip() for line in output.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (80, ["run", "epoch", "test %", "what it is"]),
        (53, ["run", "epoch", "test %", "what it is"]),
        (52, ["run", "test %", "what it is"]),
        (45, ["run", "test %"]),
        (34, ["run", "test %"]),
        (33, ["run"]),
    ],
)
def test_the_least_wanted_column_goes_first_and_nothing_passes_the_edge(width: int, titles: list[str]) -> None:
    table = FittedTable(COLUMNS, ROWS)
    lines = printed(table, width)
    assert [title for title in ("run", "epoch", "test %", "what it is") if title in lines[0]] == titles
    assert all(cell_len(line) <= width for line in lines)
    missing = [column.title for column in COLUMNS if column.title not in titles]
    assert table.left_out(width) == missing
    said = " ".join(lines).partition("Left out for want of room: ")[2]
    assert said == ", ".join(missing)


def test_a_column_that_folds_loses_no_word() -> None:
    lines = printed(FittedTable(COLUMNS, ROWS), 54)
    folded = " ".join(word for line in lines[1:] for word in line[43:].split())
    assert folded == "a small network on the sample wide"


def test_a_column_that_is_never_left_out_is_whole_though_it_passes_the_edge() -> None:
    table = FittedTable(COLUMNS, ROWS)
    assert table.left_out(10) == ["epoch", "test %", "what it is"]
    assert ROWS[0][0] in "".join(printed(table, 26))


def test_a_table_without_rows_has_its_titles() -> None:
    assert printed(FittedTable(COLUMNS, []), 80) == ["run  epoch  test %  what it is"]


def test_what_says_nothing_leaves_columns_out_in_silence() -> None:
    assert printed(FittedTable(COLUMNS, ROWS, says=False), 33) == ["run", ROWS[0][0], ROWS[1][0]]


def test_a_confusion_matrix_gives_up_its_tenths_before_its_cells() -> None:
    matrix = np.full((10, 10), 1) + np.diag([7] * 9 + [991])
    wide, narrow = printed(_MatrixTable(matrix), 68), printed(_MatrixTable(matrix), 40)
    assert wide[1].split() == ["T-shirt", "47.1", *["5.9"] * 9]
    assert narrow[1].split() == ["T-shirt", "47", *["6"] * 9]
    assert wide[10].split()[-1] == "99.1" and narrow[10].split()[-1] == "99"
    assert "…" not in "".join([*wide, *narrow]) and all(len(line) <= 40 for line in narrow)
    certain = np.diag([5] * 10)
    assert {line.split()[at] for at, line in enumerate(printed(_MatrixTable(certain), 68)[1:], 1)} == {"100.0"}
    assert {line.split()[at] for at, line in enumerate(printed(_MatrixTable(certain), 48)[1:], 1)} == {"100"}
