"""A tiny configuration, and runs of it trained within this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fmnist_tui.config import IMAGE_SIZE, RunConfig, parse_config
from fmnist_tui.data.source import Images
from fmnist_tui.runs import starting
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord, parse_metric
from fmnist_tui.runs.status import Status
from fmnist_tui.training import loop
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.job import Job
from fmnist_tui.training.precision import choose
from fmnist_tui.training.reporter import Reporter

TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 7,
    "model": {"kind": "wide_resnet", "depth": 10, "widen_factor": 1},
    "data": {"source": "sample", "split": "standard"},
    "augment": {"crop_padding": 2, "flip": True, "low_resolution": 8, "low_resolution_share": 1.0},
    "schedule": {"kind": "cosine"},
    "training": {"epochs": 3, "batch_size": 32, "precision": "fp32", "deterministic": True},
}


def tiny_config(**sections: Any) -> RunConfig:
    """The tiny configuration with whole sections or single values of them replaced; trains on images of 8 pixels."""
    data = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    for key, value in sections.items():
        fresh = key == "model" or not isinstance(value, dict)
        data[key] = value if fresh else {**data.get(key, {}), **value}
    return parse_config(data)


def full_size_config(**sections: Any) -> RunConfig:
    """The same for images of 28 pixels, whose steps take three times as long."""
    return tiny_config(**sections | {"augment": {"low_resolution": IMAGE_SIZE, **sections.get("augment", {})}})


class Trainer:
    """Trains runs in this process, as a worker would, and reads what they wrote."""

    def __init__(self, runs_dir: Path, images: Images) -> None:
        self.runs_dir, self.images = runs_dir, images
        self.during: Callable[[Job], None] = lambda job: None
        """Called before training with the job, to prepare an accident."""

    def create(self, config: RunConfig) -> RunDirectory:
        """A new run's directory."""
        return starting.create_run(self.runs_dir, config, device="cpu")

    def train(self, run: RunDirectory, launch: LaunchRequest | None = None) -> Job:
        """Train the run from where it stands; raises what `loop.train` raises."""
        config = RunConfig.model_validate_json(run.config.read_bytes())
        reporter = Reporter(run, Status.model_validate_json(run.status.read_bytes()))
        execution = choose(config.training, torch.device("cpu"))
        job = Job(run, config, launch or LaunchRequest(), self.images, execution, reporter, StopSignal())
        self.during(job)
        loop.train(job)
        return job

    @staticmethod
    def steps(run: RunDirectory) -> list[TrainRecord | EvalRecord]:
        """The training and evaluation lines in order."""
        records = [parse_metric(line) for line in run.metrics.read_bytes().splitlines()]
        return [record for record in records if isinstance(record, TrainRecord | EvalRecord)]

    @staticmethod
    def weights(run: RunDirectory, which: str = "last") -> dict[str, torch.Tensor]:
        """The model's tensors in a checkpoint."""
        content = torch.load(run.checkpoint(which), weights_only=True)
        return {
            **content["model"],
            **{f"momentum {k}": v["momentum_buffer"] for k, v in content["optimizer"]["state"].items()},
        }


def reporter_for(runs_dir: Path) -> Reporter:
    """The Reporter of a new run."""
    run = starting.create_run(runs_dir, tiny_config(), device="cpu")
    return Reporter(run, Status.model_validate_json(run.status.read_bytes()))
