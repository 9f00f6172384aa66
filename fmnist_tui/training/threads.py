"""How many CPU threads a training uses: what is free when it starts, and what turns out faster while it runs.

With as many threads as cores, one other busy process makes every parallel operation wait for the thread it
displaced: on 2 cores training was then up to 10 times slower than with one thread. So `choose_threads` looks at
the load, and `ThreadKeeper` follows it. Called by `precision.choose` and the training loop.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from fmnist_tui.config import TrainingConfig
from fmnist_tui.monitor.host import busy_and_elapsed

LOOK_SECONDS = 0.3
"""How long a start looks at the load: 30 of the kernel's clock ticks a core."""
WINDOW_SECONDS = 2.0
"""Shortest time a speed is measured over, and so between two looks at the load."""
WINDOW_STEPS = 2
FIRST_PATIENCE, LAST_PATIENCE = 30.0, 600.0
"""Seconds without a further trial after one that brought nothing; doubled each time."""
CGROUP = Path("/sys/fs/cgroup")
SHARE = "FMNIST_TUI_THREADS"
"""Set by our launcher for its ranks on a CPU: each one's share of the cores."""


def usable_cores() -> float:
    """Cores this process may use: those of its affinity, or fewer where a container's quota is smaller."""
    cores = len(_affinity())
    quota = _quota()
    return cores if quota is None else min(cores, quota)


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _quota() -> float | None:
    """Cores' worth of time the control groups of this process grant it; None where they set no limit."""
    grants = []
    try:
        path = Path("/proc/self/cgroup").read_text().partition("0::/")[2].splitlines()
    except OSError:
        return None
    group = CGROUP / (path[0] if path else "")
    for place in (group, *group.parents):
        if not place.is_relative_to(CGROUP):
            break
        grants += [_grant(place / "cpu.max")]
    known = [grant for grant in grants if grant is not None]
    return min(known, default=None)


def _grant(file: Path) -> float | None:
    """What a cpu.max file grants ('max 100000', or microseconds in each period); None for no limit."""
    try:
        quota, period = file.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file in the root group, and "max" is no number
        return None


class Load:
    """How many cores other processes keep busy, from one look to the next."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._look()

    def _look(self) -> tuple[float, float, float]:
        """Seconds of the clock, of work on the cores of our affinity, and of our own work."""
        cores, ours = psutil.cpu_times(percpu=True), _affinity()
        if max(ours) < len(cores):
            cores = [times for core, times in enumerate(cores) if core in ours]
        own = self._process.cpu_times()
        return time.monotonic(), sum(busy_and_elapsed(times)[0] for times in cores), own.user + own.system

    def others(self) -> float:
        """Cores' worth of time other processes took since the last look (or since this object was made)."""
        now = self._look()
        elapsed, busy, own = (after - before for after, before in zip(now, self._before, strict=True))
        self._before = now
        return max(0.0, busy - own) / max(elapsed, 1e-9)


def fitting(cores: float, others: float, most: int) -> int:
    """Threads for what others leave of the cores: at least 1, at most `most`.

    A displaced process shows less than it wants, so what is free is rounded down from 0.6: 2 threads beside a
    process that gets two thirds of a core would be the case described above.
    """
    return max(1, min(most, int(cores - others + 0.4)))


class Threads(NamedTuple):
    """A number of threads, why, and whether it may change while the run is at work."""

    number: int
    reason: str
    follows_load: bool = False


def choose_threads(config: TrainingConfig, on_cpu: bool, most: int, look: Callable[[], Load] = Load) -> Threads:
    """Threads for a run; `most` is torch's own choice (the physical cores).

    A deterministic run's number must not depend on the load: the order of sums, and so the last bits, do on it.
    """
    cores = usable_cores()
    limit = max(1, min(most, int(cores)))
    if config.threads != "auto":
        return Threads(config.threads, "set")
    if (given := os.environ.get("OMP_NUM_THREADS", "")).isdigit():
        ours = os.environ.get(SHARE) == given
        reason = "each process's share of the cores" if ours else "OMP_NUM_THREADS is set"
        return Threads(max(1, int(given)), reason)
    if not on_cpu:
        return Threads(limit, "the device does the work")
    if config.deterministic:
        return Threads(limit, "a deterministic run takes every core it may use, whatever the load")
    if limit == 1:
        return Threads(1, "there is one core to use")
    load = look()
    time.sleep(LOOK_SECONDS)
    others = load.others()
    reason = f"of {cores:g} cores others use {others:.1f}; followed while the run is at work"
    return Threads(fitting(cores, others, limit), reason, follows_load=True)


class Change(NamedTuple):
    """A changed number of threads and what speaks for it."""

    before: int
    after: int
    gain: float
    """The speed with the new number as a multiple of that with the old one."""
    others: float
    """Cores other processes used when the change was tried."""


class ThreadKeeper:
    """Follows the load while a run is at work, and keeps what is measured to be faster.

    The load proposes: when the cores that others leave fit another number of threads, that number is tried for
    a window of steps. The measured speed decides whether it stays. `set_threads` is called between steps.
    """

    def __init__(
        self,
        threads: int,
        most: int,
        set_threads: Callable[[int], None],
        *,
        cores: float | None = None,
        others: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.threads, self._most, self._set_threads = threads, most, set_threads
        self._cores = usable_cores() if cores is None else cores
        self._others = Load().others if others is None else others
        self._clock = clock
        self._trial: tuple[int, float, float] | None = None
        """While another number is tried: the one before, its speed, and what others used."""
        self._patience, self._not_before = FIRST_PATIENCE, 0.0
        self.restart()

    def restart(self) -> None:
        """Leave out the time until now (an evaluation, a checkpoint), and the next step, which warms up again."""
        self._steps, self._amount = -1, 0.0
        self._began = self._clock()

    def after_step(self, amount: float) -> Change | None:
        """Count a step of so much work (in any unit); a Change where another number of threads proved faster."""
        now = self._clock()
        self._steps += 1
        if self._steps == 0:
            self._began = now
            return None
        self._amount += amount
        if self._steps < WINDOW_STEPS or now - self._began < WINDOW_SECONDS:
            return None
        speed, others = self._amount / (now - self._began), self._others()
        change = None
        if self._trial:
            change = self._judge(speed, now)
        else:
            self._propose(speed, others, now)
        self.restart()
        return change

    def _propose(self, speed: float, others: float, now: float) -> None:
        wanted = fitting(self._cores, others, self._most)
        if wanted != self.threads and now >= self._not_before:
            self._trial = (self.threads, speed, others)
            self._use(wanted)

    def _judge(self, speed: float, now: float) -> Change | None:
        assert self._trial is not None
        before, speed_before, others = self._trial
        self._trial = None
        tried = self.threads
        if self._is_better(tried, before, speed / speed_before):
            self._patience = FIRST_PATIENCE
            return Change(before, tried, speed / speed_before, others)
        self._use(before)
        self._not_before = now + self._patience
        self._patience = min(2 * self._patience, LAST_PATIENCE)
        return None

    def _is_better(self, tried: int, before: int, gain: float) -> bool:
        """More threads must pay for themselves; fewer stay where they are no slower, to the good of the others."""
        return gain >= (1.05 if tried > before else 0.98)

    def _use(self, threads: int) -> None:
        self.threads = threads
        self._set_threads(threads)
