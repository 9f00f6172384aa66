"""What a worker was started to do, and the ways out of it that are no failure. Shared by the worker and the Desk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmnist_tui.config import RunConfig
from fmnist_tui.data.source import Images
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.precision import Execution
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.result import device_name

if TYPE_CHECKING:
    from fmnist_tui.training.distributed import Team


class Stopped(Exception):
    """The run was asked to stop and has a checkpoint; the text says by whom."""


class RunDeleted(Exception):
    """The run's directory was deleted or moved away: nobody waits for this training any more."""


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

    @property
    def device_label(self) -> str:
        """What Status.device says."""
        return self.team.device_label if self.team else str(self.execution.device)

    @property
    def name_label(self) -> str:
        """What Status.device_name says, for people."""
        name = device_name(self.execution.device)
        return self.team.name_label(name) if self.team else name
