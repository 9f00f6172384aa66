"""The runs of a group (a sweep) beside each other: what differs, mean and deviation over seeds, and which is best.

Called by `tables.report` and at the end of a sweep.
"""

from __future__ import annotations

from pathlib import Path

from fmnist_tui.fields import field_value
from fmnist_tui.report import markdown
from fmnist_tui.report.blocks import Block, Column, Heading, Paragraph, Table
from fmnist_tui.report.finished import FinishedRun
from fmnist_tui.report.rows import Row, Spread, collect, make_rows
from fmnist_tui.report.words import duration, percent

COLUMNS = (
    Column("Group"),
    Column("Setting"),
    Column("Accuracy (Prec@1)", True),
    Column("Best (epoch)", True),
    Column("time", True),
    Column("Runs", True),
    Column("Note"),
)
SAID = (
    "Runs that were started together, by what differs among them: mean ± sample standard deviation over the seeds "
    "(and the parts that are held out). Best is the setting with the highest mean accuracy after the last epoch; by "
    "the test images it flatters: data.hold_out chooses by others."
)


def groups(runs: list[FinishedRun]) -> dict[str, list[Row]]:
    """The rows of each group that has two finished runs or more, the group with the newest run first."""
    found: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if run.config.group:
            found.setdefault(run.config.group, []).append(run)
    return {name: make_rows(reversed(members)) for name, members in found.items() if len(members) > 1}


def sweep_blocks(runs: list[FinishedRun]) -> list[Block]:
    """The report's section on groups; nothing where there is none."""
    found = groups(runs)
    if not found:
        return []
    cells = tuple(line for name, rows in found.items() for line in _lines(name, rows))
    return [Heading("Groups of runs", 2), Paragraph.of(SAID), Table(COLUMNS, cells)]


def group_text(runs_dir: Path, group: str) -> str:
    """One group's table as Markdown, for the end of a sweep; '' where fewer than two of its runs have finished."""
    rows = groups(collect(runs_dir).runs).get(group)
    return markdown.write([Table(COLUMNS, tuple(_lines(group, rows)))]) if rows else ""


def _lines(name: str, rows: list[Row]) -> list[tuple[str, ...]]:
    """One line for each setting; the best mean first, which is how `make_rows` orders them."""
    keys = _differing(rows)
    lines: list[tuple[str, ...]] = []
    for index, row in enumerate(rows):
        epochs = row.best_epochs
        at = f"{epochs[0]:,}" if len(epochs) == 1 else f"{epochs[0]:,}-{epochs[-1]:,}"
        setting = ", ".join(f"{key} = {field_value(row.first.hyperparameters.get(key))}" for key in keys) or "seeds"
        lines.append(
            (
                name,
                setting,
                _spread(row.spread("test_accuracy")),
                f"{_spread(row.spread('best_accuracy'))} ({at})",
                duration(row.spread("total_seconds").mean),
                str(len(row.runs)),
                _note(row, first=index == 0 and len(rows) > 1),
            )
        )
    return lines


def _note(row: Row, first: bool) -> str:
    """'best', or why a row can't be that: runs cut short compare how fast they begin, not how well they end."""
    result = row.first.result
    if not result.complete:
        return f"stopped at {result.steps:,} steps"
    return "best" if first else ""


def _differing(rows: list[Row]) -> list[str]:
    """The hyperparameters that are not the same in all rows."""
    every = [row.first.hyperparameters for row in rows]
    keys = dict.fromkeys(key for one in every for key in one)
    return [key for key in keys if len({repr(one.get(key)) for one in every}) > 1]


def _spread(spread: Spread) -> str:
    return percent(spread.mean) + ("" if spread.sd is None else f" ± {percent(spread.sd)}")
