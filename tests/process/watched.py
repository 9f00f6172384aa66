"""A run that is watched while its worker lives: what is seen of it must be whole and right. For `accidents`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from fmnist_tui.config import RunConfig
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.metrics import EventRecord, read_metrics
from fmnist_tui.runs.status import State
from fmnist_tui.training import checkpoint
from tests.process.workers import Start, steps_of

SECONDS = 120.0
"""Far longer than any wait here on a busy machine."""


class Watched:
    """A run, its worker, and how far it is known to have come; raises AssertionError where that goes wrong."""

    def __init__(self, runs_dir: Path, config: RunConfig, start: Start) -> None:
        self.config, self._start = config, start
        self.run = starting.create_run(runs_dir, config, device="cpu")
        self.told: list[str] = []
        """What was done, for who looks for the reason of a difference."""
        self.which = "last"
        """The checkpoint that this life was to begin with."""
        self.begun = False
        """Whether training has begun in this life."""
        self.expected = self.kept = 0
        """The step to go on from; that of last.pt since: what was done until there is never done again."""
        self.last_damaged = False
        self.was_full = False
        """Whether the worker's disk was full in this life."""
        self._full_until: float | None = None
        self._events = 0
        self._stamp = (0, 0)

    def tell(self, text: str) -> None:
        """Note what was done."""
        self.told.append(text)

    # --- a life

    def begin(self) -> None:
        """Start the worker; which step it has to go on from is known before."""
        names = ["previous", "best"] if self.which == "last" and self.last_damaged else [self.which]
        self.expected = max(self.step_of(name) for name in names)
        self.begun, self.was_full, self.kept = False, False, 0
        self.tell(f"start from {self.which}, step {self.expected}")
        self.worker = self._start(self.run)

    def step_of(self, which: str) -> int:
        """The step of a checkpoint; 0 where there is none, as of a run that begins."""
        path = self.run.checkpoint(which)
        return int(checkpoint.read(path)["progress"]["step"]) if path.exists() else 0

    def fill_disk(self, room: int, seconds: float) -> None:
        """For so long no file of the worker's grows beyond so many bytes: writes fail as on a full disk."""
        self.tell(f"disk full, {room} bytes, {seconds:.2f} s")
        self._full_until, self.was_full = time.monotonic() + seconds, True
        self._set_room(room)

    def _set_room(self, room: int) -> None:
        if self.worker.poll() is None:
            try:
                psutil.Process(self.worker.pid).rlimit(psutil.RLIMIT_FSIZE, (room, psutil.RLIM_INFINITY))
            except psutil.NoSuchProcess:
                return

    def end(self) -> list[EventRecord]:
        """Once the worker has ended: the events of this life."""
        self.watch(lambda: False)
        self.worker.wait(SECONDS)
        self._full_until, new = None, self.new_events()
        self.begun = self.begun or self._has_begun()
        self.last_damaged = self.last_damaged and not self.begun
        for event in new:
            if event.event in ("start", "resume"):
                assert event.step == self.expected, f"went on from {event.step}, not from {self.expected}"
        self._events += len(new)
        return new

    # --- while it lives

    def watch(self, condition: Callable[[], bool]) -> None:
        """Look at the run until the condition holds or its worker has ended."""
        deadline = time.monotonic() + SECONDS
        while self.look() and not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    def watch_for(self, seconds: float) -> None:
        """Look at the run for so long, or until its worker has ended."""
        until = time.monotonic() + seconds
        self.watch(lambda: time.monotonic() > until)

    def look(self) -> bool:
        """Whether the worker lives; its status must be whole and say the same, and its checkpoint must be whole."""
        ended = self.worker.poll() is not None
        if self._full_until is not None and time.monotonic() > self._full_until:
            self._full_until = None
            self._set_room(psutil.RLIM_INFINITY)
        loaded = store.load_run(self.run, self.config)
        assert not loaded.problem, loaded.problem
        assert not (ended and loaded.state.alive), f"its worker has ended, and it shows as {loaded.state}"
        if loaded.state is State.LOST:  # else its end has not come round yet
            assert self.worker.wait(SECONDS) is not None
        self._see_checkpoint()
        return not ended

    def _see_checkpoint(self) -> None:
        """A new last.pt is whole, and never of an earlier step, once the run has gone on."""
        last = self.run.checkpoint("last")
        if not last.exists() or (stamp := (last.stat().st_ino, last.stat().st_mtime_ns)) == self._stamp:
            return
        self._stamp = stamp
        self.begun = self.begun or self._has_begun()
        if self.begun:
            step = self.step_of("last")
            assert step >= self.kept, f"last.pt is of step {step}, and was of {self.kept}"
            self.kept = step

    def _has_begun(self) -> bool:
        return any(event.event in ("start", "resume") for event in self.new_events())

    def new_events(self) -> list[EventRecord]:
        """The events of this life so far."""
        return list(read_metrics(self.run).event)[self._events :]

    def last_step(self) -> int:
        """The newest step of which there is a line."""
        lines = steps_of(self.run) if self.run.metrics.exists() else []
        return max((line["step"] for line in lines), default=0)
