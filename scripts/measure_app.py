"""What the app costs on this machine: `python scripts/measure_app.py`.

Opens the real app in a pseudo-terminal of 120x40 and measures
- start-up: from exec until a directory of 200 runs is drawn;
- watching: its processor time and memory while it shows a run at work;
- slowdown: the speed of a training with the app open and without it, in turns (A B A B).
Prints one line each, with the spread. Nothing else should be at work on the machine.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import psutil

from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import process, store
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import State, TrainRecord, parse_metric

CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()].|\x1b[=>]")


class App:
    """The app in a pseudo-terminal."""

    def __init__(self, runs_dir: Path) -> None:
        self.began = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
            os.execv(sys.executable, [sys.executable, "-m", "fmnist_tui", "--runs-dir", str(runs_dir)])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.seen = b""

    def read(self, seconds: float) -> None:
        """Take what the app draws for a while, as a terminal does."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.seen += os.read(self.fd, 1 << 16)
                except OSError:
                    return

    def wait_for(self, text: bytes, limit: float = 30.0) -> float:
        """Seconds from exec until the text was drawn."""
        while text not in CONTROL.sub(b"", self.seen):
            if time.perf_counter() - self.began > limit:
                raise SystemExit(f"{text!r} was not drawn within {limit:g} s")
            self.read(0.005)
        return time.perf_counter() - self.began

    def close(self) -> None:
        """Leave as a closed terminal does."""
        os.kill(self.pid, signal.SIGHUP)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def measure_start(directory: Path, rounds: int) -> str:
    """Start-up with 200 runs in the directory."""
    for _ in range(200):
        run = store.create_run(directory, load_preset("wrn"), device="cpu")
        status = store.read_status(run)
        assert status is not None
        run.status.write_text(status.model_copy(update={"state": State.STOPPED, "epoch": 3}).to_json())
    times = []
    for _ in range(rounds + 1):  # the first one fills the caches
        app = App(directory)
        times.append(app.wait_for(b"200 runs"))
        app.close()
    return f"start-up with 200 runs: {spread(times[1:])} s ({rounds} starts)"


def start_training(directory: Path) -> tuple[RunDirectory, subprocess.Popen[bytes]]:
    """A long run of the quick preset."""
    config = with_changes(load_preset("quick"), {"training.epochs": 10_000, "training.eval_every": 10_000})
    run = store.create_run(directory, config, device="cpu", now=True)
    worker = process.start_worker(run)
    while (status := store.read_status(run)) is None or status.step < 5:
        if worker.poll() is not None:
            raise SystemExit(run.worker_log.read_text())
        time.sleep(0.1)
    return run, worker


def speed(run: RunDirectory, seconds: float) -> float:
    """Training images a second over a while, from the metric lines."""
    offset = run.metrics.stat().st_size
    time.sleep(seconds)
    with run.metrics.open("rb") as file:
        file.seek(offset)
        records = [parse_metric(line) for line in file.read().splitlines()[1:]]
    speeds = [record.images_per_second for record in records if isinstance(record, TrainRecord)]
    return statistics.median(speeds)


def measure_watching(directory: Path, rounds: int, seconds: float) -> list[str]:
    """Processor, memory and slowdown beside a training."""
    run, worker = start_training(directory)
    with_app, without, shares, memory = [], [], [], []
    try:
        for _ in range(rounds):
            without.append(speed(run, seconds))
            app = App(directory)
            app.wait_for(b"running")
            os.write(app.fd, b"\r")
            app.read(3.0)
            one = psutil.Process(app.pid)
            before, began = sum(one.cpu_times()[:2]), time.perf_counter()
            offset = run.metrics.stat().st_size
            app.read(seconds)
            shares.append(100 * (sum(one.cpu_times()[:2]) - before) / (time.perf_counter() - began))
            memory.append(one.memory_info().rss / 2**20)
            with run.metrics.open("rb") as file:
                file.seek(offset)
                records = [parse_metric(line) for line in file.read().splitlines()[1:]]
            with_app.append(statistics.median(r.images_per_second for r in records if isinstance(r, TrainRecord)))
            app.close()
    finally:
        worker.kill()
        worker.wait()
    ratios = [a / b for a, b in zip(with_app, without, strict=True)]
    return [
        f"watching a run: {spread(shares)} % of one core, {max(memory):.0f} MiB ({rounds} times {seconds:g} s)",
        f"training speed with the app / without: {spread(ratios, 3)} ({rounds} pairs)",
        f"training speed without: {spread(without, 0)} images/s",
    ]


def spread(values: list[float], digits: int = 2) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} (from {min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="fmnist-measure-"))
    os.environ["FMNIST_TUI_STATE_DIR"] = str(place / "state")
    try:
        print(measure_start(place / "many", options.rounds), flush=True)
        for line in measure_watching(place / "one", options.rounds, options.seconds):
            print(line, flush=True)
        print(f"load average now {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
