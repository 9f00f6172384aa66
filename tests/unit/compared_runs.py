"""Runs on the sample with evaluations and predictions of known mistakes, for the tests of what compares them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fmnist_tui.data.source import load_sample
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.status import State, Status
from tests.predictions_maker import save_twice

TRUTH = load_sample().test_labels


def make_run(
    runs_dir: Path,
    accuracies: list[float],
    wrong: slice | None = slice(0, 200),
    state: State = State.FINISHED,
    **changes: Any,
) -> RunDirectory:
    """A run of `quick` with an evaluation an epoch, whose predictions have the images of `wrong` wrong."""
    config = with_changes(load_preset("quick"), {key.replace("__", "."): v for key, v in changes.items()})
    run = starting.create_run(runs_dir, config, device="cpu")
    status = Status.model_validate_json(run.status.read_bytes())
    done = {"state": state, "epoch": len(accuracies), "epochs": 8}
    replace_bytes(run.status, status.model_copy(update=done).to_json().encode())
    run.metrics.write_text(
        "".join(
            EvalRecord(
                epoch=epoch, step=47 * epoch, test_loss=0.5, test_accuracy=value, train_loss=0.4, train_accuracy=80.0,
                seconds=1.0,
            ).to_json() + "\n"
            for epoch, value in enumerate(accuracies, 1)
        )
    )  # fmt: skip
    if wrong is not None:
        write_predictions(run, len(accuracies), wrong)
    return run


def write_predictions(run: RunDirectory, epoch: int, wrong: slice, images: int = len(TRUTH)) -> None:
    """predictions.npz as a trainer writes it: right but for `wrong`, with a confidence of 0.9."""
    classes = TRUTH[:images].copy()
    classes[wrong] = (classes[wrong] + 1) % 10
    probabilities = np.full((images, 10), 0.1 / 9, np.float16)
    probabilities[np.arange(images), classes] = 0.9
    save_twice(run.predictions, classes, probabilities, epoch)
