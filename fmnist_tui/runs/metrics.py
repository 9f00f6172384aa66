"""metrics.jsonl: the records of its lines, and all of them by kind.

Written by the trainer's Reporter. Whoever follows a run that is at work reads only what is new: see `files.Tail`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from fmnist_tui.remedies import COMMAND_LINE, Remedy, with_remedy
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import (
    Amount,
    Count,
    Loss,
    Percent,
    Reading,
    Record,
    Seconds,
    Shown,
    Timestamp,
    WholeReading,
    utc_now,
)


class TrainRecord(Record):
    """A metric line: the steps since the line before it."""

    kind: Literal["train"] = "train"
    time: Timestamp = Field(default_factory=utc_now)
    step: Count
    epoch: Count
    loss: Loss
    """Mean over the steps of this line."""
    loss_min: Loss
    loss_max: Loss
    lr: Reading
    """Learning rate of the last of them."""
    images_per_second: Amount


class EvalRecord(Record):
    """A metric line: an evaluation on the whole test set."""

    kind: Literal["eval"] = "eval"
    time: Timestamp = Field(default_factory=utc_now)
    epoch: Count
    step: Count
    test_loss: Loss
    test_accuracy: Percent
    train_loss: Loss
    """Mean over the epoch's training batches, as they were trained on (augmented)."""
    train_accuracy: Percent
    """Over the same batches."""
    tta_accuracy: Percent | None = None
    """Of the test set with test-time averaging (`training.tta`); None without."""
    seconds: Seconds
    """Time the evaluation took."""


class GpuSample(Record):
    """One GPU as NVML reports it; None where the device does not tell."""

    index: WholeReading
    name: Shown
    uuid: Shown = ""
    utilization: Reading | None = None
    """Share of the time a kernel ran, %."""
    memory_used: WholeReading | None = None
    """Bytes."""
    memory_total: WholeReading | None = None
    power: Reading | None = None
    """Watt."""
    power_limit: Reading | None = None
    temperature: Reading | None = None
    """Degrees Celsius."""
    sm_clock: Reading | None = None
    """MHz."""
    memory_clock: Reading | None = None
    energy: Reading | None = None
    """Joule since the driver was loaded."""
    pids: list[WholeReading] = Field(default_factory=list)
    """Processes with memory on it."""


class HostSample(Record):
    """The machine as psutil reports it."""

    cpu_percent: Reading | None = None
    """Over all cores, 0 to 100."""
    load: Reading | None = None
    """One-minute load average."""
    cores: WholeReading | None = None
    ram_used: WholeReading | None = None
    """Bytes."""
    ram_total: WholeReading | None = None
    disk_free: WholeReading | None = None
    """Bytes free where the runs lie."""
    process_cpu_percent: Reading | None = None
    """Of the worker; 100 is one core."""
    process_rss: WholeReading | None = None
    """Resident bytes of the worker."""


class SystemRecord(Record):
    """A metric line: GPU and host at a moment."""

    kind: Literal["system"] = "system"
    time: Timestamp = Field(default_factory=utc_now)
    gpus: list[GpuSample] = Field(default_factory=list)
    host: HostSample = Field(default_factory=HostSample)


class EventRecord(Record):
    """A metric line: something that happened once."""

    kind: Literal["event"] = "event"
    time: Timestamp = Field(default_factory=utc_now)
    event: Literal["start", "choice", "checkpoint", "resume", "stop", "warning", "edit", "finish", "error", "queue"]
    step: Count = 0
    epoch: Count = 0
    message: Shown = ""
    """One sentence in words."""
    remedy: Remedy | None = None
    """What can be done about it, or then."""
    data: dict[str, Any] = Field(default_factory=dict)

    def told(self, words: Mapping[str, str] = COMMAND_LINE) -> str:
        """The sentence with what can be done, in a room's words."""
        return with_remedy(self.message, self.remedy.worded(words) if self.remedy else "")


Metric = Annotated[TrainRecord | EvalRecord | SystemRecord | EventRecord, Field(discriminator="kind")]
_METRIC: TypeAdapter[TrainRecord | EvalRecord | SystemRecord | EventRecord] = TypeAdapter(Metric)


def parse_metric(line: bytes | str) -> TrainRecord | EvalRecord | SystemRecord | EventRecord | None:
    """The record in a metric line; None for a damaged line or a kind of a newer version."""
    try:
        return _METRIC.validate_json(line)
    except ValidationError:
        return None


@dataclass(frozen=True)
class Metrics:
    """A run's records in the order of the file; of a resumed run no step stands twice."""

    train: list[TrainRecord] = field(default_factory=list)
    eval: list[EvalRecord] = field(default_factory=list)
    system: list[SystemRecord] = field(default_factory=list)
    event: list[EventRecord] = field(default_factory=list)
    passed_over: int = 0
    """Lines that are damaged, or of a newer version."""


def read_metrics(run: RunDirectory) -> Metrics:
    """Every whole line of metrics.jsonl; lines that are damaged or of a newer version are passed over.

    A run without the file has none. Raises RunError where it can't be read.
    """
    try:
        content = run.metrics.read_bytes()
    except FileNotFoundError:
        return Metrics()
    except OSError as error:
        raise RunError(f"{run.id}: {run.metrics.name} cannot be read: {error.strerror}") from None
    metrics = Metrics()
    passed_over = 0
    for line in content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]:
        record = parse_metric(line)
        if record is not None:
            getattr(metrics, record.kind).append(record)
        elif line.strip():
            passed_over += 1
    return replace(metrics, passed_over=passed_over)


END_BYTES = 1 << 18
"""Of a file of metric lines what `last_train` reads: samples of a machine of many GPUs have thousands of bytes each."""


def last_train(run: RunDirectory) -> TrainRecord | None:
    """The newest training line at the end of metrics.jsonl; None where there is none, or the file can't be read."""
    try:
        with run.metrics.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - END_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    records = (parse_metric(line) for line in reversed(lines[:-1]) if b'"train"' in line)
    return next((record for record in records if isinstance(record, TrainRecord)), None)
