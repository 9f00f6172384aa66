"""result.json: a finished run's row of the benchmark table, and what it was made with. Written by the trainer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fmnist_tui.runs.records import SCHEMA_VERSION, Amount, Count, Percent, Record, Seconds, Shown, SomeCount, Timestamp
from fmnist_tui.runs.status import State, Status


class Provenance(Record):
    """What a result was made with. Versions as each package tells its own."""

    fmnist_tui: Shown
    python: Shown
    torch: Shown
    torchvision: Shown = ""
    numpy: Shown = ""
    cuda: Shown | None = None
    """What torch was built for; None where it sees no GPU. So is `cudnn`."""
    cudnn: Shown | None = None
    driver: Shown | None = None
    """Of the NVIDIA GPUs, also where the run was on the CPU."""
    platform: Shown
    """Kernel and architecture."""
    system: Shown = ""
    """The operating system's name and version."""
    cpu: Shown = ""
    threads: Count | None = None
    """CPU threads torch computed with: another number adds up in another order."""
    git_commit: Shown | None = None
    """Of the checkout the program ran from; None where it was installed."""
    git_dirty: bool | None = None
    """Whether the program's own files in it were changed."""
    command: list[Shown] = Field(default_factory=list)
    """The command line that started the run."""
    data_sha256: dict[Shown, Shown] = Field(default_factory=dict)


class Result(Record):
    """result.json: a finished run's row of the benchmark table."""

    schema_version: int = SCHEMA_VERSION
    id: Shown
    name: Shown
    preset: Shown | None
    model: Shown
    """The model family (`model.kind`)."""
    parameters: Count
    seed: Count
    data_source: Literal["full", "sample"]
    split: Literal["custom", "standard"]
    hold_out: Count = 0
    """Training images that were held out, and are what was tested on; 0: the test images were."""
    fold: Count = 0
    """Which part of the training images was held out (`DataConfig.fold`)."""
    train_images: Count
    test_images: Count
    epochs: SomeCount
    """Epochs trained."""
    steps: SomeCount
    complete: bool
    """False where `max_steps` cut the run short of its epochs."""
    test_accuracy: Percent
    """At the last epoch: the headline."""
    test_loss: float
    tta_accuracy: Percent | None = None
    """At the last epoch with test-time averaging; None without. Never the headline."""
    best_accuracy: Percent
    """The best over all evaluated epochs."""
    best_epoch: Count
    train_accuracy: Percent
    train_seconds: Seconds
    """Time spent in training steps, over all starts."""
    eval_seconds: Seconds
    total_seconds: Seconds
    """Time the run was at work from start to end, over all starts: loading, compiling, training, evaluating, saving."""
    images_per_second: Amount
    """Training images by `train_seconds`."""
    device: Shown
    device_name: Shown
    devices: SomeCount = 1
    precision: Shown
    memory_format: Shown
    compile: Shown
    threads: Count | None = None
    """CPU threads at the end of the run."""
    choices: dict[Shown, Shown] = Field(default_factory=dict)
    """What `auto` came to at the last start, and why: by field of the configuration's training section."""
    deterministic: bool
    micro_batch: Count
    peak_memory_bytes: Count | None
    """On the GPU what the allocator took; on a CPU the worker's resident maximum."""
    starts: Count
    """1, and 1 more for each resume."""
    energy_joules: Amount | None = None
    """What the GPU took from the first start to the end by its own counter (NVML), over all starts; None where
    there is no counter or a start was not counted. Other programs on that GPU are counted too."""
    started: Timestamp
    finished: Timestamp
    provenance: Provenance

    @property
    def devices_named(self) -> str:
        """'NVIDIA H200', '2 x NVIDIA H200'."""
        name = self.device_name or self.device
        return name if self.devices == 1 else f"{self.devices} x {name}"

    def last_status(self, stop_at_accuracy: float | None, loss: float | None) -> Status:
        """The status the worker left when it finished, but for process and heartbeats; `loss` of its newest line."""
        return Status(
            state=State.FINISHED,
            started=self.started,
            ended=self.finished,
            epoch=self.epochs,
            epochs=self.epochs,
            step=self.steps,
            steps=self.steps,
            loss=loss,
            test_accuracy=self.test_accuracy,
            best_accuracy=self.best_accuracy,
            best_epoch=self.best_epoch,
            stop_at_accuracy=stop_at_accuracy,
            images_per_second=self.images_per_second,
            active_seconds=self.total_seconds,
            device=self.device,
            device_name=self.devices_named,
            exit_code=0,
        )
