"""A bench record with round numbers, for the tests of what is made from one."""

from __future__ import annotations

from typing import Any

from fmnist_tui.presets import load_preset
from fmnist_tui.report.bench import BenchRecord, Comparison, Round, ScalingPoint, StepSeconds
from fmnist_tui.runs.result import Provenance


def bench_record(preset: str = "wrn", **changes: Any) -> BenchRecord:
    """100 images/s in training and 400 in evaluation, 10 GFLOP an image, a ceiling of 2 TFLOP/s."""
    values: dict[str, Any] = {
        "preset": preset,
        "config": load_preset(preset),
        "parameters": 36_478_906,
        "device": "cpu",
        "device_name": "Some CPU, 2 threads",
        "threads": 2,
        "precision": "bf16",
        "memory_format": "channels_last",
        "compile": "off",
        "measured_with": "full",
        "train_images": 30_000,
        "test_images": 40_000,
        "batch_size": 256,
        "micro_batch": None,
        "step_seconds": StepSeconds(median=2.56, low=2.5, high=2.8, steps=12),
        "images_per_second": 100.0,
        "eval_images": 500,
        "eval_images_per_second": 400.0,
        "forward_flops": 3.4e9,
        "training_flops": 10e9,
        "convolution_flops": 2e12,
        "matrix_product_flops": 1e12,
        "startup_seconds": 5.0,
        "peak_memory_bytes": 3_000_000_000,
        "load_average": 0.1,
        "measured": "2026-11-24T22:00:00.000Z",
        "seconds": 50.0,
        "provenance": Provenance(
            fmnist_tui="0.1.0",
            python="3.11.7",
            torch="2.14.1",
            platform="Linux",
            command=["fmnist-tui", "bench", "wrn"],
        ),
    }
    return BenchRecord(**(values | changes))


def comparison(*ratios: float) -> Comparison:
    """Rounds of these ratios, the plain loop at 50 images/s; the data path ten times as much apart."""
    return Comparison(
        own_process=True,
        batch_size=64,
        data_batch_size=256,
        workers=2,
        ours_steps=4,
        plain_steps=3,
        training=[Round(ours=50 * ratio, plain=50) for ratio in ratios],
        data_path=[Round(ours=50_000 * ratio, plain=5000) for ratio in ratios],
    )


def scaling_point(ranks: int, seconds: float, alone: float, threads: int | None = None) -> ScalingPoint:
    """Steps of these lengths, each of 20 the same."""
    together, one = (StepSeconds(median=each, low=each, high=each, steps=20) for each in (seconds, alone))
    return ScalingPoint(ranks=ranks, threads=threads, step_seconds=together, alone=one)
