"""The configuration of small runs that several processes, machines and Slurm jobs train in tests."""

from __future__ import annotations

from typing import Any

from fmnist_tui.config import RunConfig, parse_config

SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 5,
    "model": {"kind": "dual_path_net", "blocks": [1], "filters": [4], "growth_rate": [1]},
    "data": {"source": "sample", "split": "standard"},
    "augment": {"crop_padding": 4, "cutout_size": 16, "low_resolution": 8, "low_resolution_share": 1.0},
    "schedule": {"kind": "cosine"},
    "training": {"epochs": 2, "batch_size": 500, "precision": "fp32", "deterministic": True},
}


def config(**training: Any) -> RunConfig:
    return parse_config({**SMALL, "training": {**SMALL["training"], **training}})


LONG: dict[str, Any] = {"epochs": 500, "checkpoint_seconds": 0.2}
