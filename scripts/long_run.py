"""Whether a run of 1,800 epochs stays flat: `OMP_NUM_THREADS=1 python scripts/long_run.py [--epochs N]`.

Trains a very small network on a few images of the shipped sample in this process, with an evaluation and a
checkpoint each epoch, and looks at itself once a second. Then opens the finished run as the commands and the app
do. Prints the table that docs/trainer.md quotes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psutil
import torch

from fmnist_tui.analysis.confusion import read_history
from fmnist_tui.config import RunConfig, parse_config
from fmnist_tui.data.source import load_sample
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import read_metrics
from fmnist_tui.runs.status import State
from fmnist_tui.training import loop
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.job import Job
from fmnist_tui.training.precision import choose
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.result import cpu_name
from fmnist_tui.tui.reading import MetricsReader, RunList
from fmnist_tui.tui.run_data import RunData

LOOK_SECONDS = 1.0
WARM_UP_EPOCHS = 20
OPENINGS = 7
FILES = ("metrics.jsonl", "confusions.jsonl", "status.json", "predictions.npz", "checkpoints/last.pt")


class Watcher(threading.Thread):
    """Notes once a second how far the run is and how much memory this process has."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(daemon=True)
        self._reporter = reporter
        self._ended = threading.Event()
        self.seen: list[tuple[int, int]] = []
        """Epoch and resident bytes."""

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Note it now."""
        self.seen.append((self._reporter.status.epoch, psutil.Process().memory_info().rss))

    def end(self) -> None:
        """Note the end and stop."""
        self._ended.set()
        self.join()
        self.look()


def configuration(epochs: int) -> RunConfig:
    """Four steps an epoch of a network with 1,338 parameters."""
    return parse_config(
        {
            "name": "long",
            "model": {"kind": "dual_path_net", "blocks": [1], "filters": [4], "growth_rate": [1]},
            "data": {"source": "sample", "split": "standard"},
            "schedule": {"kind": "cosine"},
            "training": {"epochs": epochs, "batch_size": 16, "precision": "fp32"},
        }
    )


def train(run: RunDirectory, config: RunConfig) -> Watcher:
    """Train to the end on 64 images, with the heartbeat and samples of a worker; what was seen meanwhile."""
    sample = load_sample()
    images = replace(
        sample,
        train_images=sample.train_images[:64],
        train_labels=sample.train_labels[:64],
        test_images=sample.test_images[:100],
        test_labels=sample.test_labels[:100],
    )
    status = store.read_status(run)
    assert status is not None
    reporter = Reporter(run, status)
    reporter.start()
    watcher = Watcher(reporter)
    watcher.start()
    execution = choose(config.training, torch.device("cpu"))
    loop.train(Job(run, config, LaunchRequest(device="cpu"), images, execution, reporter, StopSignal()))
    watcher.end()
    reporter.close(State.FINISHED, None, 0)
    return watcher


def open_in_the_app(run: RunDirectory) -> None:
    """What the app reads to show the run: the list, every metric line as series, every confusion matrix."""
    runs = RunList(run.path.parent)
    runs.scan()
    reader, data = MetricsReader(run), RunData("cpu")
    reader.more = True
    while reader.more:
        records, _ = reader.read()
        data.extend(records)
    read_history(run)
    assert not data.is_empty


def milliseconds(call: Callable[[], object]) -> str:
    """Median and range of a few calls."""
    found = []
    for _ in range(OPENINGS):
        began = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - began))
    return f"{statistics.median(found):.1f} ms ({min(found):.1f} to {max(found):.1f}, {OPENINGS} times)"


def table(run: RunDirectory, watcher: Watcher, epochs: int) -> list[str]:
    """The rows, one line each."""
    assert store.load_run(run).state is State.FINISHED and not store.load_run(run).problem
    ends = [datetime.fromisoformat(record.time) for record in read_metrics(run).eval]
    each = [(after - before).total_seconds() for before, after in itertools.pairwise(ends)]
    tenth = max(1, epochs // 10)
    warm = [memory for epoch, memory in watcher.seen if epoch >= WARM_UP_EPOCHS]
    rows = [
        f"time per epoch, median of the first {tenth}: {1e3 * statistics.median(each[:tenth]):.1f} ms",
        f"time per epoch, median of the last {tenth}: {1e3 * statistics.median(each[-tenth:]):.1f} ms",
        f"resident memory from epoch {WARM_UP_EPOCHS} on: {warm[0] / 2**20:.1f} MiB",
        f"resident memory at the end: {warm[-1] / 2**20:.1f} MiB (at most {max(warm) / 2**20:.1f})",
    ]
    for name in FILES:
        size = (run.path / name).stat().st_size
        per_epoch = f" ({size / epochs:.0f} bytes an epoch)" if name.endswith(".jsonl") else ""
        rows.append(f"{name}: {size:,} bytes{per_epoch}")
    rows.append(f"store.load_run: {milliseconds(lambda: store.load_run(run))}")
    rows.append(f"what the app reads to show all of it: {milliseconds(lambda: open_in_the_app(run))}")
    return rows


def main() -> None:
    """Train, open, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1800, help="default 1800; at least 100")
    options = parser.parse_args()
    if options.epochs < 100:
        parser.error(f"--epochs {options.epochs}: give at least 100, or there is nothing to compare")
    place = Path(tempfile.mkdtemp(prefix="fmnist-long-"))
    os.environ["FMNIST_TUI_STATE_DIR"] = str(place / "state")
    config = configuration(options.epochs)
    run = starting.create_run(place / "runs", config, device="cpu")
    try:
        began = time.monotonic()
        watcher = train(run, config)
        print(
            f"{options.epochs} epochs in {time.monotonic() - began:.0f} s",
            *table(run, watcher, options.epochs),
            sep="\n",
        )
    finally:
        shutil.rmtree(place)
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"
    print(f"{cpu_name()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; {versions}")


if __name__ == "__main__":
    main()
