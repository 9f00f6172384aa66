"""Runs that end while one looks elsewhere: which they are, and what is said of them.

What the user asked for (a stop) is no news. Called by `listening`, which rings the terminal's bell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.format import duration, first_line, percent

NEWS = (State.FINISHED, State.FAILED, State.LOST)


def newly_ended(before: Mapping[str, State], runs: Iterable[Run]) -> list[Run]:
    """The runs that are in a state of NEWS, and were at work when the states `before` were theirs."""
    return [run for run in runs if run.state in NEWS and run.id in before and before[run.id].at_work]


def ending(run: Run) -> str:
    """One run's end in a sentence."""
    status = run.status
    if run.state is State.LOST:
        return f"{run.name} is lost: its process is gone"
    if run.state is State.FAILED:
        why = first_line(status.error).rstrip(".") if status is not None and status.error else ""
        return f"{run.name} has failed" + (f": {why}" if why else "")
    accuracy = status.test_accuracy if status is not None else None
    took = f" after {duration(status.active_seconds)}" if status is not None and status.active_seconds else ""
    return f"{run.name} has finished{took}" + (f": {percent(accuracy)} %" if accuracy is not None else "")


def endings(runs: list[Run]) -> str:
    """What is said of runs that ended together."""
    if len(runs) <= 3:
        return "\n".join(f"{ending(run)}." for run in runs)
    bad = sum(run.state is not State.FINISHED for run in runs)
    return f"{len(runs)} runs have ended" + (f", {bad} of them before they had finished." if bad else ".")
