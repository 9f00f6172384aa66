"""Fill the benchmark table: `python benchmarks/campaign.py --device cuda:0 --slice-seconds 540`.

Trains presets on the full data, one after another, in an order that does the most with little time: the plan
`reference` has the five reference networks (for a GPU), `turbo` the two small ones (for any machine).
Each call works for at most one slice, then stops the run at work with a checkpoint; the next call goes on
there and skips what is done. Finished runs are archived below `benchmarks/archive`, as run directories without
checkpoints, predictions and log, their metrics thinned to 2,000 lines: `fmnist-tui report --runs-dir
benchmarks/archive` prints the table, and `fmnist-tui --runs-dir benchmarks/archive` shows their curves.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_tui import report
from fmnist_tui.config import RunConfig
from fmnist_tui.fields import parse_value, with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import process, requests, starting, store
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, TrainRecord, parse_metric
from fmnist_tui.runs.status import State

ARCHIVE = Path(__file__).parent / "archive"
MAX_LINES = 2000
STOP_SECONDS = 60.0
"""Kept back from a slice for the last checkpoint."""
MORE_TO_DO = 75


@dataclass(frozen=True)
class Job:
    """One run of the campaign: a preset with changes."""

    preset: str
    changes: dict[str, Any]

    @property
    def name(self) -> str:
        """What the run is called; a finished run of this name is not run again."""
        parts = [f"{key.split('.')[-1]}{value}" for key, value in self.changes.items()]
        return "-".join(["campaign", self.preset, *map(str, parts)])[:64]

    def config(self, extra: dict[str, Any]) -> RunConfig:
        """The preset's configuration with the job's changes and those of the command line."""
        return with_changes(load_preset(self.preset), {**self.changes, **extra, "name": self.name})


def reference_jobs(shake_epochs: int) -> list[Job]:
    """Each reference network once, the cheap ones with two more seeds, the standard split last.

    Shake-Shake's cosine runs over `shake_epochs` epochs; the table says that it is not the 1800-epoch row.
    """
    return [
        Job("densenet", {}),
        Job("wrn", {}),
        Job("dpn", {}),
        Job("shake-shake-64", {"training.epochs": shake_epochs}),
        Job("shake-shake-96", {"training.epochs": shake_epochs}),
        *(Job(preset, {"seed": seed}) for seed in (2, 3) for preset in ("densenet", "wrn")),
        Job("wrn", {"data.split": "standard"}),
    ]


def turbo_jobs(seeds: int, long_seeds: int) -> list[Job]:
    """`turbo` with `seeds` seeds and `turbo-long` with `long_seeds`, each preset's own seed and those after it."""
    counts = {"turbo": seeds, "turbo-long": long_seeds}
    return [
        Job(preset, {"seed": load_preset(preset).seed + index})
        for preset, count in counts.items()
        for index in range(count)
    ]


class Campaign:
    """One call: works through the jobs until the slice is over."""

    def __init__(self, jobs: list[Job], options: argparse.Namespace, extra: dict[str, Any]) -> None:
        self.jobs = jobs
        self.options = options
        self.extra = extra
        self.until = time.monotonic() + options.slice_seconds - STOP_SECONDS

    def work(self) -> int:
        """Do what fits: 0 once every job is finished, 1 where one of them failed, 75 where there is more to do."""
        failed = False
        for job in self.jobs:
            run = self.find(job)
            if run is None or run.state is not State.FINISHED:
                if time.monotonic() >= self.until:
                    return MORE_TO_DO
                run = self.train(job, run)
            if run.state is State.FINISHED:
                archive(run, self.options.archive)
            elif run.state is State.STOPPED:
                return MORE_TO_DO
            else:
                failed = True
                status = run.status
                print(f"{job.name}: {run.state}: {status.error if status else run.problem}", flush=True)
        return int(failed)

    def find(self, job: Job) -> store.Run | None:
        """The job's run, if it was begun."""
        runs = (run for run in store.list_runs(self.options.runs_dir) if run.name == job.name)
        return next(runs, None)

    def train(self, job: Job, run: store.Run | None) -> store.Run:
        """Begin or go on with the job's run until it ends or the slice is over."""
        if run is None:
            directory = starting.create_run(
                self.options.runs_dir, job.config(self.extra), self.options.device, self.options.data_dir
            )
        else:
            directory = run.directory
            starting.prepare_resume(run, self.options.device, self.options.data_dir)
        worker = process.start_worker(directory)
        told = asked = False
        while worker.poll() is None:
            time.sleep(0.5)
            status = store.load_run(directory).status
            if status and status.eta_seconds and not told:
                told = True
                print(
                    f"{job.name}: {status.images_per_second:,.0f} images/s, {status.eta_seconds:.0f} s left", flush=True
                )
            if time.monotonic() > self.until and not asked:
                asked = True
                requests.send_request(directory, "stop")
        done = store.load_run(directory)
        if done.result:
            accuracy = f"{done.result.test_accuracy:.4f} % (best {done.result.best_accuracy:.4f} %)"
            print(f"{job.name}: {accuracy} in {done.result.total_seconds:.0f} s", flush=True)
        return done


def archive(run: store.Run, directory: Path) -> None:
    """Keep what the table and the curves need as a run directory; the result, written last, marks a whole one."""
    source, target = run.directory, RunDirectory(directory / run.id)
    if target.result.exists():
        return
    assert run.status is not None
    target.path.mkdir(parents=True, exist_ok=True)
    ended = run.status.model_copy(update={"pid": None, "pid_started": None, "host": ""})
    replace_bytes(target.status, ended.to_json().encode())
    replace_bytes(target.metrics, thin(source.metrics.read_bytes().splitlines(), MAX_LINES))
    replace_bytes(target.marker, source.marker.read_bytes())
    replace_bytes(target.config, source.config.read_bytes())
    replace_bytes(target.result, source.result.read_bytes())


def thin(lines: list[bytes], limit: int) -> bytes:
    """At most `limit` lines: every event and evaluation, and evenly spaced training lines; no system samples."""
    records = [(line, parse_metric(line)) for line in lines]
    kept = {i for i, (_, record) in enumerate(records) if isinstance(record, EvalRecord | EventRecord)}
    training = [i for i, (_, record) in enumerate(records) if isinstance(record, TrainRecord)]
    room = max(0, limit - len(kept))
    if room and training:
        stride = max(1, -(-len(training) // room))
        kept |= set(training[stride - 1 :: stride])
    ordered = sorted(kept)[-limit:]
    return b"".join(records[i][0] + b"\n" for i in ordered)


def main() -> int:
    """Work one slice; the exit code is `Campaign.work`'s."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs-campaign"))
    parser.add_argument("--archive", type=Path, default=ARCHIVE)
    parser.add_argument("--slice-seconds", type=float, default=540.0)
    parser.add_argument("--shake-epochs", type=int, default=300)
    parser.add_argument("--plan", choices=("reference", "turbo"), default="reference")
    parser.add_argument("--seeds", type=int, default=5, help="of turbo")
    parser.add_argument("--long-seeds", type=int, default=5, help="of turbo-long")
    parser.add_argument("--only", action="append", help="a preset of the plan; repeat for several")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for trying the script out")
    options = parser.parse_args()
    extra = {}
    for setting in options.set:
        key, _, text = setting.partition("=")
        extra[key] = parse_value(text, key)
    options.runs_dir = options.runs_dir.absolute()
    if options.plan == "turbo":
        jobs = turbo_jobs(options.seeds, options.long_seeds)
    else:
        jobs = reference_jobs(options.shake_epochs)
    if options.only:
        if unknown := set(options.only) - {job.preset for job in jobs}:
            parser.error(f"--only {unknown.pop()}: not in the plan {options.plan}")
        jobs = [job for job in jobs if job.preset in options.only]
    code = Campaign(jobs, options, extra).work()
    print(report.render(options.archive, "markdown").split("## The results to beat")[0])
    return code


if __name__ == "__main__":
    sys.exit(main())
