"""A run with held-out training images learns from the others alone, and never looks at a test image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fmnist_tui.data.source import Images
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.result import Result
from tests.training.tiny import Trainer, tiny_config

HELD = 30


def trained(runs_dir: Path, images: Images) -> RunDirectory:
    """A run of one epoch that holds out the 30 images before the last 30."""
    trainer = Trainer(runs_dir, images)
    run = trainer.create(tiny_config(training={"epochs": 1}, data={"hold_out": HELD, "fold": 1}))
    trainer.train(run)
    return run


@pytest.mark.parametrize("changed", ["held out", "test", "trained on"])
def test_what_it_learns_from(tmp_path: Path, images: Images, changed: str) -> None:
    first = trained(tmp_path / "a", images)
    result = Result.model_validate_json(first.result.read_bytes())
    assert (result.train_images, result.test_images) == (len(images.train_labels) - HELD, HELD)
    assert (result.hold_out, result.fold) == (HELD, 1)
    held = slice(len(images.train_labels) - 2 * HELD, len(images.train_labels) - HELD)
    predictions = np.load(first.predictions)
    right = predictions["last_classes"] == images.train_labels[held]
    assert len(right) == HELD and result.test_accuracy == pytest.approx(100 * right.mean())

    train, test = images.train_images.copy(), images.test_images.copy()
    if changed == "test":
        test[:] = 255
    else:
        train[held if changed == "held out" else slice(0, 1)] = 255
    second = trained(tmp_path / "b", replace(images, train_images=train, test_images=test))
    weights = [Trainer.weights(run) for run in (first, second)]
    same = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert same == (changed != "trained on")
    classes = [np.load(run.predictions)["last_probabilities"] for run in (first, second)]
    assert np.array_equal(*classes) == (changed == "test")
