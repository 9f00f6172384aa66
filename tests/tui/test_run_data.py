"""A run's data: the series its lines become, however they come."""

from __future__ import annotations

import math
from typing import Any

from fmnist_tui.analysis.epochs import epoch_of, epoch_steps
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, GpuSample, HostSample, SystemRecord, TrainRecord
from fmnist_tui.tui.metric_lines import parse_lines
from fmnist_tui.tui.run_data import RunData
from tests.tui.synthetic_runs import Plan, data_of, preset, records


def line(step: int, **values: Any) -> TrainRecord:
    fields: dict[str, Any] = {
        "epoch": 1,
        "loss": 0.5,
        "loss_min": 0.4,
        "loss_max": 0.6,
        "lr": 0.1,
        "images_per_second": 1000.0,
    }
    return TrainRecord(step=step, **(fields | values))


def test_the_series_hold_every_line_however_they_come() -> None:
    lines = records(Plan(done=12.5, resume_at=6))
    whole, parts = data_of(lines), RunData("cuda:0")
    for start in range(0, len(lines), 37):
        parts.extend(lines[start : start + 37])
    train = [record for record in lines if isinstance(record, TrainRecord)]
    assert whole.loss.x.tolist() == [record.step for record in train]
    assert whole.loss.values.tolist() == [record.loss for record in train]
    assert whole.loss.high.tolist() == [record.loss_max for record in train]
    assert len(whole.evaluations) == 12 and len(whole.gpu) > 3
    for name in ("loss", "lr", "speed", "test_loss", "test_accuracy", "train_accuracy", "gpu", "cpu"):
        assert getattr(whole, name).x.tolist() == getattr(parts, name).x.tolist()
        assert getattr(whole, name).values.tolist() == getattr(parts, name).values.tolist()
    assert whole.sessions == parts.sessions and whole.best == parts.best
    assert [event.record.event for event in whole.events] == ["start", "stop", "resume"]


def test_a_run_that_went_back_to_a_checkpoint_forgets_what_it_left() -> None:
    lines = records(Plan(done=5.0))
    data = data_of(lines)
    before = data.best
    data.extend([line(300, epoch=3)])
    assert data.loss.x[-1] == 300 and data.lr.x[-1] == 300
    assert [record.epoch for record in data.evaluations] == [1, 2]
    assert data.best != before and data.best is not None and data.best.epoch <= 2
    assert (data.test_loss.x <= 300).all() and (data.gpu.x <= 300).all()


def test_an_evaluation_written_again_is_there_once() -> None:
    record = EvalRecord(
        epoch=1, step=118, test_loss=0.5, test_accuracy=80, train_loss=0.5, train_accuracy=80, seconds=1
    )
    data = data_of([record, record.model_copy(update={"test_accuracy": 81.0})])
    assert [item.test_accuracy for item in data.evaluations] == [81] and data.test_accuracy.values.tolist() == [81]


def test_a_resume_told_with_an_old_step_lies_where_the_lines_end() -> None:
    data = data_of([line(100), EventRecord(event="resume", step=500, epoch=5)])
    assert data.events[0].step == 100 and data.session.lines == 1


def test_gpu_samples_are_those_of_the_device_of_the_run() -> None:
    gpus = [GpuSample(index=index, name="g", utilization=10.0 * index) for index in range(3)]
    sample = SystemRecord(gpus=gpus, host=HostSample(cpu_percent=7.0))
    assert data_of([sample], "cuda:2").gpu.values.tolist() == [20]
    assert data_of([sample], "cuda:1,2").gpu.values.tolist() == [15], "the mean of those it trains on"
    assert data_of([sample], "cuda").gpu.values.tolist() == [10]
    on_cpu = data_of([sample], "cpu")
    assert len(on_cpu.gpu) == 0 and on_cpu.cpu.values.tolist() == [7]
    unknown = SystemRecord(gpus=[GpuSample(index=0, name="g")])
    assert len(data_of([unknown], "cuda:0").gpu) == 0, "what the driver does not tell is no point and no mark"


def test_200_000_lines_are_taken_in() -> None:
    text = line(12345).to_json().replace("12345", "%d")
    lines = [(text % step).encode() for step in range(1, 200_001)]
    lines[777] = line(778, loss=math.nan).to_json().encode()
    data = data_of(parse_lines(lines))
    assert len(data.loss) == 199_999 and data.loss.marks[0].x == 778
    assert data.last_step == 200_000


def test_epochs_of_steps() -> None:
    assert [epoch_of(step, 118) for step in (0, 1, 118, 119, 236, 237)] == [1, 1, 1, 2, 2, 3]
    config = preset()
    assert epoch_steps(None, config) == 118 and epoch_steps(None, None) == 1
