"""One run through a random sequence of accidents, compared at its end with a run that was left alone.

`test_accidents` goes through a few sequences, `scripts/accidents.py` through as many as one likes. In a sequence a
small deterministic run has several lives. In each it is asked for something, frozen, or has its disk filled at random
moments, and is ended: killed, signalled, asked to stop, or by itself. Between two lives its files are damaged as a
power cut would. All the while its status must be whole and right about whether it is alive, and it must go on from
its newest whole checkpoint; at its end it must be, bit for bit, the run of its length that nothing happened to.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from fmnist_tui.config import RunConfig, parse_config
from fmnist_tui.runs import requests, starting, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from tests.process import damage
from tests.process.forked import ForkedWorker
from tests.process.same_run import differences
from tests.process.small_runs import SMALL
from tests.process.watched import SECONDS, Watched
from tests.process.workers import NOISY, Start

KINDS = {"small": SMALL, "noisy": NOISY}
SHARED = {"schedule": {"kind": "step", "milestones": [2, 4]}}
"""Nothing depends on the run's length: that may be changed, and each epoch is still as in any other run."""
TRAINING = {"batch_size": 1000, "precision": "fp32", "deterministic": True}
STEPS = 6
"""Steps of an epoch: the sample has 6,000 training images."""
LONGEST = 5
"""Epochs; one takes 0.5 to 2 s."""
ROOMS = (0, 2_000, 20_000)
"""Bytes of the largest file on a full disk: nothing can be written, the status can, small files can."""


def config(kind: str, epochs: int, checkpoint_seconds: float = 0.0) -> RunConfig:
    """A small run, of one thread."""
    training = TRAINING | {"epochs": epochs, "checkpoint_seconds": checkpoint_seconds}
    return parse_config({**KINDS[kind], **SHARED, "training": training})


class References:
    """The runs that nothing happens to, each trained once."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._made: dict[tuple[str, int], RunDirectory] = {}

    def of(self, kind: str, epochs: int) -> RunDirectory:
        """The finished run of this length."""
        if (kind, epochs) not in self._made:
            run = starting.create_run(self._runs_dir, config(kind, epochs), device="cpu")
            assert ForkedWorker(run).wait(SECONDS) == 0, run.worker_log.read_text()
            self._made[kind, epochs] = run
        return self._made[kind, epochs]


class Accidents(Watched):
    """A sequence of them; `to_the_end` raises AssertionError at the first thing that is not as it should be."""

    def __init__(self, runs_dir: Path, seed: int, references: References, start: Start = ForkedWorker) -> None:
        self.chance, self.references = random.Random(seed), references
        self.kind = self.chance.choice(sorted(KINDS))
        self.planned, self.limit = self.chance.randint(1, 3), 0.0
        """Epochs in all, and the accuracy to stop at, as the run was made or told last; 0: none."""
        self._edit_asked = False
        super().__init__(runs_dir, config(self.kind, self.planned, self.chance.choice([0.0, 0.0, 0.2, 60.0])), start)
        self.tell(f"{self.kind}, {self.planned} epochs, {self.config.training.checkpoint_seconds:g} s")

    def to_the_end(self, lives: int) -> None:
        """Live so many lives with accidents, finish, and compare."""
        self.begin()
        for _ in range(lives):
            self.at_work()
            if self.after_a_life() is State.FINISHED and not self.harmed() and self.chance.random() < 0.4:
                break
            self.between()
            self.begin_again()
        for _ in range(4):  # a life may still meet the stop, or the full disk, of the one before
            if self.after_a_life() is State.FINISHED and not self.harmed():
                break
            self.begin_again(plain=True)
        self.compare()

    def harmed(self) -> bool:
        """Whether a finished run was killed so late, or so early in going on, that its next start has to clear up."""
        status = store.read_status(self.run)
        behind = status is not None and status.behind
        return behind or self.last_damaged or self.run.earlier.exists() or any(self.run.path.rglob(".*.tmp"))

    # --- the beginning of a life

    def begin_again(self, plain: bool = False) -> None:
        """Resume; or, as Slurm does, start what was killed once more without a word."""
        loaded = store.load_run(self.run)
        if not plain and loaded.state is State.LOST and not loaded.problem and self.chance.random() < 0.2:
            self.tell("as Slurm, the clock set back")
            self.which = "last" if self.begun else self.which
            if self.run.checkpoint("last").exists():
                os.utime(self.run.checkpoint("last"), (0.0, 0.0))
            self.begin()
            return
        changes: dict[str, Any] = {}
        if loaded.state is State.FINISHED:
            changes = {"epochs": self.planned + 1, "stop_at_accuracy": 0.0}
        elif not plain and self.chance.random() < 0.2:
            changes = {"epochs": self.chance.randint(1, LONGEST)}
        there = [name for name in ("previous", "best") if damage.readable(self.run, name)]
        which: Any = self.chance.choice(there) if there and not plain and self.chance.random() < 0.3 else "last"
        try:
            starting.prepare_resume(loaded, device="cpu", checkpoint=which, **changes)
        except RunError as refused:
            assert "already" in str(refused) and changes, refused  # fewer epochs than it is in
            changes = {}
            starting.prepare_resume(loaded, device="cpu", checkpoint=which)
        self.which = which
        self.planned = changes.get("epochs", self.planned)
        self.limit = changes.get("stop_at_accuracy", self.limit)
        self.tell(f"resume {changes or ''}")
        self.begin()

    # --- at work

    def at_work(self) -> None:
        """Up to two wishes or accidents that it survives, then its end, or what leads to it."""
        for _ in range(self.chance.randint(0, 2)):
            self.moment()
            self.survive(self.chance.choice(["frozen", "disk full", "checkpoint", "epochs", "accuracy"]))
        self.moment()
        self.end_life(self.chance.choice(["kill", "kill", "kill frozen", "signal", "signal", "stop", "stop", "none"]))

    def moment(self) -> None:
        """Wait: until some step or shortly after it, a checkpoint that is being written, or some time."""
        kind = self.chance.choice(["step", "step", "step", "write", "time"])
        if kind == "step":
            now = max(self.expected, self.last_step())
            step = self.chance.randint(now, now + max(0, STEPS * self.planned - now) // 2)
            self.watch(lambda: self.last_step() >= step)
            self.watch_for(self.chance.choice([0.0, 0.0, 0.05, 0.3]))
        else:
            self.watch_for(self.chance.uniform(0.0, 1.0))
        if kind == "write":
            until = time.monotonic() + 2.0
            self.watch(lambda: any(self.run.checkpoints.glob(".*.tmp")) or time.monotonic() > until)

    def survive(self, what: str) -> None:
        """What does not end a life."""
        match what:
            case "frozen":
                self.tell(what)
                self.worker.send_signal(signal.SIGSTOP)
                self.watch_for(self.chance.uniform(0.0, 0.5))
                self.worker.send_signal(signal.SIGCONT)
            case "disk full":
                self.fill_disk(self.chance.choice(ROOMS), self.chance.uniform(0.1, 1.5))
            case "checkpoint":
                step = self.last_step()
                self.ask("checkpoint")
                self.watch(lambda: self.kept >= step or self.was_full)
            case "epochs":
                self.edit(epochs=self.chance.randint(1, LONGEST))
            case "accuracy":
                self.edit(stop_at_accuracy=self.chance.choice([0.0, 1.0, 12.0, 100.0]))

    def edit(self, **values: Any) -> None:
        """The worker answers with an event, unless it ends before."""
        self._edit_asked = True
        before = len(self.new_events())
        self.ask("edit", **values)
        self.watch(lambda: any(event.event == "edit" for event in self.new_events()[before:]) or self.was_full)

    def ask(self, what: Any, **values: Any) -> None:
        """Write a request."""
        self.tell(f"ask {what} {values or ''}")
        requests.send_request(self.run, what, **values)

    def end_life(self, how: str) -> None:
        """What ends a life, at once or soon."""
        self.tell(how)
        match how:
            case "kill":
                self.worker.kill()
            case "kill frozen":
                self.worker.send_signal(signal.SIGSTOP)
                self.worker.kill()
            case "signal":  # until a forked worker listens, it has its parent's handlers
                self.watch(lambda: bool((status := store.read_status(self.run)) and status.phase))
                for _ in range(self.chance.choice([1, 1, 2])):
                    self.worker.send_signal(self.chance.choice([signal.SIGTERM, signal.SIGINT]))
            case "stop":
                self.ask(self.chance.choice(["stop", "stop_after_epoch"]))

    # --- after it

    def after_a_life(self) -> State:
        """Wait for its end; what that must have left. Returns how it shows."""
        for event in self.end():
            if event.event == "edit":
                self.planned = event.data.get("epochs", self.planned)
                self.limit = event.data.get("stop_at_accuracy", self.limit)
        loaded = store.load_run(self.run)
        status = loaded.status
        assert status is not None
        self.tell(f"ended as {loaded.state} at step {status.step}")
        holds = (status.epochs, status.stop_at_accuracy or 0.0)
        if self._edit_asked and self.begun:  # killed before the event, the status alone tells of it
            self.planned, self.limit = holds
        if loaded.state is State.FINISHED and not self.begun:  # it was to go on, did not, and is what it was
            self.planned, self.limit = holds
        assert holds == (self.planned, self.limit) or not self.begun, f"{holds}, not {(self.planned, self.limit)}"
        if loaded.state is State.STOPPED and self.begun:
            step = self.step_of("last")
            assert step == status.step, f"stopped at step {status.step}, and last.pt is of {step}"
        assert loaded.state in (State.FINISHED, State.STOPPED, State.LOST), f"{loaded.state}: {status.told()}"
        return loaded.state

    def between(self) -> None:
        """What a power cut leaves, in half of the cases."""
        hows = ["nothing", "nothing", "nothing", "lines", "halves", "last", "last"]
        how = self.chance.choice(hows if self._edit_asked else [*hows, "status"])  # an edit may stand there alone
        match how:
            case "lines":
                damage.tear_lines(self.run)
            case "halves":
                damage.leave_halves(self.run)
            case "status":
                damage.damage_status(self.run, self.chance)
            case "last":
                how = f"last {damage.damage_last(self.run, self.chance)}"
                self.last_damaged = self.last_damaged or how != "last "
        self._edit_asked = False
        self.tell(f"left: {how}")

    def compare(self) -> None:
        """The finished run against the one of its length."""
        loaded = store.load_run(self.run)
        assert loaded.state is State.FINISHED and loaded.result is not None, loaded.state
        reached = 0.0 < self.limit <= loaded.result.test_accuracy
        assert loaded.result.epochs == self.planned or reached, f"{loaded.result.epochs} epochs, not {self.planned}"
        found = list(differences(self.run, self.references.of(self.kind, loaded.result.epochs)))
        assert not found, "; ".join(found)
