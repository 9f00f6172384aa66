"""A run's metrics as a TensorBoard event file. Called by `runs export --to tensorboard`.

Uses the extra `tensorboard`, which is imported only here; neither TensorFlow nor torch is needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from fmnist_tui.presets import to_toml
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.metrics import EvalRecord, Metrics, SystemRecord, TrainRecord
from fmnist_tui.runs.store import Run

Scalars = dict[str, float | None]


def write_events(run: Run, metrics: Metrics, directory: Path) -> Path:
    """Write the run's events into `directory` and return the file.

    Its name is a function of the run's id, so a second export replaces the first. Raises OSError where it can't be
    written and ImportError without the extra.
    """
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in _events(run, metrics):
        writer.write(event.SerializeToString())
    path = directory / f"events.out.tfevents.{run.id}"
    replace_bytes(path, content.getvalue())
    return path


def _events(run: Run, metrics: Metrics) -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    records: list[TrainRecord | EvalRecord | SystemRecord] = [*metrics.train, *metrics.eval, *metrics.system]
    records.sort(key=lambda record: record.time)
    began = _seconds(records[0].time) if records else 0.0
    yield Event(wall_time=began, file_version="brain.Event:2")
    if run.config is not None:
        yield Event(wall_time=began, step=0, summary=_text("configuration", to_toml(run.config)))
    step = 0
    for record in records:
        step = step if isinstance(record, SystemRecord) else record.step
        values = [
            Summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(record).items() if value is not None
        ]
        yield Event(wall_time=_seconds(record.time), step=step, summary=Summary(value=values))


def _scalars(record: TrainRecord | EvalRecord | SystemRecord) -> Scalars:
    """A record's numbers by TensorBoard tag; a system line stands at the step of the line before it."""
    if isinstance(record, TrainRecord):
        return {
            "train/loss": record.loss,
            "train/learning_rate": record.lr,
            "train/images_per_second": record.images_per_second,
        }
    if isinstance(record, EvalRecord):
        return {
            "eval/test_loss": record.test_loss,
            "eval/test_accuracy": record.test_accuracy,
            "eval/train_loss": record.train_loss,
            "eval/train_accuracy": record.train_accuracy,
            "eval/tta_accuracy": record.tta_accuracy,
            "eval/epoch": float(record.epoch),
        }
    said: Scalars = {"host/cpu_percent": record.host.cpu_percent, "host/worker_bytes": record.host.process_rss}
    for gpu in record.gpus:
        said |= {
            f"gpu{gpu.index}/utilization": gpu.utilization,
            f"gpu{gpu.index}/memory_bytes": gpu.memory_used,
            f"gpu{gpu.index}/watt": gpu.power,
            f"gpu{gpu.index}/celsius": gpu.temperature,
        }
    return said


def _text(tag: str, toml: str) -> Any:
    """A text that TensorBoard's Text page shows, as code."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.plugins.text.metadata import create_summary_metadata

    shown = "\n".join(f"    {line}" for line in toml.splitlines())
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype="DT_STRING", string_val=[shown.encode()], tensor_shape=shape)
    metadata = create_summary_metadata(display_name=None, description=None)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
