"""A short measurement of a configuration on this machine: `python -m fmnist_tui.training.calibrate`.

Reads a RunConfig as JSON on stdin and prints JSON lines on stdout: one for each phase as it begins, one
with the speed so far after each measured step, and a last one with `done` true. Started by the app's New
run screen in a process of its own; it trains a few real steps on real images and keeps nothing. `bench` measures
more, with the same `Rig`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fmnist_tui.config import RunConfig
from fmnist_tui.training.child import answer

EVAL_IMAGES = 2000


def measure(config: RunConfig, device_name: str, data_dir: Path | None, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what is known so far; the last item has every figure.

    Raises ConfigError for a device that is not there, DataError where the images can't be had, OutOfMemory.
    """
    began = time.perf_counter()
    yield {"phase": "loading torch"}
    from fmnist_tui.data import source
    from fmnist_tui.training.precision import choose, resolve_device
    from fmnist_tui.training.result import device_name as name_of
    from fmnist_tui.training.result import peak_memory_bytes
    from fmnist_tui.training.rig import STEPS_AT_ONCE, Rig, typical

    execution = choose(config.training, resolve_device(device_name))
    device = execution.device
    chosen = {"device": str(device), "device_name": name_of(device), **execution.choices}
    yield {"phase": "loading data", **chosen}
    rig = Rig(config, execution, source.load(config.data, data_dir), EVAL_IMAGES)
    rig.begin(config.training.epochs)  # the last epoch's images have full size

    yield {"phase": "warming up"}
    rig.warm_up()
    startup, until = time.perf_counter() - began, time.perf_counter() + seconds
    times: list[float] = []
    while time.perf_counter() < until or len(times) < 2:
        times += rig.time_steps(STEPS_AT_ONCE.get(device.type, 1))
        speed = rig.batch_size / typical(times).median
        yield {"phase": "training", "steps": len(times), "images_per_second": speed}
    yield {"phase": "evaluating"}
    eval_images = len(rig.test_set)
    eval_seconds = rig.evaluate(eval_images)
    step_seconds = typical(times)
    yield {
        "done": True,
        "images_per_second": rig.batch_size / step_seconds.median,
        "images_per_second_low": rig.batch_size / step_seconds.high,
        "images_per_second_high": rig.batch_size / step_seconds.low,
        "steps": len(times),
        "eval_images_per_second": eval_images / eval_seconds,
        "peak_memory_bytes": peak_memory_bytes(device),
        "startup_seconds": startup,
        "micro_batch": rig.step.micro_batch,
        **chosen,
        "device_name": name_of(device),  # again: now the threads in use are set
    }


def main() -> int:
    """Measure the configuration on stdin; returns an `ExitCode`."""
    parser = argparse.ArgumentParser(prog="python -m fmnist_tui.training.calibrate", description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0, help="time to measure training for, after warm-up")
    options = parser.parse_args()
    return answer(lambda config: measure(config, options.device, options.data_dir, options.seconds))


if __name__ == "__main__":
    sys.exit(main())
