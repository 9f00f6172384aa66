"""`fmnist-tui data status|fetch|verify`: the full data set. Registered by `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_tui.console import options as o

if TYPE_CHECKING:
    from fmnist_tui.data.source import FileStatus

app = typer.Typer(no_args_is_help=True)

FetchDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Download into this directory; else into $FMNIST_TUI_DATA_DIR, else into your cache. It is made where it "
        "is not there.",
        show_default=False,
        rich_help_panel=o.START,
    ),
]
STYLES = {"present": "green", "missing": "dim", "damaged": "red"}


@app.command("status")
def status_command(data_dir: o.DataDirOption = None, json: o.JsonOption = False) -> int:
    """Show which files of the full data set are where, contents checked, and which a run would use."""
    from fmnist_tui.console.output import console, print_json, say
    from fmnist_tui.data.source import DataError, find, status

    records = status(data_dir)
    try:
        directory, said = find(data_dir), ""
    except DataError as error:
        directory, said = None, f"{error.problem} {error.remedy}"
    damaged = any(record.directory == directory and record.state == "damaged" for record in records)
    if json:
        for record in records:
            print_json(_file_object(record) | {"used": record.directory == directory and not damaged})
    else:
        console().print(_files_table(records))
    if damaged:
        said = f"A run would look in {directory} and refuse the damaged files; delete them."
    say(said or f"A run uses {directory}.")
    return 0


@app.command("verify")
def verify_command(data_dir: o.DataDirOption = None, json: o.JsonOption = False) -> int:
    """Check the contents of the files a run would use. Exit code 3 where one is missing or damaged."""
    from fmnist_tui.console.output import print_json, print_line
    from fmnist_tui.data.source import verify

    for record in verify(data_dir):
        if json:
            print_json(_file_object(record))
        else:
            print_line(f"{record.path}: {record.bytes:,} bytes, SHA-256 as it should be")
    return 0


@app.command("fetch")
def fetch_command(data_dir: FetchDirOption = None, json: o.JsonOption = False) -> int:
    """Download the full data set into your cache, or into --data-dir, where it is not there yet."""
    from fmnist_tui import paths
    from fmnist_tui.console.launch import download_progress
    from fmnist_tui.console.output import print_json, print_line, say
    from fmnist_tui.data.source import DataError, fetch, verify

    try:
        records = verify(data_dir)
    except DataError:  # not there, or damaged: both are what fetching mends
        directory = paths.data_dir_override(data_dir) or paths.cache_data_dir()
        with download_progress() as progress:
            fetch(directory, progress)
        records = verify(directory)
    else:
        say("The full data set is there already; nothing was downloaded.")
    for record in records:
        if json:
            print_json(_file_object(record))
        else:
            print_line(record.path)
    return 0


def _file_object(record: FileStatus) -> dict[str, Any]:
    return {
        "directory": str(record.directory),
        "name": record.name,
        "path": str(record.path) if record.path else None,
        "state": record.state,
        "bytes": record.bytes,
        "sha256": record.sha256,
        "problem": record.problem,
    }


def _files_table(records: list[FileStatus]) -> Any:
    """Each directory on a line of its own, whatever its length, and its files below it."""
    from itertools import groupby

    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Text | Table] = []
    for directory, files in groupby(records, lambda record: record.directory):
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, min_width=max(map(len, STYLES)))
        table.add_column(overflow="fold")
        for record in files:
            what = record.problem if record.state == "damaged" else ""
            if record.path is not None and not what:
                what = str(record.path.relative_to(directory))
            table.add_row(f"  {record.name}", Text(record.state, style=STYLES[record.state]), what)
        parts += [Text(str(directory), style="bold", overflow="fold"), table]
    return Group(*parts)
