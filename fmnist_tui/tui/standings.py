"""The benchmark table as the Benchmarks screen shows it: lines of cells, and which columns fit a width.

Pure functions over `report.rows`; called by `screens.benchmarks`. The exported report is the report's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fmnist_tui import presets
from fmnist_tui.config import Reference
from fmnist_tui.report import tables
from fmnist_tui.report.rows import Benchmarks, Row
from fmnist_tui.report.words import duration, percent, signed, speed

Kind = Literal["section", "row", "reference"]
SECTIONS = (
    ("full", "custom", "Full data, custom split (30,000 / 40,000), as the reference"),
    ("full", "standard", "Full data, standard split (60,000 / 10,000)"),
    ("sample", "", "Sample data: for trying things, comparable with nothing above"),
)
TO_BEAT = "To beat: 2018, one GTX 1080 Ti, best over all epochs; times are estimates"


class Line(NamedTuple):
    """A line of the table: a section's title (in `cells['model']`), a row of ours, or a reference row."""

    kind: Kind
    cells: dict[str, str]
    run_id: str = ""
    """The newest run of a row of ours."""
    ahead: bool | None = None
    """Whether the best accuracy is above the reference's; None where there is nothing to compare."""


@dataclass(frozen=True)
class Column:
    """A column; `rank` says which give way on narrow screens."""

    key: str
    title: str
    width: int
    rank: int
    numeric: bool = True


COLUMNS = (
    Column("model", "model", 17, 0, False),
    Column("last", "last epoch %", 12, 1),
    Column("best", "best %", 12, 2),
    Column("ahead", "best-ref", 8, 3),
    Column("time", "time", 11, 4),
    Column("epochs", "epochs", 6, 5),
    Column("runs", "runs", 4, 9),
    Column("speed", "img/s", 7, 6),
    Column("device", "device", 14, 7, False),
    Column("precision", "precision", 14, 10, False),
    Column("parameters", "parameters", 10, 8),
    Column("at", "best epoch", 10, 11),
    Column("notes", "notes", 20, 12, False),
)
WIDEST = {"model": 34, "device": 24, "notes": 60}


def choose(width: int) -> list[tuple[Column, int]]:
    """The columns that fit `width` cells, each with its width; one cell of gap (two on wide screens) not counted."""
    gap = gap_of(width)
    room = width - 2
    chosen: set[str] = set()
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        if column.width + gap <= room:
            room -= column.width + gap
            chosen.add(column.key)
    widths = {column.key: column.width for column in COLUMNS}
    for key, widest in WIDEST.items():
        if key in chosen:
            grown = min(room, widest - widths[key])
            widths[key] += grown
            room -= grown
    return [(column, widths[column.key]) for column in COLUMNS if column.key in chosen]


def gap_of(width: int) -> int:
    """Cells between columns."""
    return 2 if width >= 100 else 1


def lines(benchmarks: Benchmarks) -> list[Line]:
    """Every line, section by section: our rows, the best first, then the reference's."""
    found: list[Line] = []
    for source, split, title in SECTIONS:
        ours = [_row(row) for row in benchmarks.rows if _in_section(row, source, split)]
        if ours:
            found += [Line("section", {"model": title}), *ours]
        if (source, split) == ("full", "custom"):
            found += [Line("section", {"model": TO_BEAT}), *_references()]
    return found


def _in_section(row: Row, source: str, split: str) -> bool:
    result = row.first.result
    return result.data_source == source and split in ("", result.split)


def _row(row: Row) -> Line:
    result = row.first.result
    ahead = row.above_reference("best_accuracy")
    first, last = row.best_epochs[0], row.best_epochs[-1]
    cells = {
        "model": row.first.model_name,
        "last": _spread(row, "test_accuracy"),
        "best": _spread(row, "best_accuracy"),
        "ahead": "" if ahead is None else signed(ahead),
        "time": duration(row.spread("total_seconds").mean),
        "epochs": f"{result.epochs:,}",
        "runs": str(len(row.runs)),
        "speed": speed(row.spread("images_per_second").mean),
        "device": tables.device(row.first),
        "precision": tables.precision(row.first),
        "parameters": f"{result.parameters:,}",
        "at": f"{first:,}" if first == last else f"{first:,}-{last:,}",
        "notes": tables.notes(row).removeprefix(tables.NOTHING),
    }
    return Line("row", cells, row.runs[-1].id, None if ahead is None else ahead > 0)


def _spread(row: Row, field: str) -> str:
    spread = row.spread(field)
    return percent(spread.mean) + ("" if spread.sd is None else f" ±{percent(spread.sd)}")


def _references() -> Iterable[Line]:
    """The 2018 table, from the shipped presets that carry its rows."""
    for name in presets.SHIPPED_ORDER:
        preset = presets.shipped_preset(name)
        if preset is not None and preset.reference is not None:
            yield _reference(preset.reference)


def _reference(reference: Reference) -> Line:
    shown = reference.images_per_second
    cells = {
        "model": reference.model_name,
        "best": str(reference.accuracy),
        "time": reference.time,
        "epochs": f"{reference.epochs:,}",
        "speed": "" if shown is None else speed(shown),
        "device": "GTX 1080 Ti",
        "parameters": f"{reference.parameters:,}",
    }
    return Line("reference", cells)
