"""What the Runs screen says besides the table and what is under the cursor, and of what is asked for there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from textual.content import Content

from fmnist_tui import paths
from fmnist_tui.runs.launch import Length, lengths
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import format as words
from fmnist_tui.tui.remedies import no_checkpoint_is_left


def counts(runs: Sequence[Run], shown: int, marked: int) -> tuple[str, ...]:
    """How many runs there are and are shown, at work, queued and marked; and what of it fits where that doesn't."""
    at_work, queued = sum(run.state.at_work for run in runs), sum(run.state is State.QUEUED for run in runs)
    said = words.count(len(runs), "run")
    said = f"{shown} of {said}" if shown < len(runs) else said
    said += f", {at_work} at work" if at_work else ""
    said += f", {queued} queued" if queued else ""
    short = f"{marked} marked (p compares)"
    return (f"{said}, {short}", short) if marked else (said,)


def what_comparing_needs(runs: int, marked: int) -> str:
    """What `p` waits for: of so many runs so many are marked, and that is not enough."""
    if marked:
        return "One run is marked: mark another with space, or move to it, then p compares them."
    if runs < 2:
        return "p compares runs: there have to be two."
    return "p compares marked runs: mark two or more with space, or one and move to another."


NEEDS: dict[str, Callable[[Run], bool]] = {
    "stop": lambda run: run.state.alive,
    "edit": lambda run: run.state.at_work,
    "move": lambda run: run.state is State.QUEUED and (run.status is None or run.status.job is None),
    "resume": lambda run: not run.state.alive and run.is_whole and not no_checkpoint_is_left(run),
    "delete": lambda run: not run.state.alive,
    "clone": lambda run: run.config is not None,
    "config": lambda run: True,
    "log": lambda run: True,
    "mistakes": lambda run: True,
    "comment": lambda run: True,
}
"""Which runs an action is offered for."""

_ONLY = {
    "stop": "s stops a run that is at work or queued",
    "edit": "e changes a run at work",
    "resume": "r resumes a run that has ended",
    "delete": "d deletes a run that has ended",
    "clone": "C copies a run's settings, where they can be read",
    "move": "+ and - move a run that is queued on this machine",
}
"""What the keys do that not every run can have done to it."""


def steered(action: str) -> str:
    """What is done to a run by an action as a Binding has it: 'edit' of "ask('edit')"; '' where it is another."""
    found = re.match(r"(?:ask|steer)\('(\w+)'\)|(move)\(", action)
    return (found[1] or found[2]) if found else ""


def why_not(what: str, run: Run) -> str:
    """Why that can't be done to a run as it stands, and what would help; '' for what can."""
    if what not in _ONLY or NEEDS[what](run):
        return ""
    if what == "resume" and run.problem and not run.state.alive:
        return f"r can't go on with this one: {run.problem}."
    if what == "resume" and not run.state.alive:
        return (
            "r can't go on with this one: it has no checkpoint to go on from; C opens a copy of it, to train it anew."
        )
    helps = "; s stops it" if what in ("resume", "delete") and run.state.alive else ""
    helps = "; r asks for more epochs" if what == "edit" and run.state is State.FINISHED else helps
    return f"{_ONLY[what]}; this one is {run.state}{helps}."


def not_copied(run: Run) -> str:
    """What an edit or a resume made of the length of a run, which a copy of its settings has not; '' where nothing.

    Reads launch.json. `run repeat` says the same on the command line.
    """
    if run.config is None:
        return ""
    made, now = lengths(run.directory, run.config, run.status)
    if now == made:
        return ""
    return f"{run.name} was changed on the way to {_length(now)}; the copy is as it was made: {_length(made)}."


def _length(length: Length) -> str:
    limit = length.stop_at_accuracy
    return words.count(length.epochs, "epoch") + ("" if limit is None else f" or {limit:g} % test accuracy")


def nothing_listed(runs: Sequence[Run] | None, problem: str, runs_dir: Path, had_some: bool = False) -> Content:
    """What stands in the table's place; `runs` None: they are being read."""
    if problem and not runs:
        return Content.styled(problem, "$warning")
    if runs is None:
        return Content("Reading the runs ...")
    if runs:
        return Content.assemble(
            (f"None of {words.count(len(runs), 'run')} passes the filter.\n\n", ""),
            (" esc ", "bold $primary"),
            "shows all",
        )
    return Content.assemble(
        ("No runs any more: deleted or moved.\n\n" if had_some else "No runs yet.\n\n", "bold"),
        (" n ", "bold $primary"),
        " choose a preset, change what you like, start it\n",
        (" ? ", "bold $primary"),
        " all keys\n\n",
        ("The same without the app, from a shell:\n", ""),
        (f"{paths.command_line('run', 'preset', 'quick', of=runs_dir)}\n\n", "bold"),
        (f"Runs are kept in {runs_dir}", "$foreground-muted"),
    )
