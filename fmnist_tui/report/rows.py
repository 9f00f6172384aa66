"""Which runs belong in the benchmark table, and which of them share a row.

Called by the tables and the exports; reads run directories and presets, formats nothing.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Hashable, Iterable, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from fmnist_tui import fields, presets
from fmnist_tui.config import ConfigError, Reference, RunConfig
from fmnist_tui.report.describe import network_name
from fmnist_tui.runs import store
from fmnist_tui.runs.records import SCHEMA_VERSION
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import State

T = TypeVar("T")
NOT_COMPARED = (
    "seed",
    "training.precision",
    "training.memory_format",
    "training.compile",
    "training.cuda_graphs",
    "training.cpu_kernels",
    "training.deterministic",
    "training.tf32",
    "training.cudnn_benchmark",
    "training.fused",
    "training.threads",
    "training.micro_batch",
    "training.eval_every",
    "training.tta",
    "training.checkpoint_seconds",
    "training.max_steps",
)
"""Fields that make no other experiment: the seed, how the arithmetic is done, how often is looked. What they
came to stands in the result, and `max_steps` in its `complete`. (So do `data.source` and `data.split`.)"""

Grouping = Literal["settings", "preset", "seed", "device"]
GROUPINGS: dict[Grouping, str] = {
    "settings": "Runs that differ in nothing but the seed share a row: mean ± sample standard deviation.",
    "preset": "All runs of a preset share a row, whatever was changed, on whatever device: mean ± sample standard "
    "deviation (number of runs).",
    "seed": "The runs of a preset with one seed share a row: mean ± sample standard deviation (number of runs).",
    "device": "The runs of a preset on one kind of device share a row: mean ± sample standard deviation (number of "
    "runs).",
}
"""Which runs share a row, and how that is said. Data, split and a step limit always keep rows apart."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run with what the table says of its configuration."""

    id: str
    config: RunConfig
    result: Result
    model_name: str
    """The reference's name for this network where it has one, else the family with its sizes."""
    origin: str
    """'shipped', 'own' (a preset of the user's) or 'none' (a configuration file)."""
    changed: dict[str, tuple[Any, Any]]
    """Hyperparameters that differ from the preset's: (the preset's value, the run's)."""
    reference: Reference | None
    """The reference row it may be compared with; None where that would not be like with like."""

    @property
    def label(self) -> str:
        """The preset's name, or the run's where it came from none."""
        return self.config.preset or self.result.name

    @property
    def micro_batch(self) -> int | None:
        """Images on the device at once where that was less than the batch: it changes batch norm's statistics."""
        batch_size = self.config.training.batch_size
        return self.result.micro_batch if self.result.micro_batch < batch_size else None

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The fields that make the experiment, with the epochs really trained."""
        return _experiment(self.config, self.result)

    @property
    def group(self) -> Hashable:
        """Runs whose groups are equal differ in nothing but the seed and share a row."""
        result = self.result
        return (
            (self.origin, self.label, tuple(self.hyperparameters.items()), self.reference),
            (result.data_source, result.split, result.train_images, result.test_images),
            (result.epochs, result.complete, result.complete or result.steps),
            (result.parameters, result.device_name or result.device, result.devices),
            (result.precision, result.compile, result.deterministic, self.micro_batch),
            self.config.training.eval_every,
        )


def group_key(run: FinishedRun, by: Grouping) -> Hashable:
    """Runs whose keys are equal share a row."""
    if by == "settings":
        return run.group
    result = run.result
    device = (result.device_name or result.device, result.devices)
    of_its_own = {"preset": (), "seed": (result.seed,), "device": device}[by]
    return (run.origin, run.label, result.data_source, result.split, result.complete, of_its_own)


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
    """(id, why) of runs that have finished, by what lies there, but whose result can't be used."""
    by: Grouping = "settings"
    only: Set[str] = frozenset()
    """The ids that were named; empty where the directory as a whole was meant."""

    def grouped(self, by: Grouping) -> Benchmarks:
        """The same runs in other rows."""
        return replace(self, rows=make_rows(reversed(self.runs), by), by=by)


def collect(runs_dir: Path, only: Set[str] = frozenset()) -> Benchmarks:
    """The finished runs of a directory, or those of the ids in `only`, grouped into rows.

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
    return Benchmarks(finished, make_rows(reversed(finished)), skipped, only=only)


def _unusable(run: store.Run) -> str:
    """Why a run that has finished, by what lies there, can't be in the table; '' for all others."""
    if run.state is not State.FINISHED and not (run.problem and run.directory.result.exists()):
        return ""
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


def preset_base(preset: str | None) -> tuple[RunConfig | None, str]:
    """The preset hyperparameters are compared with, where it can be found, and its origin (FinishedRun.origin)."""
    if preset is None:
        return None, "none"
    if shipped := presets.shipped_preset(preset):
        return shipped, "shipped"
    try:
        return presets.load_preset(preset), "own"
    except ConfigError:  # deleted, renamed or broken since
        return None, "own"


def finished_run(
    result: Result,
    config: RunConfig,
    run_id: str = "",
    base_of: Callable[[str | None], tuple[RunConfig | None, str]] = preset_base,
) -> FinishedRun:
    """A run's result with what its configuration changed and the reference it may be compared with."""
    base, origin = base_of(config.preset)
    changed: dict[str, tuple[Any, Any]] = {}
    if base is not None:
        before, after = _experiment(base), _experiment(config, result)
        pairs = {key: (before.get(key), after.get(key)) for key in before | after}
        changed = {key: (old, new) for key, (old, new) in pairs.items() if old != new}
    # What ships with the program has one reference; a user's configuration may bring its own.
    reference = base.reference if base is not None and origin == "shipped" else config.reference
    if reference is not None and origin == "shipped" and reference.parameters != result.parameters:
        reference = None  # another network
    return FinishedRun(
        id=run_id or result.id,
        config=config,
        result=result,
        model_name=reference.model_name if reference else network_name(config.model),
        origin=origin,
        changed=changed,
        reference=reference if _comparable(result) else None,
    )


def _comparable(result: Result) -> bool:
    """Whether a result is of the whole run on the split and the data the reference was measured on."""
    return result.data_source == "full" and result.split == "custom" and result.complete


def _experiment(config: RunConfig, result: Result | None = None) -> dict[str, Any]:
    """The fields that make the experiment. A finished run trained for the epochs its result says.

    (They may have been changed on the way, by a resume, an edit or `stop_at_accuracy`.)
    """
    flat = fields.flatten(config)
    if result is not None and result.complete:
        flat["training.epochs"] = result.epochs
    return {key: value for key, value in flat.items() if key not in NOT_COMPARED and not key.startswith("data.")}
