"""`fmnist-tui report`: the benchmark table of the finished runs. Registered by `cli`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fmnist_tui.console import options as o

if TYPE_CHECKING:
    from fmnist_tui.runs.store import Run

FormatOption = Annotated[
    Literal["markdown", "csv", "json", "html"], typer.Option("--format", help="Form of the table.")
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="Report on this run alone; repeatable.",
        autocompletion=o.complete_runs,
        show_default=False,
    ),
]
GroupOption = Annotated[
    Literal["settings", "preset", "seed", "device"],
    typer.Option(
        "--group-by",
        help="Runs that share a row: of the same settings whatever the seed; of a preset; of a preset and a seed; "
        "of a preset and a device.",
    ),
]


def report_command(
    format: FormatOption = "markdown",
    run: OnlyOption = None,
    output: o.OutputOption = None,
    group_by: GroupOption = "settings",
    runs_dir: o.RunsDirOption = None,
) -> int:
    """Print the benchmark table: every finished run beside the reference results.

    Runs on the sample have a table of their own.

    html is one file that needs nothing else, and also shows each run's curves, confusion matrix and mistakes.

    BENCHMARKS.md in the runs directory holds the same, rewritten whenever a run finishes.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.output import say, write_text
    from fmnist_tui.report import render
    from fmnist_tui.runs.left_out import left_out_runs
    from fmnist_tui.runs.store import find_run

    directory = paths.runs_dir(runs_dir)
    only = list({found.id: found for name in run or [] if (found := find_run(directory, name))}.values())
    text = render(directory, format, only, group_by)
    _say_what_is_not_in_it(only)
    write_text(text, output)
    if note := left_out_runs(directory):
        say(note)
    return 0


def _say_what_is_not_in_it(runs: Sequence[Run]) -> None:
    """Of runs that were asked for: which have an earlier result's row, and which have none."""
    from fmnist_tui.console.output import say
    from fmnist_tui.runs.status import State

    for run in runs:
        if run.earlier is not None:
            said = f"its row is what it had come to before, in epoch {run.earlier.epochs}"
            say(f"note: {run.id} is {run.state}; {said}")
        elif run.state is not State.FINISHED and not run.earlier_problem:  # which stands under Left out
            say(f"note: {run.id} is {run.state}; the tables hold finished runs only")
