"""Lines of metrics.jsonl: what a run may say, and what no run ever said is a damaged line that is passed over."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.runs.metrics import (
    EvalRecord,
    GpuSample,
    HostSample,
    SystemRecord,
    TrainRecord,
    parse_metric,
    read_metrics,
)
from tests.unit.cli_runs import finished_run

TRAIN = TrainRecord(step=5, epoch=1, loss=0.5, loss_min=0.4, loss_max=0.6, lr=0.1, images_per_second=900.0)
EVAL = EvalRecord(
    epoch=1,
    step=5,
    test_loss=0.5,
    test_accuracy=81.0,
    train_loss=0.6,
    train_accuracy=79.0,
    tta_accuracy=82.0,
    seconds=1.5,
)
SYSTEM = SystemRecord(gpus=[GpuSample(index=0, name="GPU", power=70.0)], host=HostSample(load=0.5))


def changed(record: TrainRecord | EvalRecord, key: str, value: Any) -> str:
    return json.dumps(json.loads(record.to_json()) | {key: value})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", 3.4e38, 0.0, -1.0])
@pytest.mark.parametrize("key", ["loss", "loss_min", "loss_max"])
def test_a_loss_may_be_what_a_float32_is(key: str, value: Any) -> None:
    found = parse_metric(changed(TRAIN, key, value))
    assert isinstance(found, TrainRecord)
    number = getattr(found, key)
    assert number == float(value) or (math.isnan(number) and value == "NaN")


@pytest.mark.parametrize(
    ("record", "key", "value"),
    [
        *[(TRAIN, key, value) for key in ("loss", "loss_min", "loss_max") for value in (1e308, -1e308, "1e39")],
        *[(TRAIN, key, value) for key in ("lr", "images_per_second") for value in (1e308, "NaN", "Infinity")],
        (TRAIN, "images_per_second", -1.0),
        *[(EVAL, key, 1e308) for key in ("test_loss", "train_loss", "seconds")],
        *[
            (EVAL, key, value)
            for key in ("test_accuracy", "train_accuracy", "tta_accuracy")
            for value in (100.1, -0.1, "NaN", 1e308)
        ],
        (EVAL, "epoch", 2**60),
    ],
)
def test_what_no_run_said_is_damage(record: TrainRecord | EvalRecord, key: str, value: Any) -> None:
    assert parse_metric(record.to_json()) == record
    assert parse_metric(changed(record, key, value)) is None


@pytest.mark.parametrize("part", ["gpus", "host"])
def test_so_are_impossible_readings(part: str) -> None:
    assert parse_metric(SYSTEM.to_json()) == SYSTEM
    line = SYSTEM.to_json()
    old, new = ('"power":70.0', '"power":1e308') if part == "gpus" else ('"load":0.5', '"load":"Infinity"')
    assert old in line and parse_metric(line.replace(old, new)) is None


def test_readers_pass_them_over(runs_dir: Path) -> None:
    run = finished_run(runs_dir)
    lines = [TRAIN.to_json(), changed(TRAIN, "loss", 1e308), changed(EVAL, "test_accuracy", 1e308), EVAL.to_json()]
    run.metrics.write_text("\n".join(lines) + "\n")
    found = read_metrics(run)
    assert found.train == [TRAIN] and found.eval == [EVAL]
