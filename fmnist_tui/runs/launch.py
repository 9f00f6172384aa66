"""launch.json: how the newest start of a run was asked for. Written by `starting` and `submit`, read by the worker."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, ValidationError

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import SCHEMA_VERSION, Record, Timestamp, utc_now
from fmnist_tui.runs.slurm import SlurmSettings
from fmnist_tui.runs.status import SlurmJob, Status

MOST = 1024
"""GPUs of a node, and nodes."""


class Length(NamedTuple):
    """How long a run is to train."""

    epochs: int
    """In all."""
    stop_at_accuracy: float | None
    """The test accuracy in per cent at which it ends before them; None without such a limit."""


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
    stop_at_accuracy: float | None = Field(None, ge=0.0, le=100.0)
    """The test accuracy to finish at, where a resume changes it; 0 takes the limit back."""
    gpus: int = Field(1, ge=1, le=MOST)
    """GPUs of each machine to train on; processes where the device is the CPU."""
    nodes: int = Field(1, ge=1, le=MOST)
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

    def length(self, status: Status) -> Length:
        """How long a worker has to train that this request starts, or starts again.

        As the run's status says, with this request's changes where that does not hold them already. Once it does, the
        status may have changed by an edit, and says the later word: a device that fails takes no edit back.
        """
        epochs, limit = status.epochs, status.stop_at_accuracy
        if status.launched == self.time:
            return Length(epochs, limit)
        if self.stop_at_accuracy is not None:
            limit = self.stop_at_accuracy or None
        return Length(self.epochs or epochs, limit)


def lengths(directory: RunDirectory, config: RunConfig, status: Status | None) -> tuple[Length, Length]:
    """How long a run was to train as it was made, and as its resumes and edits left it: equal where nobody changed it.

    The epochs of one with `training.max_steps` follow from its steps, and count as they were made.
    """
    training = config.training
    made = Length(training.epochs, training.stop_at_accuracy)
    if status is None or not status.epochs:
        return made, made
    now = last_launch(directory).length(status)
    return made, now if training.max_steps is None else now._replace(epochs=made.epochs)


def last_launch(directory: RunDirectory) -> LaunchRequest:
    """How a run was last started; a request with nothing set where that is not on disk."""
    return read_launch(directory) or LaunchRequest()


def read_launch(directory: RunDirectory) -> LaunchRequest | None:
    """The same; None where it is not on disk, or can't be read."""
    try:
        return LaunchRequest.model_validate_json(directory.launch.read_bytes())
    except (OSError, ValidationError):
        return None
