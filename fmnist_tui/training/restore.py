"""A run's network as a checkpoint holds it, ready to predict. Called by the export, `predict` and the Python API."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from fmnist_tui.config import RunConfig
from fmnist_tui.models import build_model
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training import checkpoint


class Restored(NamedTuple):
    """A network and where it stood."""

    model: nn.Module
    """In eval mode, float32, on the CPU: (B, 1, 28, 28) normalised images to (B, 10) logits."""
    config: RunConfig
    epoch: int
    """The last evaluated epoch, 0 before the first."""
    step: int
    test_accuracy: float | None
    """At that epoch, %."""


def restore_model(run: RunDirectory, which: str = "last") -> Restored:
    """The network of a run's checkpoint 'last', 'previous' or 'best'.

    Raises CheckpointError where it is missing, damaged or of another model, and ValidationError or OSError where
    the run has no valid config.json.
    """
    config = RunConfig.model_validate_json(run.config.read_bytes())
    path = run.checkpoint(which)
    content = checkpoint.read_of_run(run, which)
    checkpoint.check_model(content, config, str(path))
    model = build_model(config.model)
    model.load_state_dict(content["model"])
    progress = content["progress"]
    return Restored(
        model.eval(), config, int(progress["evaluated_epoch"]), int(progress["step"]), progress["test_accuracy"]
    )
