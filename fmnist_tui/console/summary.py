"""How a watched run ended, in a few lines: its row of the table, where it lies, how to go on. Called after watching.

Whether and how a run can go on is also said by `stop` and `doctor`.
"""

from __future__ import annotations

from rich.text import Text

from fmnist_tui import paths
from fmnist_tui.console import words
from fmnist_tui.console.output import console, print_error
from fmnist_tui.report import summary_row
from fmnist_tui.runs.files import is_there
from fmnist_tui.runs.lost import why_lost
from fmnist_tui.runs.status import ExitCode, State
from fmnist_tui.runs.store import Run


def print_summary(run: Run, as_json: bool = False) -> None:
    """The end of a run in words; an error of its on stderr, and that alone where stdout has JSON lines."""
    error = _error(run)
    if error:
        print_error(f"{run.id}: {error}")
    if as_json:
        return
    stdout = console()
    if run.state is State.FINISHED and run.result is not None and run.config is not None:
        stdout.print(summary_row(run.result, run.config), soft_wrap=True, end="")
    elif run.state is State.STOPPED and not is_there(run.directory.checkpoint("last")):
        stdout.print(f"Stopped before its first step. {resume_hint(run)}", soft_wrap=True)
    elif run.state is State.STOPPED and run.status is not None:
        where = run.status.where(f" of {run.status.epochs}")
        stdout.print(f"Stopped {where}, with a checkpoint. {resume_hint(run)}", soft_wrap=True)
    else:
        refused = run.status is not None and run.status.exit_code == ExitCode.USAGE  # it would be so again
        said = not run.is_whole and run.problem in error
        if is_there(run.directory.checkpoint("last")) and not refused and not said:
            stdout.print(resume_hint(run), soft_wrap=True)
    stdout.print(Text.assemble(("run directory  ", "dim"), str(run.directory.path)), soft_wrap=True)


def _error(run: Run) -> str:
    """What went wrong with a run that has ended; '' where nothing did."""
    told = run.status.told(words.remedies(run.directory.path.parent)) if run.status is not None else ""
    if run.state is State.STOPPED:
        return ""
    if run.state is State.FINISHED and run.result is not None and run.config is not None:
        return told  # it was to go on, and could not
    said = "was lost" if run.state is State.LOST else run.state
    return f"{said}: {told or run.problem or why_lost(run)}"


def resume_hint(run: Run) -> str:
    """The command that goes on with a run, as it must be typed here; why none does, where none does."""
    if not run.is_whole:
        return f"It can't go on: {run.problem}."
    return f"Go on with: {paths.command_line('run', 'resume', run.id, of=run.directory.path.parent)}"
