"""The benchmark table as the Benchmarks screen shows it: lines of cells, and which columns fit a width.

Pure functions over `report.rows`; called by `screens.benchmarks`. The exported report is the report's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from fmnist_tui import presets
from fmnist_tui.config import Reference
from fmnist_tui.report import tables
from fmnist_tui.report.rows import Benchmarks, Row
from fmnist_tui.report.words import duration, energy, percent, signed, speed
from fmnist_tui.tui import format as words

Kind = Literal["section", "row", "reference"]
SECTIONS = (
    ("full", "custom", "Full data, custom split (30,000 / 40,000), as the reference"),
    ("full", "standard", "Full data, standard split (60,000 / 10,000)"),
    ("sample", "", "Sample data: for trying things, comparable with nothing above"),
    ("held out", "", "Held-out training images: to choose hyperparameters by, comparable with nothing above"),
)
TO_BEAT = "To beat: 2018, one GTX 1080 Ti, best over all epochs; times are estimates"


class Line(NamedTuple):
    """A line of the table: a section's title (in `cells['model']`), a row of ours, or a reference row."""

    kind: Kind
    cells: dict[str, str]
    run_id: str = ""
    """Of a row of ours its run, of several the one with the highest accuracy."""
    ahead: bool | None = None
    """Whether the best accuracy is above the reference's; None where there is nothing to compare."""
    about: str = ""
    """What tells a row of ours from others, also where its columns have no room."""


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
    Column("runs", "runs", 4, 7),
    Column("speed", "img/s", 7, 6),
    Column("device", "device", 14, 8, False),
    Column("precision", "precision", 14, 10, False),
    Column("energy", "energy", 9, 10),
    Column("parameters", "parameters", 10, 9),
    Column("at", "best epoch", 10, 11),
    Column("notes", "notes", 20, 12, False),
)
SEEDS_NAMED = 5
"""More than these are counted."""
NARROW = {"last": "last %"}
"""Shorter titles, of columns that are as narrow as their texts."""
DEVIATION = " ±"
SEED = ", seed "
WIDEST = {"model": 34, "device": 24, "notes": 80}


def choose(width: int, shown: Iterable[Line], grouped: bool = False) -> list[tuple[Column, int]]:
    """The columns that fit `width` cells, each with its width; one cell of gap (two on wide screens) not counted.

    A column with nothing in the lines `shown` is left out; room that is left goes to those whose texts need it. Where
    rows are `grouped` otherwise than usual, the number of runs is one of the first, and the names have room before it.
    Where both accuracies (the references have the best alone) have no room as usual, columns are as narrow as what
    stands in them, and at last a mean is there without its deviation.
    """
    gap, room = gap_of(width), width - 2
    texts = _texts(shown)
    first = [key for key in ("model", "last", "best", *(["runs"] if grouped else [])) if texts[key]]
    for columns in _ever_narrower(texts, width, grouped):
        if sum(column.width + gap for column in columns if column.key in first) <= room:
            break
    widths: dict[str, int] = {}
    for column in sorted(columns, key=lambda column: 2.5 if grouped and column.key == "runs" else column.rank):
        if texts[column.key] and column.width + gap <= room:
            room -= column.width + gap
            widths[column.key] = column.width
    for key, widest in WIDEST.items():
        if key in widths:
            grown = min(room, max(0, min(widest, max(map(len, texts[key]))) - widths[key]))
            widths[key] += grown
            room -= grown
    return [(column, widths[column.key]) for column in columns if column.key in widths]


def _texts(shown: Iterable[Line]) -> dict[str, list[str]]:
    """By column what stands in it."""
    rows = [line.cells for line in shown if line.kind != "section"]
    return {column.key: [text for cells in rows if (text := cells.get(column.key))] for column in COLUMNS}


def _ever_narrower(texts: dict[str, list[str]], width: int, grouped: bool) -> Iterable[Sequence[Column]]:
    """The columns as usual, then as narrow as their texts, then without the deviations of the best, then of both."""
    names = max(map(len, texts["model"]), default=0)
    model = COLUMNS[0]
    usual = max(model.width, min(names, width // 3)) if grouped else model.width
    yield [replace(model, width=usual), *COLUMNS[1:]]
    for bare in ((), ("best",), ("last", "best")):
        narrow = [_narrowed(column, texts[column.key], column.key in bare) for column in COLUMNS[1:]]
        yield [replace(model, width=min(names, model.width)), *narrow]


def _narrowed(column: Column, texts: list[str], bare: bool) -> Column:
    title = NARROW.get(column.key, column.title)
    widest = max((len(mean(text) if bare else text) for text in texts), default=0)
    return replace(column, title=title, width=max(len(title), widest)) if column.numeric else column


def mean(text: str) -> str:
    """'94.74' of '94.74 ±0.07'."""
    return text.partition(DEVIATION)[0]


def fitting(column: Column, text: str, width: int, ellipsis: str) -> str:
    """A cell's text in `width` cells: a mean without its deviation, a seed without the word, before letters go."""
    if len(text) > width:
        text = mean(text).replace(SEED, ", ")
    return (words.shorten_middle if column.key == "model" else words.shorten)(text, width, ellipsis)


def section_title(title: str, width: int, ellipsis: str) -> str:
    """As many of a section title's clauses as fit `width` cells."""
    ends = [len(title), *(found.start() for found in re.finditer(r"[,;:]? \(|[,;:] ", title))]
    fit = max((end for end in ends if end <= width), default=width)
    return words.shorten(title[:fit] if fit in ends else title, width, ellipsis)


def gap_of(width: int) -> int:
    """Cells between columns."""
    return 2 if width >= 100 else 1


def lines(benchmarks: Benchmarks, sort: str = "last", reverse: bool = False) -> list[Line]:
    """Every line, section by section: our rows by a column (SORT_KEYS), then the reference's.

    Accuracies and speeds begin with the highest, all else with the lowest; `reverse` turns that round. Rows without
    a value come last.
    """
    found: list[Line] = []
    for source, split, title in SECTIONS:
        rows = [row for row in benchmarks.rows if _in_section(row, source, split)]
        ours = [_row(row, BEST_BY.get(sort, "test_accuracy")) for row in _sorted(rows, sort, reverse)]
        if ours:
            found += [Line("section", {"model": title}), *ours]
        if (source, split) == ("full", "custom"):
            found += [Line("section", {"model": TO_BEAT}), *_references()]
    return found


SORT_KEYS: dict[str, Callable[[Row], float | str | None]] = {
    "last": lambda row: row.spread("test_accuracy").mean,
    "best": lambda row: row.spread("best_accuracy").mean,
    "ahead": lambda row: row.above_reference("best_accuracy"),
    "model": lambda row: row.first.label.lower(),
    "time": lambda row: row.spread("total_seconds").mean,
    "epochs": lambda row: row.epochs[-1],
    "runs": lambda row: len(row.runs),
    "speed": lambda row: row.spread("images_per_second").mean,
    "device": lambda row: (row.common(tables.device) or tables.VARIOUS).lower(),
    "parameters": lambda row: row.first.result.parameters,
    "energy": lambda row: row.energy_joules.mean if row.energy_joules else None,
}
"""What rows are sorted by, by column."""
BEST_BY = {"best": "best_accuracy", "ahead": "best_accuracy"}
"""By which accuracy a row's best run is told, where that is not the last epoch's."""
HIGHEST_FIRST = ("last", "best", "ahead", "runs", "speed")


def _sorted(rows: list[Row], sort: str, reverse: bool) -> list[Row]:
    key = SORT_KEYS[sort]
    known = [row for row in rows if key(row) is not None]
    known.sort(key=lambda row: key(row), reverse=(sort in HIGHEST_FIRST) != reverse)  # type: ignore[arg-type,return-value]
    return known + [row for row in rows if key(row) is None]


def _in_section(row: Row, source: str, split: str) -> bool:
    result = row.first.result
    if result.hold_out or source == "held out":
        return bool(result.hold_out) and source == "held out"
    return result.data_source == source and split in ("", result.split)


def _row(row: Row, accuracy: str) -> Line:
    best = max(row.runs, key=lambda run: getattr(run.result, accuracy))
    parameters = row.common(lambda run: run.result.parameters)
    ahead = row.above_reference("best_accuracy")
    cells = {
        "model": _name(row),
        "last": _spread(row, "test_accuracy"),
        "best": _spread(row, "best_accuracy"),
        "ahead": "" if ahead is None else signed(ahead),
        "time": duration(row.spread("total_seconds").mean),
        "epochs": tables.between(row.epochs),
        "runs": str(len(row.runs)),
        "speed": speed(row.spread("images_per_second").mean),
        "device": row.common(tables.device) or tables.VARIOUS,
        "precision": row.common(tables.precision) or tables.VARIOUS,
        "parameters": tables.VARIOUS if parameters is None else f"{parameters:,}",
        "energy": "" if row.energy_joules is None else energy(row.energy_joules.mean),
        "at": tables.between(row.best_epochs),
        "notes": "; ".join(tables.remarks(row)),
    }
    return Line("row", cells, best.id, None if ahead is None else ahead > 0, _about(row, cells))


def _about(row: Row, cells: dict[str, str]) -> str:
    """Preset, seeds, device and precision of a row, and its notes."""
    seeds = ("seed " if len(row.seeds) == 1 else "seeds ") + ", ".join(map(str, row.seeds[:SEEDS_NAMED]))
    if (more := len(row.seeds) - SEEDS_NAMED) > 0:
        seeds += f" and {more} more"
    return "; ".join(filter(None, [row.first.label, seeds, cells["device"], cells["precision"], cells["notes"]]))


def _name(row: Row) -> str:
    """The network's name; in a row of another grouping than the usual what its runs have in common."""
    if row.by == "settings":
        return tables.model_name(row)
    return f"{row.first.label}{SEED}{row.first.result.seed}" if row.by == "seed" else row.first.label


def _spread(row: Row, field: str) -> str:
    spread = row.spread(field)
    return percent(spread.mean) + ("" if spread.sd is None else DEVIATION + percent(spread.sd))


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
