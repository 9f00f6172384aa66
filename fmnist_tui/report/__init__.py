"""The benchmark table of finished runs and what is exported from them. No torch, no Textual.

Called by the command line (`report`, the end of `run`), the trainer (BENCHMARKS.md) and the app.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from fmnist_tui.report import export, markdown, page
from fmnist_tui.report.rows import Grouping, collect
from fmnist_tui.report.summary import summary_row
from fmnist_tui.report.tables import report
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import BENCHMARKS
from fmnist_tui.runs.store import Run, list_runs

__all__ = ["FORMATS", "collect", "render", "summary_row", "write_benchmarks"]

FORMATS = ("markdown", "csv", "json", "html")
LOCK_SECONDS = 60.0
"""A writer holds the lock for as long as reading the runs takes; far longer than that means something is wrong."""


def render(runs_dir: Path, format: str = "markdown", only: Sequence[Run] = (), group_by: Grouping = "settings") -> str:
    """The report on a directory of runs, or on some of them alone, as text in one of FORMATS, ending in a newline.

    `group_by` says which runs share a row (`rows.GROUPINGS`); CSV has a line a run, or grouped otherwise a line a row.

    Raises ValueError for another format and RunError where `runs_dir` is not a directory.
    """
    benchmarks = collect(runs_dir, frozenset(run.id for run in only)).grouped(group_by)
    if format == "markdown":
        return markdown.write(report(benchmarks))
    if format == "html":
        from fmnist_tui.report import run_page  # with NumPy, which the other forms need not wait for

        return page.write(report(benchmarks), run_page.sections(only or list_runs(runs_dir)))
    if format == "csv":
        return export.write_csv(benchmarks) if group_by == "settings" else export.write_groups_csv(benchmarks)
    if format == "json":
        return export.write_json(benchmarks)
    raise ValueError(f"--format {format}: must be one of {', '.join(FORMATS)}")


def write_benchmarks(runs_dir: Path) -> Path:
    """Rewrite BENCHMARKS.md in a runs directory and return its path.

    A run calls this after its result.json and its final status are written: then of several that end at
    once, whoever writes last has read them all. Raises OSError where it can't be written, or where another
    writer holds the lock for a minute.
    """
    path = runs_dir / BENCHMARKS
    with FileLock(runs_dir / ".benchmarks.lock", timeout=LOCK_SECONDS):
        replace_bytes(path, render(runs_dir).encode())
    return path
