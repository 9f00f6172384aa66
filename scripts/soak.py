"""Kill the trainer again and again and see that nothing is lost: `PYTHONPATH=. python scripts/soak.py --kills 200`.

Trains a small noisy network (Shake-Shake, Cutout, shuffle) on the shipped sample once without interruption.
Then trains the same again and again, each time killed (SIGKILL) at random moments, resumed, and compared at
its end: weights, momentum, metric lines, predictions and result must equal the uninterrupted run's bit for
bit. One kill in four waits for a checkpoint that is being written. Every kill is checked too: the run must show
as lost at once, its files must be whole, and no more than the work since the last checkpoint may be gone. Exits
with 1 at the first difference and keeps that run; at its end prints what docs/faults.md quotes.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from fmnist_tui.config import parse_config
from fmnist_tui.runs import process, starting, store
from fmnist_tui.runs.layout import CHECKPOINTS, RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.training import checkpoint
from fmnist_tui.training.result import cpu_name
from tests.process.forked import ForkedWorker
from tests.process.same_run import differences
from tests.process.workers import steps_of

CONFIG: dict[str, Any] = {
    "name": "soak",
    "seed": 3,
    "model": {"kind": "shake_shake", "depth": 8, "base_channels": 2},
    "data": {"source": "sample", "split": "standard"},
    "augment": {"crop_padding": 4, "cutout_size": 16, "low_resolution": 12, "low_resolution_share": 0.5},
    "schedule": {"kind": "cosine"},
    "training": {"epochs": 2, "batch_size": 400, "deterministic": True},
}
WAIT_FOR_A_WRITE = 0.25
"""Share of the kills that wait for a checkpoint under way: at random moments next to none would meet one."""


def main() -> int:
    """Run the soak; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many times to kill (default 20)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments (default: the clock)")
    parser.add_argument("--checkpoint-seconds", type=float, default=0.5, help="time between checkpoints (default 0.5)")
    parser.add_argument(
        "--forked", type=float, default=0.0, help="share of workers forked with torch loaded (default 0)"
    )
    parser.add_argument("--directory", type=Path, help="where the runs go (default: a temporary directory)")
    options = parser.parse_args()
    runs_dir = options.directory or Path(tempfile.mkdtemp(prefix="fmnist-soak-"))
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["FMNIST_TUI_STATE_DIR"] = str(runs_dir / "state")
    torch.set_num_threads(1)  # a process with threads can't be forked
    soak = Soak(runs_dir, options.checkpoint_seconds, options.seed, options.forked)
    try:
        soak.run(options.kills)
    except AssertionError as difference:
        print(f"FAILED after {soak.kills} kills (seed {options.seed}): {difference}\nkept: {runs_dir}")
        return 1
    except KeyboardInterrupt:
        print("interrupted; so far:")
    print(soak.summary())
    if options.directory is None:
        shutil.rmtree(runs_dir)
    return 0


class Soak:
    """One soak: the uninterrupted run to compare with, and what happened so far."""

    def __init__(self, runs_dir: Path, checkpoint_seconds: float, seed: int, forked: float) -> None:
        self.runs_dir, self.forked = runs_dir, forked
        training = CONFIG["training"] | {"checkpoint_seconds": checkpoint_seconds}
        self.config = parse_config(CONFIG | {"training": training})
        self.chance = random.Random(seed)
        self.seed = seed
        self.kills = self.finished = self.most_steps_lost = self.in_writing = self.kills_forked = 0
        self.phases: Counter[str] = Counter()
        self.steps_lost = 0
        self.gaps: list[float] = []
        self.lost_seconds = 0.0
        self.began = time.monotonic()

    def run(self, kills: int) -> None:
        """Until that many kills have been made and the run under way has finished."""
        self.reference = self.create()
        began = time.monotonic()
        assert process.start_worker(self.reference).wait() == 0, self.reference.worker_log.read_text()
        self.fastest = {False: time.monotonic() - began}
        again, began = self.create(), time.monotonic()
        assert ForkedWorker(again).wait() == 0, again.worker_log.read_text()
        self.fastest[True] = time.monotonic() - began
        self.compare(again)
        print(
            f"uninterrupted: {self.fastest[False]:.1f} s, forked {self.fastest[True]:.1f} s, seed {self.seed}",
            flush=True,
        )
        while self.kills < kills:
            self.one_run(kills)

    def create(self) -> RunDirectory:
        """A new run of the soak's configuration."""
        return starting.create_run(self.runs_dir, self.config, device="cpu")

    def one_run(self, kills: int) -> None:
        """Train to the end through kills, then compare."""
        run = self.create()
        first = time.monotonic()
        while True:
            began = time.monotonic()
            forked = self.chance.random() < self.forked
            worker = ForkedWorker(run) if forked else process.start_worker(run)
            until = self.chance.uniform(0.0, self.fastest[forked]) if self.kills < kills else None
            try:
                code = worker.wait(timeout=until)
            except subprocess.TimeoutExpired:
                if self.chance.random() < WAIT_FOR_A_WRITE:
                    wait_for_a_write(run, worker)
                before = self.kills
                self.kill(run, worker, began)
                self.kills_forked += forked * (self.kills - before)
                continue
            assert code == 0, f"{run.id} ended with {code}: {run.worker_log.read_text()[-2000:]}"
            if began - first < 0.1:  # never killed: on a busy machine each run takes its own time
                self.fastest[forked] = min(self.fastest[forked], time.monotonic() - began)
            break
        self.compare(run)
        self.finished += 1
        print(f"{self.kills} kills, {self.finished} runs finished, all equal", flush=True)
        shutil.rmtree(run.path)

    def kill(self, run: RunDirectory, worker: subprocess.Popen[bytes] | ForkedWorker, began: float) -> None:
        """Kill the worker, look at what it left, and make the run ready to go on."""
        worker.kill()
        killed = time.monotonic()
        worker.wait()
        loaded = store.load_run(run)
        if loaded.state is State.FINISHED:  # killed between its last word and its exit
            return
        assert loaded.state is State.LOST, f"{run.id} shows as {loaded.state}"
        assert loaded.status is not None and not loaded.problem, loaded.problem
        self.lost_seconds = max(self.lost_seconds, time.monotonic() - killed)
        self.kills += 1
        self.gaps.append(killed - began)
        self.phases[loaded.status.phase or "starting"] += 1
        self.in_writing += any(run.checkpoints.glob(".*.tmp"))
        saved = 0
        for which in CHECKPOINTS:
            if run.checkpoint(which).exists():
                content = checkpoint.read(run.checkpoint(which))  # raises where it is not whole
                saved = max(saved, content["progress"]["step"])
        lost = max(0, steps_done(run) - saved)
        self.steps_lost += lost
        self.most_steps_lost = max(self.most_steps_lost, lost)
        starting.prepare_resume(loaded, device="cpu")

    def compare(self, run: RunDirectory) -> None:
        """Every bit that does not come from the clock must be the uninterrupted run's."""
        assert not (found := list(differences(run, self.reference))), f"{run.id}: {'; '.join(found)}"

    def summary(self) -> str:
        """What was done and what was lost, in a few lines."""
        where = ", ".join(f"{count} {phase}" for phase, count in self.phases.most_common())
        gaps, steps = sorted(self.gaps), steps_done(self.reference)
        return (
            f"{self.kills} kills over {self.finished} runs; every run ended bit for bit as the uninterrupted one "
            f"({steps} steps).\n"
            f"{self.kills_forked} of the workers were forked with torch loaded, the others whole starts.\n"
            f"By the phase the status told: {where}; {self.in_writing} in the middle of writing a checkpoint.\n"
            f"Shown as lost {self.lost_seconds:.2f} s after the kill at the latest.\n"
            f"From a start to its kill: {gaps[0]:.2f} to {gaps[-1]:.2f} s, median {statistics.median(gaps):.2f} s.\n"
            f"Steps done again: {self.steps_lost} in all, at most {self.most_steps_lost} at once.\n"
            f"Wall time {(time.monotonic() - self.began) / 60:.1f} minutes, seed {self.seed}; {cpu_name()}, "
            f"one thread, Python {platform.python_version()}, torch {torch.__version__}"
        )


def wait_for_a_write(run: RunDirectory, worker: subprocess.Popen[bytes] | ForkedWorker, seconds: float = 10.0) -> None:
    """Until the worker begins to write a checkpoint, ends, or the time is over."""
    deadline = time.monotonic() + seconds
    while not any(run.checkpoints.glob(".*.tmp")) and worker.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)


def steps_done(run: RunDirectory) -> int:
    """Steps of which a metric line or the status tells."""
    status = store.load_run(run).status
    lines = steps_of(run) if run.metrics.exists() else []
    return max([status.step if status else 0, *(line["step"] for line in lines)])


if __name__ == "__main__":
    sys.exit(main())
