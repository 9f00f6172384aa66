"""How a training ended, and what is done at the end of a finished one. Shared by the worker and the ranks; no torch."""

from __future__ import annotations

import shutil
import sys
from typing import NamedTuple

from fmnist_tui.remedies import Remedy
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State


class Ending(NamedTuple):
    """How a training ended."""

    state: State
    error: str | None
    code: int
    retry: bool = False
    """Whether another try from the checkpoint may go better."""
    remedy: Remedy | None = None
    """What can be done about the error."""
    deleted: bool = False
    """There is no run directory any more to write to."""


def first_line(error: Exception) -> str:
    """What an exception says, without what follows in further lines."""
    return (str(error).splitlines() or [""])[0]


def after_finish(run: RunDirectory) -> None:
    """What is left to do once the last status says that the run is finished.

    BENCHMARKS.md with the run in it; one that can't be written is a word in worker.log. And what the run had come to
    before goes: not earlier, for until that status is there it is the run's row of the table.
    """
    from fmnist_tui.report import write_benchmarks

    try:
        write_benchmarks(run.path.parent)
    except OSError as error:
        print(f"BENCHMARKS.md could not be rewritten: {error}", file=sys.stderr)
    shutil.rmtree(run.earlier, ignore_errors=True)
