"""A short measurement of a configuration on this machine: `python -m fmnist_tui.training.calibrate`.

Reads a RunConfig as JSON on stdin and prints JSON lines on stdout: one for each phase as it begins, one
with the speed so far after each measured step, and a last one with `done` true. Started by the app's New
run screen in a process of its own; it trains a few real steps on real images and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.runs.records import ExitCode

WARM_UP_STEPS = 2
"""Steps not counted: the first ones allocate, choose algorithms and compile."""
EVAL_IMAGES = 2000


def measure(config: RunConfig, device_name: str, data_dir: Path | None, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what is known so far; the last item has every figure.

    Raises ConfigError for a device that is not there, DataError where the images can't be had, OutOfMemory.
    """
    began = time.perf_counter()
    yield {"phase": "loading torch"}
    import torch

    from fmnist_tui.data import source
    from fmnist_tui.data.batches import DeviceDataset, epoch_permutation, train_batch
    from fmnist_tui.data.split import split
    from fmnist_tui.models import build_model, initialise_from
    from fmnist_tui.training.evaluate import evaluate
    from fmnist_tui.training.optim import build_optimizer
    from fmnist_tui.training.precision import apply_global_settings, choose, resolve_device
    from fmnist_tui.training.result import device_name as name_of
    from fmnist_tui.training.result import peak_memory_bytes
    from fmnist_tui.training.step import TrainStep

    execution = choose(config.training, resolve_device(device_name))
    device = execution.device
    apply_global_settings(execution, config.training.deterministic)
    yield {"phase": "loading data", "device": str(device), "device_name": name_of(device), **execution.choices}
    images = split(source.load(config.data, data_dir), config.data.split)
    train_set = DeviceDataset(images.train_images, images.train_labels, device)
    few = slice(0, EVAL_IMAGES)
    test_set = DeviceDataset(images.test_images[few], images.test_labels[few], device)
    model = build_model(config.model).to(device).to(memory_format=execution.memory_format)
    initialise_from(model, train_set.images)
    step = TrainStep(model, build_optimizer(model, config.optimizer, execution.dtype), config, execution)
    permutation = epoch_permutation(len(train_set), config.seed, 1, device)
    batches = max(1, len(train_set) // config.training.batch_size)  # whole batches only

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    yield {"phase": "warming up"}
    times: list[float] = []
    startup, done, until = 0.0, 0, None
    while until is None or time.perf_counter() < until or len(times) < 2:
        started = time.perf_counter()
        batch, labels = train_batch(train_set, permutation, done % batches, config.training.batch_size)
        step(batch, labels, config.optimizer.lr * 1e-3, 1, done)  # a small rate: nothing may overflow
        synchronize()
        done += 1
        if done == WARM_UP_STEPS:
            startup, until = time.perf_counter() - began, time.perf_counter() + seconds
        elif done > WARM_UP_STEPS:
            times.append(time.perf_counter() - started)
            speed = len(labels) / statistics.median(times)
            yield {"phase": "training", "steps": len(times), "images_per_second": speed}
    yield {"phase": "evaluating"}
    started = time.perf_counter()
    evaluate(model, step.network, test_set, execution)
    eval_seconds = time.perf_counter() - started
    low, high = sorted(times)[len(times) // 10], sorted(times)[-1 - len(times) // 10]
    size = min(config.training.batch_size, len(train_set))
    yield {
        "done": True,
        "images_per_second": size / statistics.median(times),
        "images_per_second_low": size / high,
        "images_per_second_high": size / low,
        "steps": len(times),
        "eval_images_per_second": len(test_set) / eval_seconds,
        "peak_memory_bytes": peak_memory_bytes(device),
        "startup_seconds": startup,
        "micro_batch": step.micro_batch,
        "device": str(device),
        "device_name": name_of(device),
        **execution.choices,
    }


def main() -> int:
    """Measure the configuration on stdin; returns the exit code of DESIGN section 3."""
    parser = argparse.ArgumentParser(prog="python -m fmnist_tui.training.calibrate", description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0, help="time to measure training for, after warm-up")
    options = parser.parse_args()

    def tell(**values: Any) -> None:
        print(json.dumps(values), flush=True)

    try:
        config = RunConfig.model_validate_json(sys.stdin.read())
        for known in measure(config, options.device, options.data_dir, options.seconds):
            tell(**known)
    except ConfigError as error:
        tell(error=str(error))
        return ExitCode.USAGE
    except ValueError as error:  # DataError, and a configuration that is not one
        tell(error=str(error))
        return ExitCode.DATA
    except RuntimeError as error:  # OutOfMemory, and a device that fails
        tell(error=str(error).splitlines()[0])
        return ExitCode.FAILED
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
