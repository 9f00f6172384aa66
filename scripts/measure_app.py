"""What the app costs on this machine: `python scripts/measure_app.py [start] [long] [watch] [beside] [beside-all]`.

Opens the real app in a pseudo-terminal (`app_terminal.py`) and measures
- start: from exec until a directory of 200 runs is drawn;
- long: from Enter until all points of a run of 200,000 metric lines are drawn, and then what its new lines cost
  beside those of a short run (both written as a worker writes them, `written_run.py`);
- watch: its processor time and memory while it shows a training at work, at three sizes of the terminal;
- beside: the speed of a training on one thread, pinned to a core, with ten apps that all watch it at work and with all
  of them halted (SIGSTOP, so that nothing else differs), in many short turns: A B, B A, ... One app costs a tenth of
  what ten do, or less: they are in each other's way besides. One alone costs less than the speed's noise;
- beside-all: the same with a training on all cores, which leaves none for the app, and one app.
Prints one line each, with the spread. Nothing else should be at work on the machine. All take about ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import process, starting, store
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import TrainRecord, parse_metric
from fmnist_tui.runs.status import State

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds only what lies in its own directory
from scripts.app_terminal import App, read_all
from scripts.written_run import LAST_ACCURACY, Written

LONG_LINES = 200_000
SETTLE_SECONDS = 1.0
"""After the app was halted or went on, before the speed counts."""
SIZES = ((80, 24), (120, 40), (200, 60))


def measure_start(directory: Path, rounds: int) -> str:
    """Start-up with 200 runs in the directory."""
    for _ in range(200):
        run = starting.create_run(directory, load_preset("wrn"), device="cpu")
        status = store.read_status(run)
        assert status is not None
        run.status.write_text(status.model_copy(update={"state": State.STOPPED, "epoch": 3}).to_json())
    times = []
    for _ in range(rounds + 1):  # the first one fills the caches
        app = App(directory)
        times.append(app.wait_for(b"200 runs"))
        app.close()
    return f"start-up with 200 runs: {spread(times[1:])} s ({rounds} starts)"


def measure_long(directory: Path, rounds: int, seconds: float) -> list[str]:
    """Opening a run of 200,000 lines, and what new lines cost."""
    times, used, shares = [], [], {}
    for lines in (LONG_LINES, 1_000):
        place = directory / str(lines)
        with Written(place, lines):
            for nth in range(rounds + 1):  # the first one fills the caches
                app = App(place)
                app.wait_for(b"running")
                before = app.processor_seconds()
                drawn = app.wait_for(LAST_ACCURACY.encode(), app.open_run())
                if lines == LONG_LINES and nth:
                    times.append(drawn)
                    used.append(app.processor_seconds() - before)
                if nth == rounds:
                    app.read(3.0)
                    shares[lines] = app.share(seconds)
                app.close()
    long, short = shares[LONG_LINES], shares[1_000]
    return [
        f"all points of {LONG_LINES:,} lines drawn after {spread(times)} s ({rounds} times)",
        f"processor time of that and a second of the list before: {spread(used)} s",
        f"then watching it: {long:.1f} % of one core; a run of 1,000 lines: {short:.1f} % (once {seconds:g} s each)",
    ]


@contextlib.contextmanager
def training(directory: Path, threads: int | None) -> Iterator[RunDirectory]:
    """A long run of the quick preset; on one thread it is pinned to the first core."""
    config = with_changes(load_preset("quick"), {"training.epochs": 10_000, "training.eval_every": 10_000})
    run = starting.create_run(directory, config, device="cpu", now=True)
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    worker = process.start_worker(run)
    os.environ.pop("OMP_NUM_THREADS", None)
    try:
        if threads == 1:
            psutil.Process(worker.pid).cpu_affinity([0])
        while (status := store.read_status(run)) is None or status.step < 5:
            if worker.poll() is not None:
                raise SystemExit(run.worker_log.read_text())
            time.sleep(0.1)
        yield run
    finally:
        worker.kill()
        worker.wait()


def measure_watching(directory: Path, rounds: int, seconds: float) -> list[str]:
    """Processor time and memory while a training on one thread is on screen."""
    found = []
    with training(directory, 1):
        for size in SIZES:
            shares, memory = [], 0.0
            for _ in range(rounds):
                app = App(directory, size)
                app.wait_for(b"running")
                app.open_run()
                app.read(4.0)
                shares.append(app.share(seconds))
                memory = max(memory, psutil.Process(app.pid).memory_info().rss / 2**20)
                app.close()
            found.append(
                f"watching at {size[0]}x{size[1]}: {spread(shares)} % of one core, {memory:.0f} MiB "
                f"({rounds} times {seconds:g} s)"
            )
    return found


def speed(run: RunDirectory, apps: list[App], seconds: float) -> float:
    """Training images a second over a while, from the metric lines (their harmonic mean)."""
    read_all(apps, SETTLE_SECONDS)
    offset = run.metrics.stat().st_size
    read_all(apps, seconds)
    for app in apps:
        app.seen = b""
    with run.metrics.open("rb") as file:
        file.seek(offset)
        records = [parse_metric(line) for line in file.read().splitlines()[1:]]
    return statistics.harmonic_mean([r.images_per_second for r in records if isinstance(r, TrainRecord)])


def measure_beside(directory: Path, pairs: int, seconds: float, threads: int | None, count: int) -> list[str]:
    """The speed of a training beside some apps at work by that beside the halted apps."""
    ratios, used = [], 0.0
    with training(directory, threads) as run:
        apps = [App(directory) for _ in range(count)]
        for app in apps:
            app.wait_for(b"running")
            app.open_run()
        read_all(apps, 4.0)
        for nth in range(pairs):
            found = {}
            for halted in (False, True) if nth % 2 else (True, False):
                for app in apps:
                    os.kill(app.pid, signal.SIGSTOP if halted else signal.SIGCONT)
                before = sum(app.processor_seconds() for app in apps)
                found[halted] = speed(run, apps, seconds)
                used += sum(app.processor_seconds() for app in apps) - before
            ratios.append(found[False] / found[True])
        for app in apps:
            os.kill(app.pid, signal.SIGCONT)
            app.close()
    took = 100 * used / (pairs * (seconds + SETTLE_SECONDS))
    return [
        f"{told}; {pairs} pairs of {seconds:g} s, the apps took {took:.1f} % of one core"
        for told in costs(ratios, "one thread pinned to a core" if threads == 1 else "all cores", count)
    ]


def costs(ratios: list[float], on: str, count: int) -> list[str]:
    """What `count` apps, and one of them, cost a training, in words: the median and its bootstrap interval."""
    draws = [statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(10_000)]
    low, *_, high = statistics.quantiles(draws, n=40)
    middle = statistics.median(ratios)
    who = "1 app" if count == 1 else f"{count} apps"
    told = [
        f"training on {on}, with {who} / without: median {middle:.4f}, 95 % bootstrap interval {low:.4f} to {high:.4f}"
    ]
    if count > 1:
        each = [100 * (1 - ratio) / count for ratio in (middle, high, low)]
        told.append(f"so one app costs {each[0]:.2f} % ({each[1]:.2f} to {each[2]:.2f})")
    return told


def spread(values: list[float], digits: int = 2) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} (from {min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="what to measure (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12.0, help="of a look at processor time")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--apps", type=int, default=10, help="at once, of `beside`")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # by `timeout`, say: the worker must not stay behind
    place = Path(tempfile.mkdtemp(prefix="fmnist-measure-"))
    os.environ["FMNIST_TUI_STATE_DIR"] = str(place / "state")
    parts: dict[str, Callable[[], str | list[str]]] = {
        "start": lambda: measure_start(place / "many", options.rounds),
        "long": lambda: measure_long(place / "long", options.rounds, options.seconds),
        "watch": lambda: measure_watching(place / "watch", options.rounds, options.seconds),
        "beside": lambda: measure_beside(place / "one", options.pairs, 4.0, 1, options.apps),
        "beside-all": lambda: measure_beside(place / "all", options.pairs, 4.0, None, 1),
    }
    if unknown := set(options.what) - set(parts):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    try:
        for name in options.what or parts:
            found = parts[name]()
            print(found if isinstance(found, str) else "\n".join(found), flush=True)
        print(f"load average now {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
