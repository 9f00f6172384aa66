"""Which runs belong in the benchmark table, and which of them share a row.

Called by the tables and the exports; reads run directories and presets, formats nothing.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Hashable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from fmnist_tui.report.finished import FinishedRun, finished_run, preset_base
from fmnist_tui.runs import store
from fmnist_tui.runs.files import is_there
from fmnist_tui.runs.records import SCHEMA_VERSION
from fmnist_tui.runs.status import State

T = TypeVar("T")
Grouping = Literal["settings", "preset", "seed", "device"]
GROUPINGS: dict[Grouping, str] = {
    "settings": "Runs that differ in nothing but the seed share a row: mean ± sample standard deviation.",
    "preset": "All runs of a preset share a row, whatever was changed, on whatever device, but for data, split and "
    "whether a step limit cut them short: mean ± sample standard deviation (number of runs).",
    "seed": "The runs of a preset with one seed share a row, whatever was changed, but for data, split and whether a "
    "step limit cut them short: mean ± sample standard deviation (number of runs).",
    "device": "The runs of a preset on one kind of device share a row, whatever was changed, but for data, split and "
    "whether a step limit cut them short: mean ± sample standard deviation (number of runs).",
}
"""Which runs share a row, and how that is said."""


def group_key(run: FinishedRun, by: Grouping) -> Hashable:
    """Runs whose keys are equal share a row."""
    if by == "settings":
        return run.group
    result = run.result
    device = (result.device_name or result.device, result.devices)
    of_its_own = {"preset": (), "seed": (result.seed,), "device": device}[by]
    data = (result.data_source, result.split, result.hold_out)
    return (run.origin, run.label, data, result.complete, of_its_own)


@dataclass(frozen=True)
class Spread:
    """A measured value over the runs of a row."""

    mean: float
    sd: float | None
    """Sample standard deviation; None for a single run."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Mean and sample standard deviation of one value or more."""
        numbers = list(values)
        return cls(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None)


@dataclass(frozen=True)
class Row:
    """Runs of one group, oldest first: one line of the table. By default they differ in nothing but the seed."""

    runs: tuple[FinishedRun, ...]
    by: Grouping = "settings"

    def common(self, value: Callable[[FinishedRun], T]) -> T | None:
        """What a value is in all runs of the row; None where they differ."""
        first = value(self.runs[0])
        return first if all(value(run) == first for run in self.runs[1:]) else None

    @property
    def settings(self) -> int:
        """How many different sets of hyperparameters the runs have."""
        return len({tuple(run.hyperparameters.items()) for run in self.runs})

    @property
    def epochs(self) -> list[int]:
        """The different numbers of epochs trained, ascending."""
        return sorted({run.result.epochs for run in self.runs})

    @property
    def first(self) -> FinishedRun:
        """The run that speaks for the row in everything the runs have in common."""
        return self.runs[0]

    @property
    def seeds(self) -> list[int]:
        """The different seeds, ascending."""
        return sorted({run.result.seed for run in self.runs})

    @property
    def best_epochs(self) -> list[int]:
        """The epochs of the best accuracies, ascending, each once."""
        return sorted({run.result.best_epoch for run in self.runs})

    def spread(self, field: str) -> Spread:
        """Mean and standard deviation of a numeric field of Result."""
        return Spread.of(getattr(run.result, field) for run in self.runs)

    @property
    def tta_accuracy(self) -> Spread | None:
        """Accuracy with test-time averaging over the runs that measured it; None where none did."""
        values = [value for run in self.runs if (value := run.result.tta_accuracy) is not None]
        return Spread.of(values) if values else None

    @property
    def energy_joules(self) -> Spread | None:
        """Energy over the runs whose GPU counted it; None where none did."""
        values = [value for run in self.runs if (value := run.result.energy_joules) is not None]
        return Spread.of(values) if values else None

    def above_reference(self, field: str) -> float | None:
        """Percentage points of a mean accuracy above the reference's; None where there is none to compare with."""
        reference = self.common(lambda run: run.reference)
        return None if reference is None else self.spread(field).mean - reference.accuracy


@dataclass(frozen=True)
class Benchmarks:
    """The finished runs of a directory, as they are and as rows."""

    runs: list[FinishedRun]
    """Newest first."""
    rows: list[Row]
    """The best final accuracy first, incomplete runs last."""
    skipped: list[tuple[str, str]]
    """(id, why) of runs that have finished, by what lies there, but whose result can't be used, or is a copy."""
    by: Grouping = "settings"
    only: Set[str] = frozenset()
    """The ids that were named; empty where the directory as a whole was meant."""

    def grouped(self, by: Grouping) -> Benchmarks:
        """The same runs in other rows."""
        return replace(self, rows=make_rows(reversed(self.runs), by), by=by)


def collect(runs_dir: Path, only: Set[str] = frozenset()) -> Benchmarks:
    """The finished runs of a directory, or those of the ids in `only`, grouped into rows.

    A finished run that went on is there with its earlier result until it has another.
    Raises RunError where `runs_dir` is no directory.
    """
    finished: list[FinishedRun] = []
    skipped: list[tuple[str, str]] = []
    base_of = functools.cache(preset_base)  # many runs, few presets
    for run in store.list_runs(runs_dir):
        if only and run.id not in only:
            continue
        if problem := _unusable(run):
            skipped.append((run.id, problem))
        elif run.state is State.FINISHED:
            assert run.config and run.result, run.id
            finished.append(finished_run(run.result, run.config, run.id, base_of))
        elif run.earlier and run.config and run.is_whole:
            finished.append(replace(finished_run(run.earlier, run.config, run.id, base_of), resumed=run.state))
    finished, copies = _without_copies(finished)
    return Benchmarks(finished, make_rows(reversed(finished)), skipped + copies, only=only)


def _without_copies(runs: Sequence[FinishedRun]) -> tuple[list[FinishedRun], list[tuple[str, str]]]:
    """Each result once, and (id, why) of the others: a copied run directory is no further seed.

    Of several the one stays that still has its name, else the oldest.
    """
    same: dict[str, list[FinishedRun]] = {}
    for run in reversed(runs):
        same.setdefault(run.result.to_json(), []).append(run)
    kept = {key: next((run for run in found if run.id == run.result.id), found[0]) for key, found in same.items()}
    copies = [(run.id, f"is a copy of {kept[key].id}") for key, found in same.items() for run in found]
    stay = {run.id for run in kept.values()}
    return [run for run in runs if run.id in stay], [copy for copy in copies if copy[0] not in stay]


def _unusable(run: store.Run) -> str:
    """Why a run that has finished, by what lies there, can't be in the table; '' for all others."""
    if run.state is not State.FINISHED and not (run.problem and is_there(run.directory.result)):
        return run.earlier_problem
    if run.problem and not (run.mendable and run.result):  # a lost status is no loss where there is the result
        return run.problem
    if run.result is None:
        return "result.json is missing"
    if run.result.schema_version > SCHEMA_VERSION:
        return f"result.json is of a newer fmnist-tui (schema {run.result.schema_version}); update this one to read it"
    return ""


def make_rows(runs: Iterable[FinishedRun], by: Grouping = "settings") -> list[Row]:
    """Rows of the runs (oldest first), grouped, in the table's order."""
    groups: dict[Hashable, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(group_key(run, by), []).append(run)
    rows = [Row(tuple(group), by) for group in groups.values()]
    return sorted(rows, key=lambda row: (not row.first.result.complete, -row.spread("test_accuracy").mean))
