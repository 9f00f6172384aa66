"""The runs in a directory: list, load, find by part of a name, say of a dead worker how it ended, delete.

Called by the command line, the app and the report. There is no index: the directories are the store.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fmnist_tui.characters import unfit
from fmnist_tui.config import RunConfig
from fmnist_tui.remedies import remedy
from fmnist_tui.runs import process
from fmnist_tui.runs.comments import read_comment
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.files import LineWriter, replace_bytes
from fmnist_tui.runs.layout import RUN_ID, RunDirectory
from fmnist_tui.runs.metrics import EventRecord, last_train
from fmnist_tui.runs.records import SCHEMA_VERSION, utc_now
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import NOT_QUEUED, ExitCode, State, Status
from fmnist_tui.wording import plain_words, without_controls

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True)
class Run:
    """A run as it stands on disk. What could not be read is None and said in `problem`.

    But a finished run's status: what it was is told from the result.
    """

    directory: RunDirectory
    config: RunConfig | None
    status: Status | None
    result: Result | None
    state: State
    problem: str = ""
    mendable: bool = False
    """Whether the problem is a status.json that a resume makes anew (`mending`)."""
    earlier: Result | None = None
    """What a finished run that goes on had come to; None once it is finished again.

    Until its training begins that is `result` itself; then it lies in a place of its own, until the last status says
    that there is a newer one. So there is no moment without either.
    """
    earlier_problem: str = ""
    """What is wrong with the file of `earlier`: it has no row, and goes on as if there were none."""
    comment: str = ""
    """What the user wrote down about it."""

    @property
    def id(self) -> str:
        """The run's id."""
        return self.directory.id

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.config.name if self.config else self.id

    @property
    def is_whole(self) -> bool:
        """Whether what lies in its directory can be read, or as much of it as a resume needs."""
        return not self.problem or self.mendable


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
        wrong = f"{at + ': ' if at else ''}{plain_words(first)}"  # quotes the file: a field's name, a value
        return None, f"{path.name} is damaged or of another version ({without_controls(wrong)})"


def read_status(run: RunDirectory) -> Status | None:
    """What a run's status.json says; None where it is missing, damaged or can't be read."""
    return _read(run.status, Status)[0]


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
        if not directory.path.exists():
            problem = "its directory is gone: it was moved or deleted"
    state = state_of(status, result)
    earlier, wrong_earlier = _earlier(directory, state, result)
    of_status = status.schema_version if status else _schema_of(directory.status)
    newest = max([of_status, *(one.schema_version for one in (result, earlier) if one)])
    if newest > SCHEMA_VERSION:
        problem = f"written by a newer fmnist-tui (schema {newest}); update this one to work with it"
    mendable = problem.startswith("status.json is ")
    if mendable:
        problem += "; a resume makes it anew"
        if config is not None and result is not None:
            line = last_train(directory)
            status = result.last_status(config.training.stop_at_accuracy, line.loss if line else None)
    comment = read_comment(directory)
    return Run(directory, config, status, result, state, problem, mendable, earlier, wrong_earlier, comment)


def _earlier(directory: RunDirectory, state: State, result: Result | None) -> tuple[Result | None, str]:
    """`Run.earlier` and `Run.earlier_problem` of a run in this state."""
    if state is State.FINISHED:
        return None, ""
    earlier, wrong = _read(directory.earlier_result, Result)
    if wrong:
        return None, f"{directory.earlier.name}/{wrong}; it has no row until it is finished again"
    if earlier is None and state in (State.QUEUED, State.STARTING):  # training would have moved the result
        return result, ""
    return earlier, ""


def _schema_of(path: Path) -> int:
    """The schema version in a file that is no record this program knows; 0 where it has none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return 0
    version = found.get("schema_version") if isinstance(found, dict) else None
    return version if isinstance(version, int) else 0


def state_of(status: Status | None, result: Result | None) -> State:
    """The state every view shows of a run: that of its process, and finished where it is lost and has a result.

    Training takes result.json away when it begins, so no step was taken since.
    """
    state = process.actual_state(status)
    return State.FINISHED if state is State.LOST and result is not None else state


def may_be_run(name: str) -> bool:
    """Whether a directory of this name may be a run.

    With a dot before it it is one half made or half deleted. No run is made with a name that is not one line of
    printable text: every view prints the name as the run's id, and a terminal would obey the rest.
    """
    return not name.startswith(".") and not unfit(name)


def run_directories(runs_dir: Path) -> list[RunDirectory]:
    """Every run in a runs directory, newest first; a missing directory holds none.

    Only what `may_be_run` is looked at. Raises RunError where `runs_dir` is a file
    or can't be read.
    """
    names = _directories(runs_dir, may_be_run)
    made = {name: _time_made(RunDirectory(runs_dir / name)) for name in names}
    order = sorted(((name[:_STAMP_LENGTH], at, name) for name, at in made.items() if at is not None), reverse=True)
    return [RunDirectory(runs_dir / name) for _, _, name in order]


def unprintable_names(runs_dir: Path) -> list[str]:
    """The names of runs that no view shows because of their name. Raises RunError as `run_directories` does."""
    names = _directories(runs_dir, lambda name: not name.startswith(".") and not may_be_run(name))
    return sorted(name for name in names if _time_made(RunDirectory(runs_dir / name)) is not None)


def closed_names(runs_dir: Path) -> list[str]:
    """The ids of runs that this user may not look into: no view shows them. Raises RunError as `run_directories`."""
    closed = []
    for name in _directories(runs_dir, lambda name: RUN_ID.fullmatch(name) is not None):
        try:
            RunDirectory(runs_dir / name).marker.stat()
        except PermissionError:
            closed.append(name)
        except OSError:
            continue
    return sorted(closed)


def _directories(runs_dir: Path, wanted: Callable[[str], bool]) -> list[str]:
    try:
        with os.scandir(runs_dir) as scan:
            return [entry.name for entry in scan if wanted(entry.name) and entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise RunError("is a file; name a directory", option="runs-dir", value=runs_dir) from None
    except OSError as error:
        raise RunError(str(error.strerror), option="runs-dir", value=runs_dir) from None


_STAMP_LENGTH = len("20261123-142501")


def _time_made(run: RunDirectory) -> int | None:
    """When the run's marker was written (ns), for the order of runs of one second; None where it is no run."""
    try:
        stat = run.marker.stat()
    except OSError:  # no marker, or somebody else's directory
        return None
    return stat.st_mtime_ns if S_ISREG(stat.st_mode) else None


def is_run(run: RunDirectory) -> bool:
    """Whether a directory of the runs directory is a run that this user may look into."""
    return _time_made(run) is not None


def list_runs(runs_dir: Path) -> list[Run]:
    """Every run, loaded, newest first."""
    return [load_run(directory) for directory in run_directories(runs_dir)]


def find_run(runs_dir: Path, text: str) -> Run:
    """The run a user means: 'last' is the newest, else any part of an id that only one run has.

    Raises RunError where nothing or several match, naming them.
    """
    runs = run_directories(runs_dir)
    if not runs:
        raise RunError(f"there are no runs in {runs_dir}", remedy("first run"), option="RUN", value=repr(text))
    if text == "last":
        return load_run(runs[0])
    exact = [run for run in runs if run.id == text]
    matches = exact or [run for run in runs if text and text in run.id]
    if len(matches) == 1:
        return load_run(matches[0])
    if matches:
        shown = ", ".join(run.id for run in matches[:5]) + (", ..." if len(matches) > 5 else "")
        problem = f"matches {len(matches)} runs ({shown}); give more of the id"
        raise RunError(problem, option="RUN", value=repr(text))
    if not text:
        problem = f"is empty; give any part of an id, or 'last', which is {runs[0].id}"
        raise RunError(problem, option="RUN", value="''")
    near = difflib.get_close_matches(text, [run.id for run in runs], n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"the newest is {runs[0].id}"
    raise RunError(f"no run in {runs_dir} has this in its id; {hint}", option="RUN", value=repr(text))


def refuse_at_work(run: Run) -> None:
    """Raises RunError for a run whose worker is, or may be, there."""
    if run.state.alive:
        raise RunError(f"{run.id}: is {run.state}", remedy("stop first", run=run.id))
    if process.is_locked(run.directory):
        raise RunError(f"{run.id}: is {run.state}, but its worker is still there; try again in a moment")


def ended_as(run: RunDirectory, state: State, error: str | None) -> tuple[State, str | None]:
    """How a run ended whose worker ended so: finished, where its result is there, for the reason in `state_of`.

    The error then says what kept a finished run from going on.
    """
    if state is State.FINISHED or not run.result.exists():
        return state, error
    return State.FINISHED, f"did not go on, and is as it was: {error}" if error else None


def mark_failed(run: RunDirectory, error: str, exit_code: int) -> None:
    """Write down a worker's death for it, where it died before it could (a launcher saw it go).

    Where that can't be written (a full disk) the run shows as lost.
    """
    status, _ = _read(run.status, Status)
    if status is not None and status.state.alive and not process.is_locked(run):
        state, said = ended_as(run, State.FAILED, error)
        update = {"state": state, "error": said, "exit_code": exit_code, "ended": utc_now(), **NOT_QUEUED}
        with contextlib.suppress(OSError):
            replace_bytes(run.status, status.model_copy(update=update).to_json().encode())


def mark_killed(run: RunDirectory, by: str) -> None:
    """Write down that the user killed a run's worker: as `mark_failed`. `by` says how, in words."""
    lost = "what came after the last checkpoint is lost" if run.has_checkpoint() else "it had no checkpoint yet"
    mark_failed(run, f"{by}; {lost}", ExitCode.STOPPED)


def mark_stopped(run: RunDirectory, why: str) -> None:
    """Write down that a run that waits will not be started (again), with an event that says why; as `mark_failed`."""
    status, _ = _read(run.status, Status)
    if status is None or not status.state.alive or process.is_locked(run):
        return
    state, _ = ended_as(run, State.STOPPED, None)
    update = {"state": state, "phase": "", "exit_code": ExitCode.STOPPED, "ended": utc_now(), **NOT_QUEUED}
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
    refuse_at_work(load_run(run.directory))  # as it is now: a user may have thought for long
    doomed = path.with_name(f".{path.name}.deleted")
    try:
        path.rename(doomed)  # one step: no reader meets half a run
    except OSError as error:
        raise RunError(f"{run.id}: cannot be deleted: {error.strerror}") from None
    try:
        shutil.rmtree(doomed)
    except OSError as error:
        raise RunError(f"{run.id}: not all of it could be deleted: {error.strerror}; see {doomed}") from None
