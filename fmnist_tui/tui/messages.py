"""The messages that pass between the feed thread, the app, its screens and its widgets.

The feed posts the first group to the app, which hands them to the screens (`screens.base.FeedScreen`).
Screens post the second group to the app, which alone starts, stops and deletes runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from textual.message import Message

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.metrics import SystemRecord
from fmnist_tui.runs.store import Run

if TYPE_CHECKING:
    from fmnist_tui.tui.metric_lines import MetricRecord


class RunsListed(Message):
    """Every run in the directory, newest first; posted when anything in the list changed.

    `left_out` says in words which runs it leaves out and why, '' where none.
    """

    def __init__(self, runs: list[Run], left_out: str = "") -> None:
        self.runs = runs
        self.left_out = left_out
        super().__init__()


class RunAdvanced(Message):
    """What a watched run wrote since the last such message; `restarted` says to forget what came before.

    A long file comes in several messages; `caught_up` marks the last of them.
    """

    def __init__(self, run: Run, records: Sequence[MetricRecord], restarted: bool, caught_up: bool = False) -> None:
        self.run = run
        self.records = records
        self.restarted = restarted
        self.caught_up = caught_up
        super().__init__()


class RunVanished(Message):
    """A watched run's directory is gone."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__()


class SystemSampled(Message):
    """GPU and host now; `gpu_problem` says in words why there are no GPUs, '' where there are."""

    def __init__(self, sample: SystemRecord, gpu_problem: str) -> None:
        self.sample = sample
        self.gpu_problem = gpu_problem
        super().__init__()


class FeedProblem(Message):
    """The feed can't read something; the text is for people."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__()


class OpenRun(Message):
    """Show this run's screen."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__()


class CompareRequested(Message):
    """Show these runs side by side."""

    def __init__(self, run_ids: Sequence[str]) -> None:
        self.run_ids = tuple(run_ids)
        super().__init__()


class StartRequested(Message):
    """Start a new run of this configuration on a device, or on several GPUs; or submit it to Slurm.

    In its turn, or without `queue` beside what runs there.
    """

    def __init__(
        self, config: RunConfig, device: str = "auto", queue: bool = True, gpus: int = 1, slurm: bool = False
    ) -> None:
        self.config = config
        self.slurm = slurm
        self.device = device
        self.queue = queue
        self.gpus = gpus
        super().__init__()


RunAction = Literal["stop", "resume", "delete", "clone", "config", "log", "edit", "mistakes", "comment"]


class RunActionRequested(Message):
    """Do something to an existing run; the app asks first where that is due."""

    def __init__(self, run_id: str, action: RunAction) -> None:
        self.run_id = run_id
        self.action = action
        super().__init__()
