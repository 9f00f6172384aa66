"""The options and arguments that several groups of commands share: their names, types and help texts.

Used in the signatures of the command functions; what only `fmnist-tui run` has is in `run_options`. What a RunConfig
field means and its bounds stand in `config`; the texts here say only what the option does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

CHANGES = "Change the configuration"
START = "Where and how"


def complete_presets(incomplete: str) -> list[str]:
    """Preset names for the shell's completion."""
    from fmnist_tui.presets import find_presets

    return [name for name in find_presets() if name.startswith(incomplete)]


def complete_runs(incomplete: str) -> list[str]:
    """Run ids (and 'last') for the shell's completion: those that hold what was typed."""
    from fmnist_tui import paths
    from fmnist_tui.runs.errors import RunError
    from fmnist_tui.runs.store import run_directories

    try:
        ids = ["last", *(run.id for run in run_directories(paths.runs_dir()))]
    except RunError:
        return []
    return [run_id for run_id in ids if incomplete in run_id]


def whole_number(text: str) -> int:
    """An option's value as an integer; the parser's own message would not name the value."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number") from None


def count_number(text: str) -> int:
    """An option's value as a whole number, 0 or more."""
    number = whole_number(text)
    if number < 0:
        raise typer.BadParameter(f"{text!r} is not 0 or more")
    return number


def positive_number(text: str) -> int:
    """An option's value as a whole number, 1 or more."""
    number = whole_number(text)
    if number < 1:
        raise typer.BadParameter(f"{text!r} is not 1 or more")
    return number


def seconds(text: str) -> float:
    """An option's value as a time in seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1e9:
        raise typer.BadParameter(f"{text!r} is not a number of seconds, 0 or more")
    return value


STDIN = STDOUT = "-"
"""As FILE, or as the value of --output; a file of that name is ./-"""


def file_or_stdin(text: str) -> Path:
    """The file that FILE names; '-' is stdin, which is a file by name, too."""
    return Path("/dev/stdin" if text == STDIN else text)


def file_or_stdout(text: str) -> Path | None:
    """The file that --output names; None for stdout."""
    return None if text == STDOUT else Path(text)


RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run: any part of its id that no other run has, or 'last' for the newest.",
        autocompletion=complete_runs,
        show_default=False,
    ),
]
RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Runs: a unique part of each one's id, or 'last'.",
        autocompletion=complete_runs,
        show_default=False,
    ),
]
AnyRunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help="Runs: a unique part of each one's id, or 'last'; else all that the command is for.",
        autocompletion=complete_runs,
        show_default=False,
    ),
]
PresetArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A preset; see: fmnist-tui presets list.",
        autocompletion=complete_presets,
        show_default=False,
    ),
]


FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A configuration in TOML, like those of 'presets show'; - is stdin.",
        parser=file_or_stdin,
        show_default=False,
    ),
]


def _name_runs_dir(value: Path | None) -> Path | None:
    """Errors, whose remedies name it, don't know the option; and one before the command holds for it."""
    from fmnist_tui import paths

    if value is not None:
        paths.name_runs_dir(value)
    return value


RunsDirOption = Annotated[
    Path | None,
    typer.Option(
        "--runs-dir",
        metavar="DIR",
        help="Where the runs lie; else $FMNIST_TUI_RUNS_DIR, else ./runs.",
        callback=_name_runs_dir,
        show_default=False,
        rich_help_panel=START,
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="The directory that holds the full data set, else $FMNIST_TUI_DATA_DIR; no other is then searched.",
        show_default=False,
        rich_help_panel=START,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, one object a line, and nothing else on stdout.", show_default=False)
]

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any field by its dotted name, for example --set optimizer.lr=0.05; repeatable. "
        "'presets show NAME --explain' tells what each means.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
DataOption = Annotated[
    Literal["full", "sample"] | None,
    typer.Option(
        "--data",
        help="Train on the full data set, or on the small sample that comes with the program.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:N or mps. auto takes a GPU where there is one.",
        rich_help_panel=START,
    ),
]
GroupFilterOption = Annotated[
    str | None,
    typer.Option(
        "--group", metavar="TEXT", help="Only the runs of this group; a sweep prints its name.", show_default=False
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        parser=file_or_stdout,
        help="Write to a file instead of stdout, in one step; - is stdout.",
        show_default=False,
    ),
]
