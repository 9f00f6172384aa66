"""The runs in a directory: create, list, load, find by part of a name, prepare to resume, delete.

Called by the command line, the app and the report. There is no index: the directories are the store.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.runs import process
from fmnist_tui.runs.files import LineWriter, replace_bytes
from fmnist_tui.runs.layout import RunDirectory, new_run_id
from fmnist_tui.runs.process import RunError as RunError
from fmnist_tui.runs.records import (
    NOT_QUEUED,
    SCHEMA_VERSION,
    EventRecord,
    ExitCode,
    LaunchRequest,
    Result,
    State,
    Status,
    utc_now,
)
from fmnist_tui.runs.slurm import SlurmSettings
from fmnist_tui.wording import plain_words

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True)
class Run:
    """A run as it stands on disk. What could not be read is None and said in `problem`."""

    directory: RunDirectory
    config: RunConfig | None
    status: Status | None
    result: Result | None
    state: State
    problem: str = ""

    @property
    def id(self) -> str:
        """The run's id."""
        return self.directory.id

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.config.name if self.config else self.id


def _read(path: Path, kind: type[R]) -> tuple[R | None, str]:
    """A record from a file, or None and what is wrong with it ('' where there is no file)."""
    try:
        return kind.model_validate_json(path.read_bytes()), ""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path.name} cannot be read: {error.strerror}"
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        return None, f"{path.name} is damaged or of another version ({at + ': ' if at else ''}{plain_words(first)})"


def read_status(run: RunDirectory) -> Status | None:
    """What a run's status.json says; None where it is missing, damaged or can't be read."""
    return _read(run.status, Status)[0]


def last_launch(directory: RunDirectory) -> LaunchRequest:
    """How a run was last started; a request with nothing set where that is not on disk."""
    try:
        return LaunchRequest.model_validate_json(directory.launch.read_bytes())
    except (OSError, ValidationError):  # says nothing that the defaults can't
        return LaunchRequest()


def load_run(directory: RunDirectory, config: RunConfig | None = None) -> Run:
    """A run as it stands. Never raises for what is in the directory: see `Run.problem`.

    `config` is the run's configuration where it was read before: the file is written once, and reading it is a
    quarter of the work.
    """
    config, wrong_config = (config, "") if config else _read(directory.config, RunConfig)
    status, wrong_status = _read(directory.status, Status)
    result, wrong_result = _read(directory.result, Result)
    problem = wrong_config or wrong_status or wrong_result
    if not problem and (config is None or status is None):
        problem = f"{'config.json' if config is None else 'status.json'} is missing"
    newest = max(status.schema_version if status else 0, result.schema_version if result else 0)
    if newest > SCHEMA_VERSION:
        problem = f"written by a newer fmnist-tui (schema {newest}); update this one to work with it"
    state = process.actual_state(status) if status else State.LOST
    return Run(directory, config, status, result, state, problem)


def run_directories(runs_dir: Path) -> list[RunDirectory]:
    """Every run in a runs directory, newest first; a missing directory holds none.

    Names with a dot before them are runs half made or half deleted. Raises RunError where `runs_dir` is a file
    or can't be read.
    """
    try:
        with os.scandir(runs_dir) as scan:
            names = [e.name for e in scan if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise RunError(f"--runs-dir {runs_dir}: is a file; name a directory") from None
    except OSError as error:
        raise RunError(f"--runs-dir {runs_dir}: {error.strerror}") from None
    made = {name: _time_made(RunDirectory(runs_dir / name)) for name in names}
    order = sorted(((name[:_STAMP_LENGTH], at, name) for name, at in made.items() if at is not None), reverse=True)
    return [RunDirectory(runs_dir / name) for _, _, name in order]


_STAMP_LENGTH = len("20261123-142501")


def _time_made(run: RunDirectory) -> int | None:
    """When the run's marker was written (ns), for the order of runs of one second; None where it is no run."""
    try:
        stat = run.marker.stat()
    except OSError:  # no marker, or somebody else's directory
        return None
    return stat.st_mtime_ns if S_ISREG(stat.st_mode) else None


def list_runs(runs_dir: Path) -> list[Run]:
    """Every run, loaded, newest first."""
    return [load_run(directory) for directory in run_directories(runs_dir)]


def find_run(runs_dir: Path, text: str) -> Run:
    """The run a user means: 'last' is the newest, else any part of an id that only one run has.

    Raises RunError where nothing or several match, naming them.
    """
    runs = run_directories(runs_dir)
    if not runs:
        raise RunError(f"RUN = {text!r}: there are no runs in {runs_dir}; start one with: fmnist-tui run preset quick")
    if text == "last":
        return load_run(runs[0])
    exact = [run for run in runs if run.id == text]
    matches = exact or [run for run in runs if text and text in run.id]
    if len(matches) == 1:
        return load_run(matches[0])
    if matches:
        shown = ", ".join(run.id for run in matches[:5]) + (", ..." if len(matches) > 5 else "")
        raise RunError(f"RUN = {text!r}: matches {len(matches)} runs ({shown}); give more of the id")
    near = difflib.get_close_matches(text, [run.id for run in runs], n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"the newest is {runs[0].id}"
    raise RunError(f"RUN = {text!r}: no run in {runs_dir} has this in its id; {hint}")


def check_runs_dir(runs_dir: Path) -> None:
    """Make the runs directory where it is missing; raises RunError where it can't be written to."""
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise RunError(f"--runs-dir {runs_dir}: is a file; name a directory") from None
    except NotADirectoryError:
        raise RunError(f"--runs-dir {runs_dir}: a part of the path is a file; name a directory") from None
    except OSError as error:
        raise RunError(f"--runs-dir {runs_dir}: cannot be made: {error.strerror}") from None
    if not os.access(runs_dir, os.W_OK | os.X_OK):
        raise RunError(f"--runs-dir {runs_dir}: is not writable; choose another with --runs-dir or FMNIST_TUI_RUNS_DIR")


def _unused(runs_dir: Path, name: str) -> RunDirectory:
    """A directory with a new id: two of one name and second end alike once in 800,000 times."""
    while (run := RunDirectory(runs_dir / new_run_id(name))).path.exists():
        pass
    return run


def create_run(
    runs_dir: Path,
    config: RunConfig,
    device: str = "auto",
    data_dir: Path | None = None,
    now: bool = False,
    retries: int = 0,
    gpus: int = 1,
    nodes: int = 1,
    rendezvous: str | None = None,
    launcher: Literal["local", "slurm"] = "local",
    slurm: SlurmSettings | None = None,
) -> RunDirectory:
    """Make a run directory with its configuration, launch request and first status; start it with `start_worker`.

    Where `launcher` is 'slurm', it is queued, and `submit.submit` hands it over as `slurm` asks.

    Its worker waits while the device has another run; with `now` it does not. It begins anew from the last
    checkpoint up to `retries` times where the device fails. With `gpus` above 1 it trains on that many, or in that
    many processes on the CPU; with `nodes` above 1 so does each of that many machines, which meet at `rendezvous`.
    Raises RunError where the runs directory can't be used; then nothing is left behind.
    """
    check_runs_dir(runs_dir)
    run = _unused(runs_dir, config.name)
    hidden = RunDirectory(runs_dir / f".{run.id}.new")
    try:
        hidden.path.mkdir()
        hidden.checkpoints.mkdir()
        hidden.config.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        how = {"now": now, "retries": retries, "gpus": gpus, "nodes": nodes, "rendezvous": rendezvous}
        _write_launch(hidden, device, data_dir, **how, launcher=launcher, slurm=slurm)
        status = Status(
            **_first_state(launcher),
            host=socket.gethostname(),
            epochs=config.training.epochs,
            stop_at_accuracy=config.training.stop_at_accuracy,
            device=device,
        )
        hidden.status.write_text(status.to_json() + "\n", encoding="utf-8")
        hidden.marker.write_text(f"{SCHEMA_VERSION}\n", encoding="ascii")
        hidden.path.rename(run.path)
    except BaseException as error:
        shutil.rmtree(hidden.path, ignore_errors=True)
        if isinstance(error, OSError):
            raise RunError(f"--runs-dir {runs_dir}: the run could not be made: {error.strerror}") from None
        raise
    return run


def _first_state(launcher: str) -> dict[str, Any]:
    """How a run begins to wait for its worker."""
    if launcher == "slurm":
        return {"state": State.QUEUED, "phase": "being submitted"}
    return {"state": State.STARTING, "phase": ""}


def _write_launch(run: RunDirectory, device: str, data_dir: Path | None, **how: Any) -> None:
    """The other fields of the LaunchRequest are in `how`."""
    directory = str(data_dir.absolute()) if data_dir else None
    if directory and not _is_unicode(directory):
        raise RunError(f"--data-dir {directory!r}: its name is not Unicode text; give one that is")
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    launch = LaunchRequest(
        device=device,
        data_dir=directory,
        **how,
        command=[argument if _is_unicode(argument) else ascii(argument) for argument in command],
    )
    replace_bytes(run.launch, launch.to_json().encode())


def _is_unicode(text: str) -> bool:
    """False for text from bytes that are not UTF-8, as Python keeps it in arguments and paths; JSON has no such."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def prepare_resume(
    run: Run,
    device: str = "auto",
    data_dir: Path | None = None,
    checkpoint: Literal["last", "previous", "best"] = "last",
    epochs: int | None = None,
    now: bool = False,
    retries: int = 0,
    gpus: int = 1,
    nodes: int = 1,
    rendezvous: str | None = None,
    launcher: Literal["local", "slurm"] = "local",
    slurm: SlurmSettings | None = None,
) -> None:
    """Make a run that has ended (or was lost) ready for `start_worker`, or `submit.submit`, to go on in its directory.

    Raises RunError where it is still at work, has no checkpoint and did not fail before its first, or is
    finished and not given more epochs.
    """
    if run.problem or run.config is None or run.status is None:
        raise RunError(f"{run.id}: cannot be resumed: {run.problem}")
    if run.state is State.QUEUED:
        raise RunError(f"{run.id}: is queued and will start by itself")
    _refuse_at_work(run)
    if checkpoint != "last" and not run.directory.checkpoint(checkpoint).is_file():
        raise RunError(f"--from {checkpoint}: {run.id} has no checkpoint of this name")
    if epochs is not None:
        try:
            with_changes(run.config, {"training.epochs": epochs})
        except ConfigError as error:
            raise RunError(f"{run.id}: {error.errors[0]}") from None
    if epochs is not None and epochs < run.status.epoch:
        raise RunError(f"--epochs {epochs}: {run.id} is in epoch {run.status.epoch} already; give at least that")
    if run.state is State.FINISHED and (epochs is None or epochs <= run.status.epochs) and checkpoint == "last":
        raise RunError(f"{run.id}: is finished after {run.status.epochs} epochs; to go on, give more: --epochs N")
    try:
        run.directory.control.unlink(missing_ok=True)
        how: dict[str, Any] = {"now": now, "retries": retries, "gpus": gpus, "nodes": nodes, "rendezvous": rendezvous}
        how |= {"launcher": launcher, "slurm": slurm}
        _write_launch(run.directory, device, data_dir, checkpoint=checkpoint, epochs=epochs, **how)
        update = {
            **_first_state(launcher),
            "job": None,
            "pid": None,
            "pid_started": None,
            "host": socket.gethostname(),
            "heartbeat": utc_now(),
            "ended": None,
            "error": None,
            "exit_code": None,
            "eta_seconds": None,
            "device": device,
            "beside": None,
            "retries_used": 0,
            **NOT_QUEUED,
        }
        replace_bytes(run.directory.status, run.status.model_copy(update=update).to_json().encode())
    except OSError as error:
        remedy = f"make room, or {run.directory.path} writable, or resume a copy of it"
        raise RunError(f"{run.id}: cannot be resumed: {error.strerror}; {remedy}") from None


def _refuse_at_work(run: Run) -> None:
    if run.state.alive:
        raise RunError(f"{run.id}: is {run.state}; stop it first: fmnist-tui runs stop {run.id}")
    if process.is_locked(run.directory):
        raise RunError(f"{run.id}: is {run.state}, but its worker is still there; try again in a moment")


def mark_failed(run: RunDirectory, error: str, exit_code: int) -> None:
    """Write down a worker's death for it, where it died before it could (a launcher saw it go).

    Where that can't be written (a full disk) the run shows as lost.
    """
    status, _ = _read(run.status, Status)
    if status is not None and status.state.alive and not process.is_locked(run):
        update = {"state": State.FAILED, "error": error, "exit_code": exit_code, "ended": utc_now(), **NOT_QUEUED}
        with contextlib.suppress(OSError):
            replace_bytes(run.status, status.model_copy(update=update).to_json().encode())


def mark_stopped(run: RunDirectory, why: str) -> None:
    """Write down that a run that waits will not be started (again), with an event that says why; as `mark_failed`."""
    status, _ = _read(run.status, Status)
    if status is None or not status.state.alive or process.is_locked(run):
        return
    update = {"state": State.STOPPED, "phase": "", "exit_code": ExitCode.STOPPED, "ended": utc_now(), **NOT_QUEUED}
    event = EventRecord(event="stop", step=status.step, epoch=status.epoch, message=why)
    with contextlib.suppress(OSError), contextlib.closing(LineWriter(run.metrics)) as lines:
        lines.write(event.to_json() + "\n")
    with contextlib.suppress(OSError):
        replace_bytes(run.status, status.model_copy(update=update).to_json().encode())


def delete_run(run: Run) -> None:
    """Delete a run's directory. Raises RunError for a run at work and for a directory that is not a run."""
    path = run.directory.path
    if path.is_symlink() or _time_made(run.directory) is None:
        raise RunError(f"{run.id}: is not a run of fmnist-tui; nothing was deleted")
    _refuse_at_work(load_run(run.directory))  # as it is now: a user may have thought for long
    doomed = path.with_name(f".{path.name}.deleted")
    try:
        path.rename(doomed)  # one step: no reader meets half a run
    except OSError as error:
        raise RunError(f"{run.id}: cannot be deleted: {error.strerror}") from None
    try:
        shutil.rmtree(doomed)
    except OSError as error:
        raise RunError(f"{run.id}: not all of it could be deleted: {error.strerror}; see {doomed}") from None
