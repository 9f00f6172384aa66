"""`fmnist-tui report`: the benchmark table of the finished runs. Registered by `cli`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fmnist_tui.console import options as o

FormatOption = Annotated[
    Literal["markdown", "csv", "json", "html"], typer.Option("--format", help="Form of the table.")
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
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Report on this run alone; repeatable.",
            autocompletion=o.complete_runs,
            show_default=False,
        ),
    ] = None,
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
    from fmnist_tui.runs.status import State
    from fmnist_tui.runs.store import find_run

    directory = paths.runs_dir(runs_dir)
    only = list({found.id: found for name in run or [] if (found := find_run(directory, name))}.values())
    text = render(directory, format, only, group_by)
    for one in only:
        if one.earlier is not None:
            said = f"its row is what it had come to before, in epoch {one.earlier.epochs}"
            say(f"note: {one.id} is {one.state}; {said}")
        elif one.state is not State.FINISHED and not one.earlier_problem:  # which stands under Left out
            say(f"note: {one.id} is {one.state}; the tables hold finished runs only")
    write_text(text, output)
    if note := left_out_runs(directory):
        say(note)
    return 0
