"""Whether a run ended as another of the same length: every bit that does not come from the clock.

For the tests and scripts that hurt a run and compare it with one that was left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from fmnist_tui.runs.layout import CHECKPOINTS, RunDirectory
from fmnist_tui.runs.result import Result
from fmnist_tui.training import checkpoint
from tests.process.workers import steps_of

OF_THIS_RUN = {"id", "starts", "started", "finished", "provenance", "choices", "device_name"}
CLOCK = {"train_seconds", "eval_seconds", "total_seconds", "active_seconds", "images_per_second", "energy_joules"}
OWN = OF_THIS_RUN | CLOCK | {"peak_memory_bytes"}
"""What differs between equal runs, in their results and in the progress of their checkpoints."""
LENGTH = {"epochs", "stop_at_accuracy", "done"}
"""What a checkpoint holds of the length of a run, as it was then: edits change it."""
LEFT = {
    ".fmnist-tui-run",
    "config.json",
    "launch.json",
    "status.json",
    "metrics.jsonl",
    "confusions.jsonl",
    "predictions.npz",
    "result.json",
    "worker.log",
    "worker.lock",
    "control.json",  # with what was asked too late
    "control.lock",
    *(f"checkpoints/{which}.pt" for which in CHECKPOINTS),
}
"""Every file that a finished run may have."""


def differences(run: RunDirectory, reference: RunDirectory) -> Iterator[str]:
    """What of a finished run is not as in the finished reference, in words; nothing where they are equal.

    What their launchers asked for (config.json, launch.json, status.json) is not looked at, nor are events and samples.
    """
    if steps_of(run) != steps_of(reference):
        yield "other metric lines"
    steps = [line["step"] for line in steps_of(run) if line["kind"] == "train"]
    if steps != list(range(1, _result(reference)["steps"] + 1)):
        yield f"a gap or a double in the steps of its lines: {steps}"
    if run.confusions.read_bytes() != reference.confusions.read_bytes():
        yield "other confusions"
    if left := {str(path.relative_to(run.path)) for path in run.path.rglob("*") if not path.is_dir()} - LEFT:
        yield f"left behind: {sorted(left)}"
    for which in ("last", "best"):
        a, b = (checkpoint.read(each.checkpoint(which)) for each in (run, reference))
        yield from (
            f"{which}.pt: other {part}"
            for part in sorted((a.keys() | b.keys()) - {"unwritten"})
            if not _equal(a, b, part)
        )
    previous = run.checkpoint("previous")  # not there where only one was ever written
    if previous.exists() and (step := checkpoint.read(previous)["progress"]["step"]) > steps[-1]:
        yield f"previous.pt is of step {step}"
    left, right = np.load(run.predictions), np.load(reference.predictions)
    if left.files != right.files or not all(np.array_equal(left[key], right[key]) for key in right.files):
        yield "other predictions"
    mine, theirs = _result(run), _result(reference)
    yield from (f"other {key}: {mine[key]}, not {theirs[key]}" for key in mine if mine[key] != theirs[key])


def _result(run: RunDirectory) -> dict[str, Any]:
    return Result.model_validate_json(run.result.read_bytes()).model_dump(exclude=OWN)


def _equal(a: dict[str, Any], b: dict[str, Any], part: str) -> bool:
    left, right = a.get(part), b.get(part)
    if part != "progress":
        return same(left, right)
    but = OWN | LENGTH
    assert left is not None and right is not None
    return same(*({key: value for key, value in each.items() if key not in but} for each in (left, right)))


def same(a: Any, b: Any) -> bool:
    """Whether nested dicts and lists of tensors are the same to the bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
