"""For notebooks and scripts: runs and their metrics, predictions and networks as Python objects.

    from fmnist_tui import api

    run = api.load_run("last")
    loss = api.metrics(run)["train"]["loss"]

Everything is read from the run directories; nothing is changed and no worker is started. Only
`model_from_checkpoint` imports torch. docs/python.md has a worked example.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_tui import paths
from fmnist_tui.analysis import predictions as _predictions
from fmnist_tui.analysis.predictions import Predictions, TestSet
from fmnist_tui.api_words import words_of_python
from fmnist_tui.config import RunConfig
from fmnist_tui.report.rows import Benchmarks, collect
from fmnist_tui.runs import store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.layout import CHECKPOINTS
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord, read_metrics
from fmnist_tui.runs.records import Record
from fmnist_tui.runs.store import Run
from fmnist_tui.wording import one_of

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Benchmarks",
    "Predictions",
    "Run",
    "RunError",
    "TestSet",
    "benchmark_table",
    "evaluations",
    "load_run",
    "metrics",
    "model_from_checkpoint",
    "predictions",
    "runs",
    "test_set",
]

Columns = dict[str, NDArray[Any]]
"""Arrays of one length by name."""


@words_of_python()
def runs(runs_dir: Path | str | None = None) -> list[Run]:
    """Every run in a directory, newest first.

    Without `runs_dir` that is FMNIST_TUI_RUNS_DIR, else ./runs. A `Run` has `id`, `name`, `state`, `config`
    (RunConfig), `status`, `result` (None until it has finished), `earlier` (the Result of a finished run that goes on),
    `directory`, `comment` and, where something of it can't be read, `problem` and `earlier_problem`.
    Raises RunError where `runs_dir` is a file.
    """
    return store.list_runs(_runs_dir(runs_dir))


@words_of_python()
def load_run(name: str = "last", runs_dir: Path | str | None = None) -> Run:
    """The run of which `name` is a unique part of the id; 'last' is the newest.

    A snapshot: call it again to see how a run at work gets on. Raises RunError where none or several match.
    """
    return store.find_run(_runs_dir(runs_dir), name)


@words_of_python()
def metrics(run: Run) -> dict[str, Columns]:
    """The training and evaluation lines of a run as columns: {'train': {...}, 'eval': {...}}.

    train (N lines): time datetime64[ms] (UTC), step and epoch int64, loss, loss_min, loss_max, lr and
    images_per_second float64. A line is the mean over the steps since the line before it.

    eval (E lines): time, step, epoch, test_loss, test_accuracy, train_loss, train_accuracy, tta_accuracy (NaN where it
    was not measured) and seconds. Accuracies are percentages; losses may be NaN or infinite.

    Raises RunError where the file can't be read; a run that has none yet has columns of length 0.
    """
    found = read_metrics(run.directory)
    return {"train": _columns(TrainRecord, found.train), "eval": _columns(EvalRecord, found.eval)}


def evaluations(run: Run) -> Columns:
    """The evaluation lines of a run: `metrics(run)["eval"]`."""
    return metrics(run)["eval"]


def _columns(kind: type[Record], records: list[Any]) -> Columns:
    columns: Columns = {}
    for name in kind.model_fields:
        if name == "kind":
            continue
        values = [getattr(record, name) for record in records]
        if name == "time":
            columns[name] = np.asarray([value.removesuffix("Z") for value in values], dtype="datetime64[ms]")
        elif name in ("step", "epoch"):
            columns[name] = np.asarray(values, dtype=np.int64)
        else:
            columns[name] = np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)
    return columns


@words_of_python()
def test_set(run: Run, data_dir: Path | str | None = None) -> TestSet:
    """The images (N, 28, 28) uint8 and labels (N,) uint8 a run is tested on, in the order of its predictions.

    Raises RunError where the run has no valid configuration, and DataError where the data set can't be had.
    """
    return _predictions.load_test_set(_config(run).data, _data_dir(run, data_dir))


test_set.__test__ = False  # type: ignore[attr-defined]  # its name makes pytest take it for a test


@words_of_python()
def predictions(
    run: Run, which: Literal["last", "best"] = "last", data_dir: Path | str | None = None, *, earlier: bool = False
) -> Predictions:
    """What a run predicted for its test set.

    `classes` (N,) uint8, `probabilities` (N, 10) float32 and the true `labels` (N,) uint8. `which` is the last
    evaluation or the best one, which was chosen by its test accuracy and so flatters. They are the newest; with
    `earlier` they are those of `run.earlier`, the result a finished run had come to before it went on, which
    `benchmark_table` shows until there is another.

    Raises PredictionsError (a RunError) where they are missing or damaged, or there is no earlier result, DataError
    where the data set can't be had, and ValueError for another `which`.
    """
    _check_which(which, ("last", "best"))
    return _predictions.load_predictions(run, which, data_dir=_data_dir(run, data_dir), earlier=earlier)


@words_of_python()
def model_from_checkpoint(run: Run, which: Literal["last", "previous", "best"] = "last") -> nn.Module:
    """The run's network in eval mode, float32, on the CPU: normalised (B, 1, 28, 28) images to (B, 10) logits.

    `fmnist_tui.data.batches.normalize` makes its input of (B, 28, 28) uint8 pixels. Imports torch. Raises
    CheckpointError (a ValueError) where the checkpoint is missing, damaged or of another model, RunError where the run
    has no valid configuration, and ValueError for another `which`.
    """
    _check_which(which, CHECKPOINTS)
    _config(run)
    from fmnist_tui.training.restore import restore_model

    return restore_model(run.directory, which).model


@words_of_python()
def benchmark_table(runs_dir: Path | str | None = None) -> Benchmarks:
    """The finished runs of a directory as the report's table has them.

    `rows` (best accuracy first) hold the runs that differ in nothing but the seed; `row.spread("test_accuracy")` is
    their mean and sample standard deviation, `row.first.reference` the reference's row where it may be compared.
    `runs` are the single results, newest first. Raises RunError where `runs_dir` is a file.
    """
    return collect(_runs_dir(runs_dir))


def _runs_dir(runs_dir: Path | str | None) -> Path:
    return paths.runs_dir(Path(runs_dir) if runs_dir is not None else None)


def _config(run: Run) -> RunConfig:
    if run.config is None:
        raise RunError(f"{run.id}: {run.problem}")
    return run.config


def _check_which(which: str, choices: Sequence[str]) -> None:
    if which not in choices:
        raise ValueError(f"which = {which!r}: {one_of(choices, which)}")


def _data_dir(run: Run, data_dir: Path | str | None) -> Path | None:
    """The directory named, else the one the run was started with."""
    named = data_dir or last_launch(run.directory).data_dir
    return Path(named) if named else None
