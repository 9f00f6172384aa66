"""Kill the trainer again and again and see that nothing is lost: `python scripts/soak.py --kills 200`.

Trains a small noisy network (Shake-Shake, Cutout, shuffle) on the shipped sample once without interruption.
Then trains the same again and again, each time killed (SIGKILL) at random moments, resumed, and compared at
its end: weights, momentum, metric lines, predictions and result must equal the uninterrupted run's bit for
bit. Every kill is checked too: the run must show as lost at once, its files must be whole, and no more
than the work since the last checkpoint may be gone. Exits with 1 at the first difference and keeps that run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fmnist_tui.config import parse_config
from fmnist_tui.runs import process, store
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import EvalRecord, State, TrainRecord, parse_metric
from fmnist_tui.training import checkpoint

CONFIG: dict[str, Any] = {
    "name": "soak",
    "seed": 3,
    "model": {"kind": "shake_shake", "depth": 8, "base_channels": 2},
    "data": {"source": "sample", "split": "standard"},
    "augment": {"crop_padding": 4, "cutout_size": 16},
    "schedule": {"kind": "cosine"},
    "training": {"epochs": 4, "batch_size": 300, "deterministic": True},
}
CLOCK = {"time", "seconds", "images_per_second"}
"""What differs between equal runs."""


def main() -> int:
    """Run the soak; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many times to kill (default 20)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments (default: the clock)")
    parser.add_argument("--checkpoint-seconds", type=float, default=0.5, help="time between checkpoints (default 0.5)")
    parser.add_argument("--directory", type=Path, help="where the runs go (default: a temporary directory)")
    options = parser.parse_args()
    runs_dir = options.directory or Path(tempfile.mkdtemp(prefix="fmnist-soak-"))
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["FMNIST_TUI_STATE_DIR"] = str(runs_dir / "state")
    soak = Soak(runs_dir, options.checkpoint_seconds, options.seed)
    try:
        soak.run(options.kills)
    except AssertionError as difference:
        print(f"FAILED after {soak.kills} kills (seed {options.seed}): {difference}\nkept: {runs_dir}")
        return 1
    print(soak.summary())
    if options.directory is None:
        shutil.rmtree(runs_dir)
    return 0


class Soak:
    """One soak: the uninterrupted run to compare with, and what happened so far."""

    def __init__(self, runs_dir: Path, checkpoint_seconds: float, seed: int) -> None:
        self.runs_dir = runs_dir
        training = CONFIG["training"] | {"checkpoint_seconds": checkpoint_seconds}
        self.config = parse_config(CONFIG | {"training": training})
        self.chance = random.Random(seed)
        self.seed = seed
        self.kills = self.finished = self.most_steps_lost = 0
        self.phases: Counter[str] = Counter()
        self.steps_lost = 0

    def run(self, kills: int) -> None:
        """Until that many kills have been made and the run under way has finished."""
        self.reference = self.create()
        began = time.monotonic()
        assert process.start_worker(self.reference).wait() == 0, self.reference.worker_log.read_text()
        self.duration = time.monotonic() - began
        print(f"uninterrupted: {self.duration:.1f} s, seed {self.seed}", flush=True)
        while self.kills < kills:
            self.one_run(kills)

    def create(self) -> RunDirectory:
        """A new run of the soak's configuration."""
        return store.create_run(self.runs_dir, self.config, device="cpu")

    def one_run(self, kills: int) -> None:
        """Train to the end through kills, then compare."""
        run = self.create()
        while True:
            worker = process.start_worker(run)
            until = self.chance.uniform(0.0, self.duration) if self.kills < kills else None
            try:
                code = worker.wait(timeout=until)
            except subprocess.TimeoutExpired:
                self.kill(run, worker)
                continue
            assert code == 0, f"{run.id} ended with {code}: {run.worker_log.read_text()[-2000:]}"
            break
        self.compare(run)
        self.finished += 1
        print(f"{self.kills} kills, {self.finished} runs finished, all equal", flush=True)
        shutil.rmtree(run.path)

    def kill(self, run: RunDirectory, worker: subprocess.Popen[bytes]) -> None:
        """Kill the worker, look at what it left, and make the run ready to go on."""
        worker.kill()
        worker.wait()
        loaded = store.load_run(run)
        if loaded.state is State.FINISHED:  # killed between its last word and its exit
            return
        self.kills += 1
        assert loaded.status is not None and not loaded.problem, loaded.problem
        assert loaded.state is State.LOST or loaded.status.pid is None, f"{run.id} shows as {loaded.state}"
        self.phases[loaded.status.phase or "starting"] += 1
        saved = 0
        for which in ("last", "previous", "best"):
            if run.checkpoint(which).exists():
                content = checkpoint.read(run.checkpoint(which))  # raises where it is not whole
                saved = max(saved, content["progress"]["step"])
        lost = max(0, loaded.status.step - saved)
        self.steps_lost += lost
        self.most_steps_lost = max(self.most_steps_lost, lost)
        if loaded.state is not State.LOST:  # killed before its first word: only time tells a watcher
            time.sleep(0)
            loaded = store.Run(loaded.directory, loaded.config, loaded.status, loaded.result, State.LOST)
        store.prepare_resume(loaded, device="cpu")

    def compare(self, run: RunDirectory) -> None:
        """Every bit that does not come from the clock must be the uninterrupted run's."""
        assert steps_of(run) == steps_of(self.reference), f"{run.id}: other metric lines"
        a, b = (checkpoint.read(each.checkpoint("last")) for each in (run, self.reference))
        assert equal(a["model"], b["model"]), f"{run.id}: other weights"
        assert equal(a["optimizer"], b["optimizer"]), f"{run.id}: other momentum"
        left, right = np.load(run.predictions), np.load(self.reference.predictions)
        assert all(np.array_equal(left[key], right[key]) for key in right.files), f"{run.id}: other predictions"
        results = [store.load_run(each).result for each in (run, self.reference)]
        assert results[0] is not None and results[1] is not None
        for field in ("test_accuracy", "best_accuracy", "best_epoch", "epochs", "steps", "test_loss"):
            assert getattr(results[0], field) == getattr(results[1], field), f"{run.id}: other {field}"

    def summary(self) -> str:
        """What was done and what was lost, in a few lines."""
        where = ", ".join(f"{count} {phase}" for phase, count in self.phases.most_common())
        return (
            f"{self.kills} kills ({where}) over {self.finished} runs of {self.duration:.1f} s; every run ended bit "
            f"for bit as the uninterrupted one.\nSteps done again: {self.steps_lost} in all, at most "
            f"{self.most_steps_lost} at once (a run has {self.config.training.epochs * 20}).\n"
            f"torch {torch.__version__}, seed {self.seed}"
        )


def steps_of(run: RunDirectory) -> list[dict[str, Any]]:
    """Training and evaluation lines without what depends on the clock."""
    records = [parse_metric(line) for line in run.metrics.read_bytes().splitlines()]
    return [r.model_dump(exclude=CLOCK) for r in records if isinstance(r, TrainRecord | EvalRecord)]


def equal(a: Any, b: Any) -> bool:
    """Whether nested dicts and lists of tensors are the same to the bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


if __name__ == "__main__":
    sys.exit(main())
