"""What the Mistakes screen shows of a run, read from its files in a worker thread. No Textual."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_tui.analysis.confusion import History, Matrix, confusion_matrix, read_history
from fmnist_tui.analysis.epochs import Trained
from fmnist_tui.analysis.predictions import (
    Predictions,
    PredictionsError,
    TestSet,
    load_predictions,
    load_test_set,
    read_stored,
)
from fmnist_tui.config import DataConfig
from fmnist_tui.data.source import DataError
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.remedies import told


@dataclass(frozen=True)
class Reading:
    """A run's evaluations as they stand on disk."""

    epochs: tuple[int, ...]
    """The evaluated epochs whose matrices are known, oldest first."""
    trained: Trained
    """What was trained by each of them."""
    matrices: tuple[Matrix, ...]
    last: Predictions | None
    best: Predictions | None
    best_epoch: int | None
    """Known without the images too."""
    test: TestSet | None
    problem: str
    """Why there are no images, in words; '' where there are."""

    def at(self, epoch: int) -> Predictions | None:
        """The predictions that were kept of an epoch."""
        for predictions in (self.last, self.best):
            if predictions is not None and predictions.epoch == epoch:
                return predictions
        return None


class MistakesReader:
    """Reads a run's evaluations, and again when one was added; keeps the test images, 8 to 31 MB, between reads."""

    def __init__(self, data_dir: Path | None) -> None:
        self._data_dir = data_dir
        self._test: TestSet | None = None
        self._stamp: object = None

    def read(self, run: Run) -> Reading | None:
        """The run's evaluations; None where nothing changed since the last call."""
        stamp = (run.id, run.problem, *(_stamp(path) for path in (run.directory.predictions, run.directory.confusions)))
        if stamp == self._stamp:
            return None
        history, problem = read_history(run.directory), ""
        best_epoch: int | None = None
        last = best = None
        try:
            best_epoch = read_stored(run.directory, "best").epoch
            images = self.test_set(run.config.data) if run.config else None
            last, best = load_predictions(run, "last", images), load_predictions(run, "best", images)
        except (DataError, PredictionsError) as error:
            problem = told(error)
        self._stamp = stamp
        matrices = _matrices(history, last, best)
        if best_epoch is None and matrices:
            best_epoch = max(matrices, key=lambda epoch: (int(np.trace(matrices[epoch])), -epoch))
        test = self._test if last else None
        return Reading(tuple(matrices), Trained(run), tuple(matrices.values()), last, best, best_epoch, test, problem)

    def test_set(self, config: DataConfig) -> TestSet:
        """The test images, read once. Raises DataError."""
        if self._test is None:
            self._test = load_test_set(config, self._data_dir)
        return self._test


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 - once a second
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _matrices(history: History, last: Predictions | None, best: Predictions | None) -> dict[int, Matrix]:
    """By epoch, oldest first: the history with those of kept predictions, which runs of before it have alone."""
    matrices = dict(zip(history.epochs.tolist(), history.matrices, strict=True))
    for predictions in (best, last):
        if predictions is not None and predictions.epoch not in matrices:
            matrices[predictions.epoch] = confusion_matrix(predictions.labels, predictions.classes)
    return dict(sorted(matrices.items()))
