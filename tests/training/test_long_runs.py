"""A run of many epochs: memory, files and time for an epoch stay flat, and its end costs no more than its beginning."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fmnist_tui.analysis.confusion import read_history
from fmnist_tui.data.source import Images
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training.desk import Desk
from tests.training.tiny import Trainer, full_size_config

EPOCHS = 120
NARROW = {"kind": "dual_path_net", "blocks": [1], "filters": [4], "growth_rate": [1]}


class Growth:
    """What is looked at after each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        """Processor time of this process since the start: other work on the machine does not count."""
        self.memory: list[int] = []
        self.traffic: list[int] = []
        """Bytes this process has read and written; empty where the system does not tell."""
        self.sizes: dict[str, list[int]] = {"status": [], "metrics": [], "confusions": [], "checkpoint": []}

    def look(self, run: RunDirectory) -> None:
        """After an epoch, whose checkpoint may still be under way."""
        self.seconds.append(time.process_time())
        process = psutil.Process()
        self.memory.append(process.memory_info().rss)
        if hasattr(process, "io_counters"):  # not on macOS
            counters = process.io_counters()
            self.traffic.append(counters.read_chars + counters.write_chars)
        checkpoint = run.checkpoint("last")
        sizes = self.sizes
        sizes["metrics"].append(run.metrics.stat().st_size)
        sizes["confusions"].append(run.confusions.stat().st_size)
        sizes["status"].append(run.status.stat().st_size)
        sizes["checkpoint"].append(checkpoint.stat().st_size if checkpoint.exists() else 0)


def rises(sizes: list[int]) -> list[int]:
    """What each epoch but the first added, bytes."""
    return [after - before for before, after in itertools.pairwise(sizes)]


def test_many_epochs_cost_what_the_first_ones_did(
    runs_dir: Path, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch trains two steps, evaluates and writes a checkpoint."""
    small = replace(
        images,
        train_images=images.train_images[:16],
        train_labels=images.train_labels[:16],
        test_images=images.test_images[:20],
        test_labels=images.test_labels[:20],
    )
    growth, end_epoch = Growth(), Desk.end_epoch

    def end_and_look(desk: Desk) -> None:
        end_epoch(desk)
        desk.reporter.update(now=True)
        growth.look(desk.run)

    monkeypatch.setattr(Desk, "end_epoch", end_and_look)
    trainer = Trainer(runs_dir, small)
    run = trainer.create(full_size_config(model=NARROW, training={"epochs": EPOCHS, "batch_size": 8}))
    trainer.train(run)

    third = EPOCHS // 3
    seconds = [after - before for before, after in itertools.pairwise(growth.seconds)]
    first, last = statistics.median(seconds[5:third]), statistics.median(seconds[-third:])
    assert last < 2 * first, f"an epoch took {1e3 * first:.1f} ms at first and {1e3 * last:.1f} ms at last"
    if growth.traffic:
        began, ended = growth.traffic[third] - growth.traffic[5], growth.traffic[-1] - growth.traffic[-third + 4]
        assert ended < 1.2 * began, f"files: {began:,} bytes in the first epochs, {ended:,} in as many of the last"
    grown = growth.memory[-1] - growth.memory[third]
    assert grown < 24 << 20, f"{grown / 2**20:.1f} MiB more after {EPOCHS} epochs than after {third}"

    sizes = growth.sizes
    for name, longest in (("metrics", 900), ("confusions", 500)):
        added = rises(sizes[name])
        assert 0 < max(added[-third:]) < longest, f"{name}: {added[-3:]}"
        assert max(added[-third:]) < 1.2 * max(added[5:third]), f"{name}: lines grow"
    assert max(sizes["status"][-third:]) < 1.1 * max(sizes["status"][5:third])
    assert max(sizes["checkpoint"][-third:]) < 1.02 * max(sizes["checkpoint"][5:third])
    assert len(read_history(run)) == EPOCHS
    kept = sum(path.stat().st_size for path in run.path.rglob("*") if path.name.endswith(".tmp"))
    assert kept == 0 and run.predictions.stat().st_size < 100_000
