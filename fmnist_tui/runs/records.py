"""What the files of a run hold: status, metric lines, control requests, the launch and the result.

Written by the trainer and the launchers, read by everything else. Accuracies are percentages, times are
seconds, timestamps are UTC in ISO 8601; a loss that is not finite is written as the string "NaN",
"Infinity" or "-Infinity", so that every line is strict JSON.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fmnist_tui.config import CLASSES
from fmnist_tui.runs.slurm import SlurmSettings

SCHEMA_VERSION = 1
"""Raised when a change makes older readers wrong; readers refuse a newer one and say so."""


class State(StrEnum):
    """Where a run stands. LOST is never in a file: a reader shows it for a run whose process is gone."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"

    @property
    def alive(self) -> bool:
        """Whether a worker should be there: at work, or waiting in the queue for its device."""
        return self.at_work or self is State.QUEUED

    @property
    def at_work(self) -> bool:
        """Whether a worker should be using its device."""
        return self in (State.STARTING, State.RUNNING, State.STOPPING)


class ExitCode:
    """Exit codes of the command line and of the worker (DESIGN section 3)."""

    DONE = 0
    USAGE = 2
    DATA = 3
    FAILED = 4
    STOPPED = 130


def utc_now() -> str:
    """The time as every record writes it, for example '2026-11-23T14:25:01.123Z'."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_since(timestamp: str, now: datetime | None = None) -> float:
    """Seconds from a record's timestamp to now; negative where the clock was set back."""
    then = datetime.fromisoformat(timestamp)
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return ((now or datetime.now(UTC)) - then).total_seconds()


def _is_time(text: str) -> str:
    datetime.fromisoformat(text)  # raises ValueError
    return text


Timestamp = Annotated[str, AfterValidator(_is_time)]
"""Text that `seconds_since` understands: a damaged file must not get as far as arithmetic."""


class Record(BaseModel):
    """Base of all records: unknown fields of a newer minor version are ignored, not errors."""

    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="strings")

    def to_json(self) -> str:
        """One line of strict JSON without a newline."""
        return self.model_dump_json()


class SlurmJob(Record):
    """A job of Slurm's that trains a run, or is going to."""

    id: str
    user: str = ""
    """Whose job it is: others may not be told of it."""


class Status(Record):
    """status.json: what a run is doing now."""

    schema_version: int = SCHEMA_VERSION
    state: State
    phase: str = ""
    """What the worker does in words: 'loading data', 'compiling', 'training', 'evaluating', 'saving'."""
    pid: int | None = Field(None, ge=1)
    pid_started: float | None = None
    """psutil's create_time of that process (seconds since the epoch): with the pid it names one process."""
    host: str = ""
    job: SlurmJob | None = None
    """The Slurm job the run is in or waits for; while it waits there is no process."""
    created: Timestamp = Field(default_factory=utc_now)
    started: Timestamp | None = None
    """When the first worker began; kept over resumes."""
    ended: Timestamp | None = None
    heartbeat: Timestamp = Field(default_factory=utc_now)
    epoch: int = 0
    """The epoch at work, counted from 1; 0 before the first."""
    epochs: int = 0
    step: int = 0
    """Steps done since the start of the run."""
    steps: int = 0
    """Steps of the whole run."""
    steps_per_epoch: int = 0
    loss: float | None = None
    lr: float | None = None
    test_accuracy: float | None = None
    best_accuracy: float | None = None
    best_epoch: int | None = None
    stop_at_accuracy: float | None = None
    """The test accuracy in per cent at which it ends before its last epoch; None without such a limit."""
    images_per_second: float | None = None
    eta_seconds: float | None = None
    active_seconds: float = 0.0
    """Time the run was at work, over all its starts."""
    device: str = ""
    device_name: str = ""
    queue_place: int | None = None
    """While queued: 1 is the next on its device."""
    queue_behind: str | None = None
    """While queued: the id of the run directly ahead, at work or queued itself."""
    starts_in_seconds: float | None = None
    """While queued: the expected wait, counted from the heartbeat; None where a run ahead can't tell its own."""
    beside: str | None = None
    """The id of the run this one was started beside on the same device (`--now`, or a request to start now)."""
    error: str | None = None
    exit_code: int | None = None
    retries_used: int = 0
    """How often this start began anew after the device failed."""


NOT_QUEUED: dict[str, Any] = {"queue_place": None, "queue_behind": None, "starts_in_seconds": None}
"""The Status fields of a run that waits for nothing (any more)."""


LARGEST_COUNT = 2**53
"""Of steps and epochs: the last whole number that a float64 holds exactly, and far above any run."""
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]


class TrainRecord(Record):
    """A metric line: the steps since the line before it."""

    kind: Literal["train"] = "train"
    time: Timestamp = Field(default_factory=utc_now)
    step: Count
    epoch: Count
    loss: float
    """Mean over the steps of this line."""
    loss_min: float
    loss_max: float
    lr: float
    """Learning rate of the last of them."""
    images_per_second: float


class EvalRecord(Record):
    """A metric line: an evaluation on the whole test set."""

    kind: Literal["eval"] = "eval"
    time: Timestamp = Field(default_factory=utc_now)
    epoch: Count
    step: Count
    test_loss: float
    test_accuracy: float
    train_loss: float
    """Mean over the epoch's training batches, as they were trained on (augmented)."""
    train_accuracy: float
    """Over the same batches."""
    tta_accuracy: float | None = None
    """Of the test set with test-time averaging (`training.tta`); None without."""
    seconds: float
    """Time the evaluation took."""


class GpuSample(Record):
    """One GPU as NVML reports it; None where the device does not tell."""

    index: int
    name: str
    uuid: str = ""
    utilization: float | None = None
    """Share of the time a kernel ran, %."""
    memory_used: int | None = None
    """Bytes."""
    memory_total: int | None = None
    power: float | None = None
    """Watt."""
    power_limit: float | None = None
    temperature: float | None = None
    """Degrees Celsius."""
    sm_clock: float | None = None
    """MHz."""
    memory_clock: float | None = None
    energy: float | None = None
    """Joule since the driver was loaded."""
    pids: list[int] = Field(default_factory=list)
    """Processes with memory on it."""


class HostSample(Record):
    """The machine as psutil reports it."""

    cpu_percent: float | None = None
    """Over all cores, 0 to 100."""
    load: float | None = None
    """One-minute load average."""
    cores: int | None = None
    ram_used: int | None = None
    """Bytes."""
    ram_total: int | None = None
    disk_free: int | None = None
    """Bytes free where the runs lie."""
    process_cpu_percent: float | None = None
    """Of the worker; 100 is one core."""
    process_rss: int | None = None
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
    message: str = ""
    """One sentence in words."""
    data: dict[str, Any] = Field(default_factory=dict)


Metric = Annotated[TrainRecord | EvalRecord | SystemRecord | EventRecord, Field(discriminator="kind")]
_METRIC: TypeAdapter[TrainRecord | EvalRecord | SystemRecord | EventRecord] = TypeAdapter(Metric)


def parse_metric(line: bytes | str) -> TrainRecord | EvalRecord | SystemRecord | EventRecord | None:
    """The record in a metric line; None for a damaged line or a kind of a newer version."""
    try:
        return _METRIC.validate_json(line)
    except ValidationError:
        return None


CLASS_PAIRS = len(CLASSES) ** 2


class ConfusionRecord(Record):
    """A line of confusions.jsonl: which classes an evaluation took for which."""

    epoch: int = Field(ge=0)
    step: int = Field(ge=0)
    counts: list[Annotated[int, Field(ge=0)]] = Field(min_length=CLASS_PAIRS, max_length=CLASS_PAIRS)
    """Test images, row by row: entry 10 t + p counts those of class t that were predicted as p."""


def parse_confusion(line: bytes | str) -> ConfusionRecord | None:
    """The matrix in a line; None for a damaged line."""
    try:
        return ConfusionRecord.model_validate_json(line)
    except ValidationError:
        return None


RequestKind = Literal["stop", "stop_after_epoch", "checkpoint", "edit", "start_now"]
"""What a worker can be asked for; `start_now` concerns one that waits for its device."""


class ControlRequest(Record):
    """One request to a worker."""

    id: str
    request: RequestKind
    time: Timestamp = Field(default_factory=utc_now)
    epochs: int | None = Field(None, ge=1, le=100_000)
    """edit: train for this many epochs in all."""
    stop_at_accuracy: float | None = Field(None, ge=0.0, le=100.0)
    """edit: finish at this test accuracy; 0 takes the limit back."""


class Control(Record):
    """control.json: the requests since the worker started, oldest first."""

    requests: list[ControlRequest] = Field(default_factory=list)


class LaunchRequest(Record):
    """launch.json: how the newest start was asked for."""

    schema_version: int = SCHEMA_VERSION
    time: Timestamp = Field(default_factory=utc_now)
    device: str = "auto"
    data_dir: str | None = None
    checkpoint: Literal["last", "previous", "best"] = "last"
    """Where a resumed run goes on from."""
    epochs: int | None = None
    """Epochs in all, where a resume changes them."""
    gpus: int = Field(1, ge=1, le=1024)
    """GPUs of each machine to train on; processes where the device is the CPU."""
    nodes: int = Field(1, ge=1, le=1024)
    """Machines that train the run together."""
    rendezvous: str | None = None
    """Where they meet, HOST:PORT of the first; None on one machine."""
    now: bool = False
    """Start beside what is on the device instead of waiting in its queue."""
    retries: int = Field(0, ge=0, le=1000)
    """How often the worker may begin anew from the checkpoint after the device failed."""
    launcher: Literal["local", "slurm"] = "local"
    """Who starts the worker: this machine at once, or Slurm when it has nodes."""
    slurm: SlurmSettings | None = None
    """What Slurm is asked for."""
    job: SlurmJob | None = None
    """The job that was submitted."""
    command: list[str] = Field(default_factory=list)
    """The command line that asked."""


class LastWord(Record):
    """last-word.json: how the processes that train a run together ended; written by the first that knows."""

    state: State
    error: str | None = None
    exit_code: int


class Provenance(Record):
    """What a result was made with. Versions as each package tells its own."""

    fmnist_tui: str
    python: str
    torch: str
    torchvision: str = ""
    numpy: str = ""
    cuda: str | None = None
    """What torch was built for; None where it sees no GPU. So is `cudnn`."""
    cudnn: str | None = None
    driver: str | None = None
    """Of the NVIDIA GPUs, also where the run was on the CPU."""
    platform: str
    """Kernel and architecture."""
    system: str = ""
    """The operating system's name and version."""
    cpu: str = ""
    threads: int | None = None
    """CPU threads torch computed with: another number adds up in another order."""
    git_commit: str | None = None
    """Of the checkout the program ran from; None where it was installed."""
    git_dirty: bool | None = None
    """Whether the program's own files in it were changed."""
    command: list[str] = Field(default_factory=list)
    """The command line that started the run."""
    data_sha256: dict[str, str] = Field(default_factory=dict)


class Result(Record):
    """result.json: a finished run's row of the benchmark table."""

    schema_version: int = SCHEMA_VERSION
    id: str
    name: str
    preset: str | None
    model: str
    """The model family (`model.kind`)."""
    parameters: int
    seed: int
    data_source: Literal["full", "sample"]
    split: Literal["custom", "standard"]
    train_images: int
    test_images: int
    epochs: int
    """Epochs trained."""
    steps: int
    complete: bool
    """False where `max_steps` cut the run short of its epochs."""
    test_accuracy: float
    """At the last epoch: the headline."""
    test_loss: float
    tta_accuracy: float | None = None
    """At the last epoch with test-time averaging; None without. Never the headline."""
    best_accuracy: float
    """The best over all evaluated epochs."""
    best_epoch: int
    train_accuracy: float
    train_seconds: float
    """Time spent in training steps, over all starts."""
    eval_seconds: float
    total_seconds: float
    """Time the run was at work from start to end, over all starts: loading, compiling, training, evaluating, saving."""
    images_per_second: float
    """Training images by `train_seconds`."""
    device: str
    device_name: str
    devices: int = 1
    precision: str
    memory_format: str
    compile: str
    threads: int | None = None
    """CPU threads at the end of the run."""
    choices: dict[str, str] = Field(default_factory=dict)
    """What `auto` came to at the last start, and why: by field of the configuration's training section."""
    deterministic: bool
    micro_batch: int
    peak_memory_bytes: int | None
    """On the GPU what the allocator took; on a CPU the worker's resident maximum."""
    starts: int
    """1, and 1 more for each resume."""
    energy_joules: float | None = None
    """What the GPU took from the first start to the end by its own counter (NVML), over all starts; None where
    there is no counter or a start was not counted. Other programs on that GPU are counted too."""
    started: Timestamp
    finished: Timestamp
    provenance: Provenance
