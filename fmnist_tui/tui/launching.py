"""What the app does to runs, without Textual: start, resume, stop, edit, kill, delete, and reap ended workers.

Called from the app's worker threads (everything here may touch the disk) and, for `Children.reap`, from the
feed. Errors are RunError, DataError or ValueError; their text is for people.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fmnist_tui.config import RunConfig
from fmnist_tui.runs import disk, process, queue, requests, starting, stopping, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import LaunchRequest, last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.lost import note_loss
from fmnist_tui.runs.slurm import SlurmSettings
from fmnist_tui.runs.status import ExitCode, State
from fmnist_tui.runs.store import Run

LOCK_SECONDS = 5.0
"""How long a killed worker's lock is waited for: its threads may hold it a moment longer than its pid lives."""


class Children:
    """The workers this app has started. They outlive it; while it lives it must take note of their ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: list[tuple[RunDirectory, subprocess.Popen[bytes]]] = []

    def add(self, run: RunDirectory, worker: subprocess.Popen[bytes]) -> None:
        """Take note of a started worker."""
        with self._lock:
            self._processes.append((run, worker))

    def reap(self) -> list[RunDirectory]:
        """The runs whose workers have ended since the last call; none stays behind as a zombie.

        A worker that ended with an error before it could write it down is marked as failed. One that was
        killed by a signal is left as it is: it shows as lost, whoever started it.
        """
        with self._lock:
            ended = [(run, worker) for run, worker in self._processes if worker.poll() is not None]
            self._processes = [item for item in self._processes if item not in ended]
        for run, worker in ended:
            if worker.returncode > 0:
                store.mark_failed(run, _last_words(run, worker.returncode), worker.returncode)
        return [run for run, _ in ended]


def _last_words(run: RunDirectory, code: int) -> str:
    """Why a worker died, as far as its log tells."""
    try:
        lines = run.worker_log.read_bytes()[-4096:].decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    said = f": {lines[-1].strip()}" if lines else ""
    return f"The worker ended with exit code {code} before it could say why{said}"


def start(
    runs_dir: Path, data_dir: Path | None, config: RunConfig, device: str, now: bool, gpus: int, children: Children
) -> RunDirectory:
    """Create a run on one device or several GPUs and start its worker.

    The worker waits for its turn on the device; with `now` it starts beside whatever is there. Raises DataError,
    RunError; then nothing is left at work.
    """
    _check_data(config, data_dir)
    run = starting.create_run(runs_dir, config, device, data_dir, now=now, gpus=gpus)
    _start_worker(run, children)
    return run


class JobRequest(NamedTuple):
    """What a Slurm job is to have."""

    device: Literal["cpu", "cuda"]
    gpus: int
    """Of each node; processes where the device is the CPU."""
    nodes: int
    settings: SlurmSettings

    @property
    def launch(self) -> LaunchRequest:
        """As launch.json has it."""
        return LaunchRequest(device=self.device, gpus=self.gpus, nodes=self.nodes, slurm=self.settings)


def job_before(runs: Sequence[Run]) -> LaunchRequest:
    """How the newest of these runs that has a Slurm job was submitted; a request with nothing set where none has.

    Raises RunError where no job can be submitted from this machine.
    """
    from fmnist_tui.runs.submit import check_slurm

    check_slurm()
    submitted = [run for run in runs if run.status is not None and run.status.job is not None]
    newest = max(submitted, key=lambda run: run.id, default=None)
    return last_launch(newest.directory) if newest else LaunchRequest()


def submit(runs_dir: Path, data_dir: Path | None, config: RunConfig, request: JobRequest) -> RunDirectory:
    """Create a run and submit the Slurm job that trains it. Raises DataError, RunError; then no run is left."""
    from fmnist_tui.runs.submit import check_slurm, submit_new

    check_slurm()
    _check_data(config, data_dir)
    device, gpus, nodes, settings = request
    how: dict[str, Any] = {"gpus": gpus, "nodes": nodes, "launcher": "slurm", "slurm": settings}
    run = starting.create_run(runs_dir, config, device, data_dir, **how)
    submit_new(run)
    return run


def resume(
    directory: RunDirectory,
    data_dir: Path | None,
    children: Children,
    epochs: int | None = None,
    stop_at_accuracy: float | None = None,
    checkpoint: Literal["last", "best"] = "last",
) -> None:
    """Start a run's worker again from a checkpoint, on the device and data it was started with, in its turn.

    `epochs` and `stop_at_accuracy` change how long it trains; None leaves that as it is. Raises DataError, RunError.
    """
    run = _load(directory)
    launch = last_launch(directory)
    if launch.launcher == "local" and launch.nodes > 1:
        alone = f"fmnist-tui run resume {run.id}"
        raise RunError(
            f"{run.id}: trains on {launch.nodes} machines, which the app can't start. Type `{alone} --nnodes "
            f"{launch.nodes} --rdzv {launch.rendezvous}`, or `{alone}` for this machine alone"
        )
    data = data_dir or (Path(launch.data_dir) if launch.data_dir else None)
    if run.config is not None:
        _check_data(run.config, data)
    note_loss(run)
    changes = {"epochs": epochs, "stop_at_accuracy": stop_at_accuracy, "checkpoint": checkpoint}
    how: dict[str, Any] = {**changes, "retries": launch.retries, "gpus": launch.gpus}
    if launch.launcher == "slurm":
        from fmnist_tui.runs import submit

        submit.resubmit(run, launch.device, data, nodes=launch.nodes, slurm=launch.slurm, **how)
        return
    starting.prepare_resume(run, launch.device, data, **how)
    _start_worker(directory, children)


def _check_data(config: RunConfig, data_dir: Path | None) -> None:
    """Raises DataError where the full data set is asked for and is nowhere: before anything is made."""
    if config.data.source == "full":
        from fmnist_tui.data import source  # NumPy, which the list of runs does without

        source.find(data_dir)


def _start_worker(run: RunDirectory, children: Children) -> None:
    try:
        children.add(run, process.start_worker(run))
    except OSError as error:
        text = f"The worker could not be started: {error.strerror}"
        store.mark_failed(run, text, ExitCode.FAILED)
        raise RunError(f"{run.id}: {text}") from None


def ask_to_stop(directory: RunDirectory, after_epoch: bool) -> stopping.Answer:
    """Ask a run's worker to write a checkpoint and end, at once or after this epoch. Raises RunError, ValueError."""
    return stopping.ask(_at_work(directory), after_epoch)


def edit(directory: RunDirectory, epochs: int | None, stop_at_accuracy: float | None) -> None:
    """Ask a run's worker to train for other epochs or to a test accuracy. Raises RunError, ValueError."""
    status = _at_work(directory).status
    assert status is not None
    if epochs is not None and epochs < status.epoch:
        raise RunError(f"epochs = {epochs}: the run is in epoch {status.epoch} already; give at least that")
    changes = {"epochs": epochs, "stop_at_accuracy": stop_at_accuracy}
    requests.send_request(directory, "edit", **{key: value for key, value in changes.items() if value is not None})


def kill(directory: RunDirectory) -> bool:
    """Kill a run's worker at once and write down that it was. Raises RunError where it is not on this machine.

    False where its Slurm job had the time to save.
    """
    if not stopping.kill(_at_work(directory)):
        _at_work(directory)
        raise RunError(f"{directory.id}: can't be killed from here: its worker runs elsewhere or is just starting")
    until = time.monotonic() + LOCK_SECONDS
    while process.is_locked(directory) and time.monotonic() < until:
        time.sleep(0.05)
    if store.load_run(directory).state is State.STOPPED:
        return False
    store.mark_killed(directory, "killed from the app")
    return True


def start_now(directory: RunDirectory) -> None:
    """Tell a queued run to start at once, beside what is on its device. Raises RunError, ValueError."""
    queue.start_now(_load(directory).directory)


def move(directory: RunDirectory, by: int) -> int:
    """Move a queued run by so many places and return the one it has now (1 is the next). Raises RunError."""
    status = _load(directory).status
    place = status.queue_place if status else None
    if status is not None and status.job is not None and status.state.alive:
        raise RunError(f"{directory.id}: {queue.WAITS_FOR_SLURM}")
    if place is None:
        raise RunError(f"{directory.id}: is not in the queue any more")
    return queue.move(directory.id, max(1, place + by))


def delete(directory: RunDirectory) -> None:
    """Delete a run that is not at work. Raises RunError."""
    store.delete_run(_load(directory))


def on_disk(run: Run) -> tuple[int, int]:
    """Bytes of all that a run has on disk, and of the checkpoints that `prune` would remove."""
    spare = disk.spare_checkpoints(run.directory).bytes if run.state is State.FINISHED else 0
    return disk.bytes_on_disk(run.directory.path), spare


def prune(directory: RunDirectory) -> int:
    """Remove a finished run's checkpoints but the last; returns the bytes freed. Raises RunError."""
    return disk.prune(_load(directory)).bytes


def _load(directory: RunDirectory) -> Run:
    """A run as it is now, not as it was when it was listed. Raises RunError where somebody deleted it meanwhile."""
    if not directory.path.is_dir():
        raise RunError(f"{directory.id}: is gone; it was deleted meanwhile, by another app or on the command line")
    return store.load_run(directory)


def _at_work(directory: RunDirectory) -> Run:
    """A run as it is now, with a status; raises RunError where nobody is there to be asked."""
    run = _load(directory)
    if run.status is None or not run.state.alive:
        raise RunError(f"{directory.id}: is {run.state} already")
    return run
