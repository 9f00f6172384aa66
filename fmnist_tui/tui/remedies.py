"""What helps, in the app's words: keys, fields and screens. `fmnist_tui.remedies` has the command line's.

A remedy of which the app can do nothing names what to type in a shell, as a whole command; one that needs none (the
screen shows it already) is ''.
"""

from __future__ import annotations

from collections.abc import Mapping

from fmnist_tui.remedies import Told
from fmnist_tui.runs.files import is_there
from fmnist_tui.runs.starting import lacks_checkpoint
from fmnist_tui.runs.store import Run

IN_A_SHELL = "In a shell, `apt-get install dataset-fashion-mnist` or `fmnist-tui data fetch` gets the full data set"
SAMPLE = "the small sample needs neither: data.source = sample on New run"
ANEW = "C opens a copy of it on New run, to train it anew"
BEST = "r asks whether to go on from the best one"

APP: Mapping[str, str] = {
    "data": f"{IN_A_SHELL}; {SAMPLE}.",
    "data damaged": "In a shell, `fmnist-tui data fetch --data-dir {directory}` replaces damaged files; "
    + SAMPLE
    + ".",
    "data not fetched": f"{IN_A_SHELL}; {SAMPLE}.",
    "other data directory": "in a shell, name another: `fmnist-tui data fetch --data-dir DIRECTORY`",
    "other runs directory": "make it writable, or start the app in another: `fmnist-tui --runs-dir DIRECTORY`",
    "more epochs": "r again: give {more} as epochs in all",
    "other limit": "r again: raise the accuracy to stop at, or empty its field",
    "other limit and epochs": "r again: raise the accuracy to stop at or empty its field, and give more epochs",
    "no limit": "r asks for another, or none",
    "train anew": ANEW,
    "from best": f"{BEST}; {ANEW}",
    "try best": f"{BEST}; {ANEW}",
    "room for result": "make room on its disk, then r goes on",
    "room for checkpoint": "once there is room, r goes on from there, with more epochs",
    "stop first": "s stops it",
    "delete it": "d deletes all of it",
    "queue": "",
    "start now": "s can start it at once, beside the run at work",
    "micro batch": "C opens a copy of it on New run: set training.micro_batch to {fits} or auto there",
    "smaller micro batch": "C opens a copy of it on New run: set training.micro_batch to less, for example {half}",
    "fewer GPUs": "C opens a copy of it on New run: choose as many there",
    "first run": "n on Runs makes one",
    "other checkpoint": "there is another: {other}",
    "scale schedule": "F8 moves them in proportion",
}

FORM: Mapping[str, str] = {
    **APP,
    "data": f"{IN_A_SHELL}; data.source = sample needs neither.",
    "micro batch": "set training.micro_batch to {fits} or auto",
    "smaller micro batch": "set training.micro_batch to less, for example {half}",
    "fewer GPUs": "choose as many",
}
"""The same where the settings are at hand: on New run."""

OPTIONS: Mapping[str, str] = {
    "runs-dir": "runs directory",
    "data-dir": "data directory",
    "stop-at-accuracy": "accuracy to stop at",
    "from": "checkpoint",
}
"""What the app calls the values that the command line's options of these names give."""


def told(error: Exception) -> str:
    """What an error says, with what helps in the app's words."""
    return error.told(APP, OPTIONS) if isinstance(error, Told) else str(error)


def only_best_is_left(run: Run) -> bool:
    """Whether the best checkpoint is the only one to go on from: the others are gone, or were found damaged."""
    if not is_there(run.directory.checkpoint("best")):
        return False
    helps = run.status.remedy if run.status else None
    return (helps is not None and helps.name == "try best") or not run.directory.has_checkpoint()


def no_checkpoint_is_left(run: Run) -> bool:
    """Whether a run can't go on for want of any checkpoint, its best one too: an archived run, say."""
    return lacks_checkpoint(run) and not is_there(run.directory.checkpoint("best"))
