"""What a worker was started to do, and the ways out of it that are no failure. Shared by the worker and the Desk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmnist_tui.config import RunConfig
from fmnist_tui.data.source import Images
from fmnist_tui.remedies import Told
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training import patience
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.precision import Execution
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.result import device_name

if TYPE_CHECKING:
    from fmnist_tui.training.distributed import Team


class Stopped(Exception):
    """The run was asked to stop and has a checkpoint; the text says by whom."""


class Unwritten(Told):
    """A run has come to its end, and there was no room for all of what that leaves; the text says for what."""


class RunDeleted(Exception):
    """The run's directory was deleted or moved away: nobody waits for this training any more."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(f"{run.path} is gone: it was moved or deleted while it trained")


@dataclass(frozen=True)
class Job:
    """What a worker was started to do."""

    run: RunDirectory
    config: RunConfig
    launch: LaunchRequest
    images: Images
    execution: Execution
    reporter: Reporter
    stop_signal: StopSignal
    team: Team | None = None
    """The processes that train the run together; None for one alone."""

    def keep_trying(self, write: Callable[[], bool], stopping: bool = False) -> bool:
        """Whether `write` came to return True, tried for a while: 21 s, or 4.5 s where the worker is to leave.

        Those also where it is told to meanwhile; not any more where the run is gone.
        """
        told: list[float] = []
        stopping = stopping or self.stop_signal.received is not None

        def give_up() -> bool:
            if not stopping and self.stop_signal.received is not None:
                told.append(time.monotonic())
            late = bool(told) and time.monotonic() - told[0] >= sum(patience.STOP_WAITS)
            return late or not self.run.marker.exists()

        return patience.keep_trying(write, give_up, patience.STOP_WAITS if stopping else patience.WAITS)

    def until_written(self, write: Callable[[], None]) -> None:
        """Call `write` as `keep_trying` does until it raises no OSError; raises that of the last try."""
        failed: list[OSError] = []

        def written() -> bool:
            try:
                write()
            except OSError as error:
                failed.append(error)
                return False
            return True

        if not self.keep_trying(written):
            raise failed[-1]

    @property
    def device_label(self) -> str:
        """What Status.device says."""
        return self.team.device_label if self.team else str(self.execution.device)

    @property
    def name_label(self) -> str:
        """What Status.device_name says, for people."""
        name = device_name(self.execution.device)
        return self.team.name_label(name) if self.team else name
