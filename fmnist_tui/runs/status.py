"""status.json: where a run stands, and the exit codes it ends with. Written by its worker, by the launcher before it.

last-word.json belongs here too: how the processes of a run on several GPUs ended, from which the launcher writes the
last status.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field

from fmnist_tui.remedies import COMMAND_LINE, Remedy, with_remedy
from fmnist_tui.runs.records import SCHEMA_VERSION, Amount, Count, Percent, Record, Seconds, Shown, Timestamp, utc_now


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
    """Exit codes of the command line and of the worker, as README lists them."""

    DONE = 0
    USAGE = 2
    DATA = 3
    FAILED = 4
    STOPPED = 130


class SlurmJob(Record):
    """A job of Slurm's that trains a run, or is going to."""

    id: Shown
    user: Shown = ""
    """Whose job it is: others may not be told of it."""


class Status(Record):
    """status.json: what a run is doing now."""

    schema_version: int = SCHEMA_VERSION
    state: State
    phase: Shown = ""
    """What the worker does in words: 'loading data', 'compiling', 'training', 'evaluating', 'saving'."""
    pid: int | None = Field(None, ge=1)
    pid_started: float | None = None
    """psutil's create_time of that process (seconds since the epoch): with the pid it names one process."""
    host: Shown = ""
    job: SlurmJob | None = None
    """The Slurm job the run is in or waits for; while it waits there is no process."""
    created: Timestamp = Field(default_factory=utc_now)
    started: Timestamp | None = None
    """When the first worker began; kept over resumes."""
    ended: Timestamp | None = None
    heartbeat: Timestamp = Field(default_factory=utc_now)
    epoch: Count = 0
    """The epoch at work, or between two the one that has ended, counted from 1; 0 before the first."""
    epochs: Count = 0
    step: Count = 0
    """Steps done since the start of the run."""
    steps: Count = 0
    """Steps of the whole run: all its epochs', or `training.max_steps` where that ends it earlier."""
    steps_per_epoch: Count = 0
    loss: float | None = None
    lr: float | None = None
    test_accuracy: Percent | None = None
    best_accuracy: Percent | None = None
    best_epoch: Count | None = None
    stop_at_accuracy: Percent | None = None
    """The test accuracy in per cent at which it ends before its last epoch; None without such a limit."""
    launched: Timestamp | None = None
    """Of the launch request whose changes `epochs` and `stop_at_accuracy` hold already (its `time`)."""
    answered: list[Shown] = Field(default_factory=list)
    """Ids of the edits in control.json that these fields hold: one that begins anew does not answer them again."""
    images_per_second: Amount | None = None
    eta_seconds: Seconds | None = None
    active_seconds: Seconds = 0.0
    """Time the run was at work, over all its starts."""
    device: Shown = ""
    device_name: Shown = ""
    queue_place: Count | None = None
    """While queued: 1 is the next on its device."""
    queue_behind: Shown | None = None
    """While queued: the id of the run directly ahead, at work or queued itself."""
    starts_in_seconds: Seconds | None = None
    """While queued: the expected wait, counted from the heartbeat; None where a run ahead can't tell its own."""
    beside: Shown | None = None
    """The id of the run this one was started beside on the same device (`--now`, or a request to start now)."""
    error: Shown | None = None
    """What went wrong."""
    remedy: Remedy | None = None
    """What can be done about it, where the error does not say."""
    behind: bool = False
    """Whether a finished run's last checkpoint could not be written: a resume does again what came after last.pt."""
    exit_code: int | None = Field(None, ge=-255, le=255)
    """Negative: the signal that ended the worker, as seen by the app."""
    retries_used: Count = 0
    """How often this start began anew after the device failed."""

    def where(self, of: str = "") -> str:
        """Where it stopped, in words: 'in epoch 3, step 96', 'after epoch 5, step 235'; `of` comes after the epoch."""
        ended = self.step > 0 and self.step == self.epoch * self.steps_per_epoch
        return f"{'after' if ended else 'in'} epoch {self.epoch}{of}, step {self.step:,}"

    def told(self, words: Mapping[str, str] = COMMAND_LINE) -> str:
        """What went wrong and what can be done about it, in a room's words; '' where nothing did."""
        return with_remedy(self.error, self.remedy.worded(words) if self.remedy else "") if self.error else ""


NOT_QUEUED: dict[str, Any] = {"queue_place": None, "queue_behind": None, "starts_in_seconds": None}
"""The Status fields of a run that waits for nothing (any more)."""


class LastWord(Record):
    """last-word.json: how the processes that train a run together ended; written by the first that knows."""

    state: State
    error: Shown | None = None
    remedy: Remedy | None = None
    exit_code: int
