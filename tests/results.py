"""Results as the trainer would write them, for tests of what reads them."""

from __future__ import annotations

from typing import Any

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.result import Provenance, Result

PARAMETERS = {"wrn": 36_478_906, "densenet": 768_730, "dpn": 47_751_450, "quick": 77_850, "mine": 768_730}
MADE_WITH = Provenance(fmnist_tui="0.1.0", python="3.11.7", torch="2.14.1", platform="Linux", command=["fmnist-tui"])
ON_CPU: dict[str, Any] = {
    "device": "cpu",
    "device_name": "a processor",
    "precision": "fp32",
    "memory_format": "contiguous",
}
"""The fields of a result that say so."""


def result_of(config: RunConfig, run_id: str, **values: Any) -> Result:
    """What the trainer would write of a run with this configuration, on a GPU unless `values` say otherwise."""
    images = {"custom": (30_000, 40_000), "standard": (60_000, 10_000)}[config.data.split]
    if config.data.source == "sample":
        images = (6_000, 2_000)
    written: dict[str, Any] = {
        "id": run_id,
        "name": config.name,
        "preset": config.preset,
        "model": config.model.kind,
        "parameters": PARAMETERS.get(config.preset or "", 1_234_567),
        "seed": config.seed,
        "data_source": config.data.source,
        "split": config.data.split,
        "train_images": images[0],
        "test_images": images[1],
        "epochs": config.training.epochs,
        "steps": 23_600,
        "complete": True,
        "test_accuracy": 94.8125,
        "test_loss": 0.2234,
        "best_accuracy": 94.93,
        "best_epoch": 187,
        "train_accuracy": 99.97,
        "train_seconds": 4_100.5,
        "eval_seconds": 210.25,
        "total_seconds": 4_330.0,
        "images_per_second": 9_870.4,
        "device": "cuda:0",
        "device_name": "NVIDIA H200",
        "precision": "bf16",
        "memory_format": "channels_last",
        "compile": "off",
        "deterministic": False,
        "micro_batch": config.training.batch_size,
        "peak_memory_bytes": 3_000_000_000,
        "starts": 1,
        "started": "2026-11-23T14:25:01.123Z",
        "finished": "2026-11-23T15:37:11.123Z",
        "provenance": MADE_WITH,
    }
    return Result(**(written | values))
