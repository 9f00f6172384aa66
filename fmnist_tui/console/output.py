"""Where the command line writes: the two Rich consoles, JSON lines, and an error as one plain message.

Called by every command and by `cli.main`.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

    from fmnist_tui.runs.store import Run

CLICK_ERROR: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""Base of the parser's own errors; Typer brought its parser along in 0.2x and does not export this class."""


PIPE_WIDTH = 200
"""Cells of a line where there is no terminal to ask."""
_NO_MISTAKES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
"""What the machine refuses: a file that may not be read, a disk or an output that is full or gone."""


class UsageError(ValueError):
    """A command line that parses but can't be meant; the text names the option, the value and the remedy."""


def console(stderr: bool = False) -> Console:
    """A console that prints text as it is: no markup, no emoji codes, no highlighting; colours only on a terminal.

    Control characters in the text are left out: names, paths and errors come from files and command lines.

    Into a pipe or a file it writes wide tables, whose cells no program has to put together again.
    """
    from fmnist_tui.console.harmless import HarmlessConsole

    console = HarmlessConsole(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def print_json(record: Any) -> None:
    """One JSON value as one line on stdout, at once."""
    write_json_line(json.dumps(record, ensure_ascii=False, allow_nan=False))
    sys.stdout.flush()


def write_json_line(text: str) -> None:
    """A JSON text as a line on stdout; escaped where stdout has another encoding than JSON's, which is UTF-8."""
    if codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8":
        text = re.sub(r"[^\x00-\x7f]+", lambda found: json.dumps(found[0])[1:-1], text)
    sys.stdout.write(text + "\n")


def as_json(record: BaseModel | None) -> Any:
    """A record as plain values that are strict JSON: a loss that is not finite is a string."""
    return None if record is None else json.loads(record.model_dump_json())


def status_values(run: Run) -> dict[str, Any]:
    """The fields of a run's status; all of them, as null, where it can't be read: a script finds each key always.

    `state` is the one every view shows, so it may be 'lost'.
    """
    from fmnist_tui.runs.status import Status

    return {**(as_json(run.status) or dict.fromkeys(Status.model_fields)), "state": str(run.state)}


def plain_value(value: Any) -> Any:
    """A value of a file as strict JSON has it: as it is where it can be, else as text (a date, infinity)."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    return value


def print_line(line: object) -> None:
    """A plain line on stdout, such as a path, without control characters; --json has a path as it is."""
    sys.stdout.write(_shown(str(line)) + "\n")


def write_text(text: str, output: Path | None) -> None:
    """A command's whole text, on stdout or in a file (`write_output`). Raises UsageError where it can't be written."""
    from fmnist_tui.runs.files import write_output

    if output is None:
        sys.stdout.write(text)
        return
    try:
        write_output(output, text.encode())
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from None
    say(f"wrote {output}")


def _shown(text: str) -> str:
    """A message without control characters: it may echo an option, a path or what a file holds."""
    from fmnist_tui.wording import without_controls  # brings pydantic, which `--help` does without

    return without_controls(text)


def say(message: str) -> None:
    """A line for the user beside a command's output: on stderr, so that stdout holds only what was asked for."""
    console(stderr=True).print(_shown(message), soft_wrap=True)


def print_notes(notes: Iterable[str]) -> None:
    """What the user should know before the command goes on, one line each, on stderr."""
    from rich.text import Text

    for note in notes:
        console(stderr=True).print(Text.assemble(("note: ", "bold yellow"), _shown(note)), soft_wrap=True)


def print_error(message: str) -> None:
    """The one plain message of a command that failed, on stderr."""
    from rich.text import Text

    console(stderr=True).print(Text.assemble(("error: ", "bold red"), _shown(message)), soft_wrap=True)


def report_error(error: Exception) -> int:
    """Print what is wrong, as one message without a traceback; return the exit code for it."""
    from fmnist_tui.runs.status import ExitCode

    if isinstance(error, CLICK_ERROR):
        from fmnist_tui.console.usage import report_usage

        return report_usage(error)
    if isinstance(error, ValueError):
        from fmnist_tui import paths
        from fmnist_tui.config import ConfigError
        from fmnist_tui.data.pictures import PictureError
        from fmnist_tui.data.source import DataError
        from fmnist_tui.report.bench import BenchFileError
        from fmnist_tui.runs.errors import RunError

        if isinstance(error, DataError):
            print_error(str(error))
            return ExitCode.DATA
        if isinstance(error, ConfigError | RunError | UsageError | BenchFileError | PictureError | paths.NoHome):
            print_error(_told(error).lstrip("\n"))
            return ExitCode.USAGE
    if isinstance(error, FileNotFoundError) and _is_nowhere():
        print_error("the current directory is not there any more; change to one that is")
        return ExitCode.USAGE
    if isinstance(error, OSError) and error.errno in _NO_MISTAKES:
        print_error(f"{error.filename or 'the output could not be written'}: {error.strerror}")
        return ExitCode.FAILED
    print_error(f"{type(error).__name__}: {error}\nThis is a mistake in fmnist-tui; --debug shows where it happened.")
    return 1


def _is_nowhere() -> bool:
    """Whether the directory this process is in was deleted: no relative path leads anywhere then."""
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd is the same
    except FileNotFoundError:
        return True
    return False


def _told(error: ValueError) -> str:
    """What is wrong and what helps, in commands as they must be typed here."""
    from fmnist_tui import paths
    from fmnist_tui.console.words import remedies
    from fmnist_tui.remedies import Told

    if not isinstance(error, Told):
        return str(error)
    of_variable = error.option == "runs-dir" and paths.runs_dir_is_variable()
    return error.told(remedies(paths.runs_dir()), {"runs-dir": "FMNIST_TUI_RUNS_DIR"} if of_variable else None)
