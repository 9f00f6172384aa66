"""Real workers for tests: their configuration, and what they have written. `conftest` starts them."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from typing import Any

import psutil

from fmnist_tui.config import RunConfig, parse_config
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord, parse_metric
from fmnist_tui.runs.status import Status
from tests.process.forked import ForkedWorker

NOISY: dict[str, Any] = {
    "name": "noisy",
    "seed": 3,
    "model": {"kind": "shake_shake", "depth": 8, "base_channels": 2},
    "data": {"source": "sample", "split": "standard"},
    "augment": {"crop_padding": 4, "cutout_size": 16, "low_resolution": 8, "low_resolution_share": 1.0},
    "schedule": {"kind": "cosine"},
    "training": {"epochs": 3, "batch_size": 500, "deterministic": True},
}
"""Everything random at once: the shuffle, crops, flips, Cutout and Shake-Shake's branch weights."""
MANY = 10_000
"""Epochs of a run that is not to end by itself."""

Worker = subprocess.Popen[bytes] | ForkedWorker
Start = Callable[[RunDirectory], Worker]


def config(*, size: int = 8, **training: Any) -> RunConfig:
    """NOISY with other values of its training, on images of so many pixels."""
    augment = {**NOISY["augment"], "low_resolution": size}
    return parse_config({**NOISY, "augment": augment, "training": {**NOISY["training"], **training}})


def status_of(run: RunDirectory) -> Status:
    return Status.model_validate_json(run.status.read_bytes())


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def as_long_as_the_start(began: float) -> float:
    """Seconds that a matter of seconds may take: 20, or on a busy machine as many as a worker that began then took."""
    return max(20.0, time.monotonic() - began)


def seconds_to_the_end(worker: Worker) -> tuple[float, float]:
    """By the clock, and of the processor, from now on; the latter does not depend on who else computes."""
    began, before, used = time.monotonic(), 0.0, 0.0
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(worker.pid)
        used = before = sum(family.cpu_times()[:2])
        while worker.poll() is None and time.monotonic() - began < 300:
            used = max(used, sum(family.cpu_times()[:2]))
            time.sleep(0.01)
    return time.monotonic() - began, used - before


def steps_of(run: RunDirectory) -> list[dict[str, Any]]:
    """Training and evaluation lines without what depends on the clock."""
    records = [parse_metric(line) for line in run.metrics.read_bytes().splitlines()]
    clock = {"time", "seconds", "images_per_second"}
    return [r.model_dump(exclude=clock) for r in records if isinstance(r, TrainRecord | EvalRecord)]
