"""The app that snapshots are taken of, with time, ids and the machine's state fixed; and when snapshots hold."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from fmnist_tui.runs.metrics import GpuSample, HostSample, SystemRecord
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.feed import SystemFeed
from fmnist_tui.tui.messages import SystemSampled
from tests.tui.synthetic import NOW, RunMaker

TAKEN_WITH = "8.2.8"
pytestmark = pytest.mark.skipif(
    importlib.metadata.version("textual") != TAKEN_WITH, reason=f"the snapshots were taken with Textual {TAKEN_WITH}"
)

GPU = GpuSample(
    index=0,
    name="NVIDIA H200",
    utilization=87,
    memory_used=31 << 30,
    memory_total=140 << 30,
    power=512,
    power_limit=700,
    temperature=61,
    sm_clock=1980,
    memory_clock=2619,
    pids=[1],
)
HOST = HostSample(cpu_percent=12, load=3.25, cores=16, ram_used=9 << 30, ram_total=128 << 30, disk_free=53 << 30)


class StillApp(FmnistApp):
    """The app at a fixed moment."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture(name="app")
def still_app(sleeper: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[StillApp]:
    """A run in every state, one sample of the machine, UTC; the directory's name is drawn, so it is relative."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(
        SystemFeed, "run", lambda feed: feed._post(SystemSampled(SystemRecord(gpus=[GPU], host=HOST), ""))
    )
    RunMaker(Path("runs"), sleeper, NOW).gallery()
    yield StillApp(Path("runs"), None)
    monkeypatch.undo()
    time.tzset()
