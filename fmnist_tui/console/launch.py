"""Start a worker for a new or a resumed run and attend to it. Called by `commands_run`, `repeat` and `sweep`.

Everything that can be refused is refused before a run directory is made.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fmnist_tui import paths
from fmnist_tui.config import DataConfig, RunConfig
from fmnist_tui.console.output import console, print_json, print_notes, say
from fmnist_tui.console.summary import print_summary
from fmnist_tui.console.watch import Attendant, Interrupts, exit_code, opened_view
from fmnist_tui.monitor.devices import devices_for
from fmnist_tui.runs import process, queue, requests, starting
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.lost import note_loss
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.slurm import SlurmSettings
from fmnist_tui.runs.status import ExitCode, State
from fmnist_tui.runs.store import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmnist_tui.data.source import Images, Progress


@dataclass(frozen=True)
class Start:
    """Where and how a run is started, as the options say."""

    runs_dir: Path
    data_dir: Path | None
    device: str
    gpus: int = 1
    nodes: int = 1
    rendezvous: str | None = None
    now: bool = False
    retries: int = 0
    detach: bool = False
    json: bool = False
    slurm: SlurmSettings | None = None
    """What a Slurm job is asked for; None where this machine starts the worker."""

    @property
    def how(self) -> dict[str, Any]:
        """What `starting.create_run` and `starting.prepare_resume` write into launch.json beside device and data."""
        how = {"retries": self.retries, "gpus": self.gpus, "nodes": self.nodes, "rendezvous": self.rendezvous}
        return how if self.slurm is None else how | {"launcher": "slurm", "slurm": self.slurm}


def check_place(start: Start) -> None:
    """Raises RunError where no run could be made or submitted there."""
    if start.runs_dir.exists():  # one that is not there is made with the run, and not before
        starting.check_runs_dir(start.runs_dir)
    if start.slurm is not None:
        from fmnist_tui.runs.submit import check_slurm

        check_slurm()


def start_new(config: RunConfig, notes: Sequence[str], start: Start) -> int:
    """Make a run and start its worker; returns the exit code.

    Raises RunError or DataError, and then leaves nothing behind.
    """
    check_place(start)
    get_data(config.data, start.data_dir)
    with Interrupts() as interrupts:
        how = {"now": start.now, **start.how}
        directory = starting.create_run(start.runs_dir, config, start.device, start.data_dir, **how)
        print_notes(notes)
        if start.slurm is not None:
            from fmnist_tui.runs.submit import submit_new

            submit_new(directory)
        return _run(directory, start, interrupts)


def resume(
    run: Run,
    start: Start,
    checkpoint: Literal["last", "previous", "best"] = "last",
    epochs: int | None = None,
    stop_at_accuracy: float | None = None,
) -> int:
    """Start a worker that goes on in a run's own directory; returns the exit code. Raises RunError or DataError."""
    if run.config is not None:
        get_data(run.config.data, start.data_dir)
    finished = run.result if run.state is State.FINISHED else None
    limit = starting.limit_note(run.status) if finished and run.status and stop_at_accuracy is None else ""
    changes: dict[str, Any] = {"checkpoint": checkpoint, "epochs": epochs, "stop_at_accuracy": stop_at_accuracy}
    with Interrupts() as interrupts:
        since = utc_now()
        note_loss(run)
        if start.slurm is not None:
            from fmnist_tui.runs.submit import resubmit

            how = {key: value for key, value in start.how.items() if key != "launcher"}
            resubmit(run, start.device, start.data_dir, **changes, **how)
        else:
            starting.prepare_resume(run, start.device, start.data_dir, now=start.now, **changes, **start.how)
        if finished is not None:
            row = f"{finished.test_accuracy:.2f} %, epoch {finished.epochs}"
            print_notes([f"its row of the table ({row}) stays until it is finished again"])
        if limit:
            print_notes([limit])
        return _run(run.directory, start, interrupts, since)


def join(run: Run) -> int:
    """Have this machine's devices take part in a run of another machine's, until its end; returns the exit code.

    Raises RunError for a run that waits for no other machine.
    """
    if last_launch(run.directory).rendezvous is None:
        raise RunError(f"{run.id}: trains on one machine; others can join one started with --nnodes and --rdzv")
    if not run.state.alive:
        raise RunError(f"{run.id}: is {run.state}; nothing to join")
    with Interrupts() as interrupts:
        worker = process.start_joining(run.directory)
        while worker.poll() is None:
            if interrupts.interrupts + interrupts.terminations:
                try:
                    requests.send_request(run.directory, "stop")
                except requests.CannotWrite:  # its ranks hand it on to the others
                    worker.send_signal(signal.SIGTERM)
                worker.wait()
            time.sleep(0.2)
    return worker.returncode


def _run(directory: RunDirectory, start: Start, interrupts: Interrupts, since: str = "") -> int:
    """Start the worker, unless Slurm does; announce it or watch it."""
    local = start.slurm is None
    ahead = behind(start) if local and start.detach and not start.now else None
    worker = process.start_worker(directory) if local else None
    if local and start.nodes > 1:
        others = "the other machine" if start.nodes == 2 else f"each of the {start.nodes - 1} other machines"
        say(f"On {others}: fmnist-tui run join {directory.id} --runs-dir {shlex.quote(str(directory.path.parent))}")
    if not local and (job := last_launch(directory).job) is not None:
        say(f"Submitted as Slurm job {job.id}.")
    if start.detach:
        if (error := announce(directory, start.json)) is not None:
            raise error
        if not start.json and sys.stderr.isatty():
            watch = paths.command_line("runs", "watch", directory.id, of=directory.path.parent)
            say(f"It goes on in the background. Watch it: {watch}")
        if ahead is not None:
            print_notes([f"it is queued behind {ahead}; --now would start it at once, beside the run at work"])
        return ExitCode.DONE
    with opened_view(start.json) as view:
        run = Attendant(directory, worker, interrupts).watch(view, since)
    print_summary(run, start.json)
    return exit_code(run)


def behind(start: Start) -> str | None:
    """The run a new worker is going to wait for, as far as can be told before it looks itself."""
    try:
        return queue.would_wait(devices_for(start.device, start.gpus), start.gpus)
    except RunError:  # the worker will say what is wrong, and start without the queue
        return None


def announce(directory: RunDirectory, as_json: bool) -> OSError | None:
    """Tell which run was started: on stderr, where stdout can't take it. Then returns why, to be raised in time."""
    try:
        if as_json:
            print_json({"kind": "run", "id": directory.id, "directory": str(directory.path)})
        else:
            print(directory.id, flush=True)
    except OSError as error:
        say(f"{directory.id} was started, and goes on in the background.")
        return error
    return None


def get_data(config: DataConfig, data_dir: Path | None) -> Images:
    """The images, which are then sure to be whole; downloads them where no searched place has them.

    Raises DataError.
    """
    from fmnist_tui.data import source

    if config.source == "sample" or paths.data_dir_override(data_dir) is not None:
        return source.load(config, data_dir)
    with download_progress() as progress:
        return source.load(config, None, download=True, progress=progress)


@contextmanager
def download_progress() -> Iterator[Progress]:
    """A function that shows how a download gets on, on stderr: a bar for each file, or a line without a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    stderr = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as display:

        def show(name: str, received: int, expected: int) -> None:
            if name not in tasks:
                tasks[name] = display.add_task(name, total=expected or None)
                if not stderr.is_terminal:
                    say(f"downloading {name}")
            display.update(tasks[name], completed=received, total=expected or None)

        yield show
