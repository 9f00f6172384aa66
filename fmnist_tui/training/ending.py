"""How a training ended, and what is done at the end of a finished one. Shared by the worker and the ranks; no torch."""

from __future__ import annotations

import sys
from typing import NamedTuple

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State


class Ending(NamedTuple):
    """How a training ended."""

    state: State
    error: str | None
    code: int
    retry: bool = False
    """Whether another try from the checkpoint may go better."""
    deleted: bool = False
    """There is no run directory any more to write to."""


def first_line(error: Exception) -> str:
    """What an exception says, without what follows in further lines."""
    return (str(error).splitlines() or [""])[0]


def rewrite_table(run: RunDirectory) -> None:
    """BENCHMARKS.md with the finished run in it; one that can't be written is a word in worker.log."""
    from fmnist_tui.report import write_benchmarks

    try:
        write_benchmarks(run.path.parent)
    except OSError as error:
        print(f"BENCHMARKS.md could not be rewritten: {error}", file=sys.stderr)
