"""One system sample after another, for the metrics of a run and the app's charts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from fmnist_tui.monitor.host import Host
from fmnist_tui.monitor.nvml import Driver, GpuProblem
from fmnist_tui.runs.metrics import GpuSample, SystemRecord

RETRY_SECONDS = 30.0
"""While GPUs don't answer, the driver is asked again after this long and not sooner: asking can be slow."""


class Monitor:
    """Samples every GPU of the machine and the host; one thread uses it.

    `disk_path` lies on the disk whose free space is reported, `pid` is the worker's process (None for none).
    No driver, GPU or process that goes away raises: their fields are None or their list is empty. A driver
    that hangs makes `sample` hang, so a caller that must not wait asks from a thread of its own.
    """

    def __init__(self, disk_path: Path, pid: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = Host(disk_path, pid)
        self._clock = clock
        self._driver: Driver | None = None
        self.gpu_problem = ""
        """'' while every GPU answers, 'no GPU' where there is none, else the driver's error in words."""
        self._retry_at = 0.0
        self._connect()

    def sample(self) -> SystemRecord:
        """GPUs and host now; shares of CPU time are those since the sample before."""
        return SystemRecord(gpus=self._sample_gpus(), host=self._host.sample())

    def close(self) -> None:
        """End the connection to the driver; a closed monitor samples the host only."""
        self._disconnect()
        self._retry_at = math.inf

    def _connect(self) -> None:
        """Ask the driver anew; `gpu_problem` says how that went."""
        self._disconnect()
        try:
            self._driver = Driver()
            self._note(self._driver.problem)
        except GpuProblem as problem:
            self._note(str(problem))

    def _disconnect(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def _note(self, problem: str) -> None:
        self.gpu_problem = problem
        self._retry_at = self._clock() + RETRY_SECONDS

    def _sample_gpus(self) -> list[GpuSample]:
        if self.gpu_problem and self._clock() >= self._retry_at:
            self._connect()
        if self._driver is None:
            return []
        try:
            samples = self._driver.samples()
        except GpuProblem as problem:
            self._disconnect()
            self._note(str(problem))
            return []
        if self._driver.problem != self.gpu_problem:  # a device was lost just now
            self._note(self._driver.problem)
        return samples
