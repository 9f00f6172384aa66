"""The settings in which runs differ, and what tells those of one name apart: 'seed 3', 'lr 0.05 seed 1'.

Used wherever runs stand beside each other: the app's lists and comparisons, `runs compare`, the HTML report. No NumPy:
the app's first frame shows names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from fmnist_tui.fields import field_value, flatten
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run


class Difference(NamedTuple):
    """A hyperparameter whose value is not the same in all runs; None where a run has no such field."""

    key: str
    values: tuple[Any, ...]


def differing(runs: Sequence[Run]) -> list[Difference]:
    """The hyperparameters (dotted) in which the runs differ, in the order of the configuration.

    Each as the run trained with it: see `trained_with`. A run whose configuration can't be read has None everywhere.
    """
    return _differing([trained_with(run) for run in runs])


def _differing(flat: Sequence[dict[str, Any]]) -> list[Difference]:
    keys = list(dict.fromkeys(key for fields in flat for key in fields))
    rows = [Difference(key, tuple(fields.get(key) for fields in flat)) for key in keys]
    return [row for row in rows if any(value != row.values[0] for value in row.values[1:])]


def trained_with(run: Run) -> dict[str, Any]:
    """A run's configuration, flat (`fields.flatten`), with what a resume, an edit or an early end made of its length.

    The report counts the epochs of finished runs likewise (`report.finished`). {} where it can't be read.
    """
    if run.config is None:
        return {}
    fields = flatten(run.config)
    if run.status is not None and run.status.epochs:
        fields["training.epochs"] = run.status.epochs
        fields["training.stop_at_accuracy"] = run.status.stop_at_accuracy
    if run.state is State.FINISHED and run.result is not None and run.result.complete:
        fields["training.epochs"] = run.result.epochs
    return fields


def apart(runs: Sequence[Run]) -> dict[str, str]:
    """By id what tells each run apart from those of its name: the settings that differ, as few as will do, the seed
    last. What is not set says nothing. Runs that differ in none, repeats, have the end of their id.
    """
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
    said = {run.id: "" for run in runs}
    for same in by_name.values():
        if len(same) > 1:
            said |= _settings_apart(same)
    return said


def names_apart(runs: Sequence[Run]) -> dict[str, str]:
    """By id each run's name with what tells it apart: 'quick', 'quick seed 3'."""
    said = apart(runs)
    return {run.id: f"{run.name} {said[run.id]}".rstrip() for run in runs}


def _settings_apart(runs: Sequence[Run]) -> dict[str, str]:
    flat = [trained_with(run) for run in runs]
    shared = Counter(_short(key) for key in {key for fields in flat for key in fields})
    said = [""] * len(runs)
    told: dict[str, list[str]] = {}
    for row in _differing(flat):
        name = _short(row.key) if shared[_short(row.key)] == 1 else row.key
        told[row.key] = ["" if value is None else f"{name} {field_value(value)}" for value in row.values]
    for keys in ([key for key in told if key != "seed"], [key for key in told if key == "seed"]):
        while keys:  # the one that tells most apart first: where it tells all, no other is needed
            apart_by = {key: len({*zip(said, told[key], strict=True)}) for key in keys}
            best = max(keys, key=apart_by.__getitem__)
            if apart_by[best] == len({*said}):
                break
            said = _extended(said, told[best])
            keys.remove(best)
    said = _extended(said, [run.id.rpartition("-")[2] for run in runs])
    return {run.id: text for run, text in zip(runs, said, strict=True)}


def _extended(said: Sequence[str], more: Sequence[str]) -> list[str]:
    """The texts, each that stands there more than once with what is said `more` of it."""
    counts = Counter(said)
    return [f"{text} {extra}".strip() if counts[text] > 1 else text for text, extra in zip(said, more, strict=True)]


def _short(key: str) -> str:
    """A field without its section."""
    return key.rpartition(".")[2]
