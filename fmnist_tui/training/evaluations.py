"""What comes of a run's evaluations: accuracies, eval lines, confusions, predictions. One of the Desk's parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.training.confusions import ConfusionLog
from fmnist_tui.training.evaluate import Evaluation
from fmnist_tui.training.job import Job
from fmnist_tui.training.losses import NonFiniteLoss
from fmnist_tui.training.progress import Pace, Progress
from fmnist_tui.training.result import Predictions


class Evaluations:
    """Takes in each evaluation, and writes what is kept of it beside the metric line."""

    def __init__(self, job: Job, progress: Progress, pace: Pace) -> None:
        self._run, self._reporter, self._progress, self._pace = job.run, job.reporter, progress, pace
        self.predictions = Predictions()
        self.confusions = ConfusionLog(job.run)
        self._unwritten: set[str] = set()

    def take_in(self, evaluation: Evaluation, seconds: float) -> None:
        """Take in the epoch's evaluation. Raises NonFiniteLoss where the network gives no numbers."""
        progress = self._progress
        progress.eval_seconds += seconds
        self._pace.evaluation(seconds)
        record = EvalRecord(
            epoch=progress.epoch,
            step=progress.step,
            test_loss=evaluation.loss,
            test_accuracy=evaluation.accuracy,
            train_loss=float(progress.epoch_loss) / progress.epoch_images,
            train_accuracy=100.0 * int(progress.epoch_correct) / progress.epoch_images,
            tta_accuracy=evaluation.tta_accuracy,
            seconds=seconds,
        )
        self._reporter.write(record)
        if not math.isfinite(evaluation.loss):
            raise NonFiniteLoss(progress.step, progress.epoch, evaluation.loss, "the test loss")
        is_best = progress.best_accuracy is None or evaluation.accuracy > progress.best_accuracy
        progress.test_accuracy, progress.test_loss = evaluation.accuracy, evaluation.loss
        progress.tta_accuracy = evaluation.tta_accuracy
        progress.train_accuracy, progress.evaluated_epoch = record.train_accuracy, progress.epoch
        if is_best:
            progress.best_accuracy, progress.best_epoch = evaluation.accuracy, progress.epoch
        self.predictions.add(evaluation, progress.epoch, is_best)
        with self._warned_once("the confusion matrix"):
            self.confusions.add(progress.epoch, progress.step, evaluation.confusion)

    def save_predictions(self) -> None:
        """Write predictions.npz; where it can't be written, that is a warning."""
        with self._warned_once("predictions"):
            self.predictions.save(self._run)

    def cut_back(self, evaluated_epoch: int, confusions: Iterable[str]) -> None:
        """Drop what is on disk of later evaluations: the run makes them again. `confusions` are lines to have."""
        self.confusions.keep_until(evaluated_epoch, confusions)
        with self._warned_once("predictions"):
            self.predictions.cut_back(self._run, evaluated_epoch)

    @contextmanager
    def _warned_once(self, what: str) -> Iterator[None]:
        """What can't be written within is a warning, and a word when it can again, not one for each evaluation."""
        try:
            yield
        except OSError as error:
            text = f"{what} could not be written: {error.strerror or error}; training goes on"
            if what not in self._unwritten:
                self._unwritten.add(what)
                self._reporter.event("warning", text, trouble=what)
        else:
            if what in self._unwritten:
                self._unwritten.discard(what)
                self._reporter.event("warning", f"{what} could be written again", trouble=what, over=True)
