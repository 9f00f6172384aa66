"""Evaluations of a run as a trainer would have left them, without training: for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from fmnist_tui.analysis.epochs import epoch_steps
from fmnist_tui.config import DataConfig, RunConfig
from fmnist_tui.runs.confusions import ConfusionRecord
from fmnist_tui.runs.files import LineWriter
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.starting import create_run
from fmnist_tui.runs.store import load_run

CONFUSED_WITH = np.array([6, 3, 4, 0, 2, 7, 0, 9, 6, 7], dtype=np.uint8)
"""What an image of each class is mostly taken for."""


class Evaluated:
    """One evaluation: `classes` (N,) uint8 and `probabilities` (N, 10) float16."""

    def __init__(self, labels: np.ndarray, wrong_share: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        count = len(labels)
        other = np.where(rng.random(count) < 0.8, CONFUSED_WITH[labels], (labels + 1 + rng.integers(0, 9, count)) % 10)
        wrong = rng.random(count) < wrong_share * np.where(labels == 6, 2.0, 1.0)
        self.classes = np.where(wrong, other, labels).astype(np.uint8)
        second = np.where(wrong, labels, other).astype(np.uint8)
        sure = rng.uniform(0.5, 0.99, count)
        probabilities = np.full((count, 10), 0.0)
        probabilities[np.arange(count), self.classes] = sure
        probabilities[np.arange(count), second] = 1.0 - sure
        self.probabilities = probabilities.astype(np.float16)

    def counts(self, labels: np.ndarray) -> list[int]:
        """The 100 entries of the confusion matrix, counted by hand."""
        counts = [0] * 100
        for true, predicted in zip(labels.tolist(), self.classes.tolist(), strict=True):
            counts[10 * true + predicted] += 1
        return counts


def evaluate(labels: np.ndarray, epochs: int, seed: int = 0) -> list[Evaluated]:
    """Evaluations that get better, and at the end a little worse: the best is the one before the last."""
    shares = [0.4 / epoch for epoch in range(1, epochs + 1)]
    if epochs > 1:
        shares[-1] = shares[-2] + 0.03
    return [Evaluated(labels, share, 100 * seed + at) for at, share in enumerate(shares)]


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """np.savez, whose types take what ** holds for its own flag too."""
    np.savez(path, **arrays)  # type: ignore[arg-type]


def save_twice(path: Path, classes: np.ndarray, probabilities: np.ndarray, epoch: int) -> None:
    """Predictions whose best evaluation is the last one."""
    arrays = [("classes", classes), ("probabilities", probabilities), ("epoch", np.asarray(epoch))]
    save_arrays(path, {f"{which}_{key}": array for which in ("last", "best") for key, array in arrays})


def write_evaluations(run: RunDirectory, labels: np.ndarray, found: list[Evaluated], history: bool = True) -> None:
    """Write predictions.npz, and confusions.jsonl with an evaluation an epoch."""
    accuracies = [float((one.classes == labels).mean()) for one in found]
    best = accuracies.index(max(accuracies))
    arrays: dict[str, np.ndarray] = {}
    for which, at in (("last", len(found) - 1), ("best", best)):
        arrays[f"{which}_classes"] = found[at].classes
        arrays[f"{which}_probabilities"] = found[at].probabilities
        arrays[f"{which}_epoch"] = np.asarray(at + 1)
    if len(found) > 1:
        arrays |= {"previous_classes": found[-2].classes, "previous_epoch": np.asarray(len(found) - 1)}
    temporary = run.path / "predictions.tmp.npz"
    save_arrays(temporary, arrays)
    temporary.replace(run.predictions)
    run.confusions.unlink(missing_ok=True)
    if history:
        writer = LineWriter(run.confusions)
        for at, one in enumerate(found):
            record = ConfusionRecord(epoch=at + 1, step=118 * (at + 1), counts=one.counts(labels))
            writer.write(record.to_json() + "\n")
        writer.close()


def limited(run: RunDirectory, epochs: int, share: float) -> None:
    """Write metrics of an evaluation an epoch, the last one in the midst of its epoch: a step limit ended it there."""
    made = load_run(run)
    per_epoch = epoch_steps(made.status, made.config)
    steps = [per_epoch * epoch for epoch in range(1, epochs)]
    steps.append(per_epoch * (epochs - 1) + round(per_epoch * share))
    with run.metrics.open("w") as file:
        for epoch, step in enumerate(steps, 1):
            record = EvalRecord(
                epoch=epoch, step=step, test_loss=0.5, test_accuracy=80, train_loss=0.4, train_accuracy=80, seconds=1
            )
            file.write(record.to_json() + "\n")


def sample_run(runs_dir: Path, config: RunConfig, split: Literal["custom", "standard"] = "standard") -> RunDirectory:
    """A run that is to be tested on the sample."""
    return create_run(runs_dir, config.model_copy(update={"data": DataConfig(source="sample", split=split)}))
