"""A run made ready for its worker: a new directory, or one that has ended and goes on.

Called by the command line, the app and the Python API; `process.start_worker` or `submit.submit` comes next.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from fmnist_tui import paths
from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.remedies import remedy
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.launch import LaunchRequest, last_launch
from fmnist_tui.runs.layout import RunDirectory, new_run_id
from fmnist_tui.runs.mending import with_status
from fmnist_tui.runs.records import SCHEMA_VERSION, utc_now
from fmnist_tui.runs.slurm import SlurmSettings
from fmnist_tui.runs.status import NOT_QUEUED, State, Status
from fmnist_tui.runs.store import Run, refuse_at_work


class How(TypedDict, total=False):
    """How a run is to be started: these fields of its LaunchRequest, which says what they mean."""

    gpus: int
    nodes: int
    rendezvous: str | None
    now: bool
    retries: int
    launcher: Literal["local", "slurm"]
    slurm: SlurmSettings | None


def check_runs_dir(runs_dir: Path) -> None:
    """Make the runs directory where it is missing; raises RunError where it can't be written to."""
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise RunError("is a file; name a directory", option="runs-dir", value=runs_dir) from None
    except NotADirectoryError:
        text = "a part of the path is a file; name a directory"
        raise RunError(text, option="runs-dir", value=runs_dir) from None
    except OSError as error:
        text = f"cannot be made: {error.strerror}"
        raise RunError(text, remedy("other runs directory"), option="runs-dir", value=runs_dir) from None
    if not os.access(runs_dir, os.W_OK | os.X_OK):
        raise RunError("is not writable", remedy("other runs directory"), option="runs-dir", value=runs_dir)


def _unused(runs_dir: Path, name: str) -> RunDirectory:
    """A directory with a new id: two of one name and second end alike once in 800,000 times."""
    while (run := RunDirectory(runs_dir / new_run_id(name))).path.exists():
        pass
    return run


def create_run(
    runs_dir: Path, config: RunConfig, device: str = "auto", data_dir: Path | None = None, **how: Unpack[How]
) -> RunDirectory:
    """Make a run directory with its configuration, launch request and first status; start it with `start_worker`.

    Where `launcher` is 'slurm', it is queued, and `submit.submit` hands it over as `slurm` asks.

    Its worker waits while the device has another run; with `now` it does not. It begins anew from the last
    checkpoint up to `retries` times where the device fails. With `gpus` above 1 it trains on that many, or in that
    many processes on the CPU; with `nodes` above 1 so does each of that many machines, which meet at `rendezvous`.
    Raises RunError where the runs directory can't be used, paths.NoHome where the user has no home directory; then
    nothing is left behind.
    """
    paths.check_home()
    check_runs_dir(runs_dir)
    run = _unused(runs_dir, config.name)
    hidden = RunDirectory(runs_dir / f".{run.id}.new")
    try:
        hidden.path.mkdir()
        hidden.checkpoints.mkdir()
        hidden.config.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        launch = _write_launch(hidden, device, data_dir, **how)
        status = Status(
            **_first_state(launch),
            epochs=config.training.epochs,
            stop_at_accuracy=config.training.stop_at_accuracy,
        )
        hidden.status.write_text(status.to_json() + "\n", encoding="utf-8")
        hidden.marker.write_text(f"{SCHEMA_VERSION}\n", encoding="ascii")
        hidden.path.rename(run.path)
    except BaseException as error:
        shutil.rmtree(hidden.path, ignore_errors=True)
        if isinstance(error, OSError):
            text = f"the run could not be made: {error.strerror}"
            raise RunError(text, option="runs-dir", value=runs_dir) from None
        raise
    return run


def _first_state(launch: LaunchRequest) -> dict[str, Any]:
    """How a run begins to wait for its worker."""
    waits = {"state": State.QUEUED, "phase": "being submitted"}
    first = waits if launch.launcher == "slurm" else {"state": State.STARTING, "phase": ""}
    return {**first, "host": socket.gethostname(), "device": launch.device}


def _write_launch(run: RunDirectory, device: str, data_dir: Path | None, **how: Any) -> LaunchRequest:
    """The other fields of the LaunchRequest are in `how`."""
    directory = str(data_dir.absolute()) if data_dir else None
    if directory and not _is_unicode(directory):
        raise RunError("its name is not Unicode text; give one that is", option="data-dir", value=repr(directory))
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    launch = LaunchRequest(
        device=device,
        data_dir=directory,
        **how,
        command=[argument if _is_unicode(argument) else ascii(argument) for argument in command],
    )
    replace_bytes(run.launch, launch.to_json().encode())
    return launch


def _is_unicode(text: str) -> bool:
    """False for text from bytes that are not UTF-8, as Python keeps it in arguments and paths; JSON has no such."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def prepare_resume(
    run: Run,
    device: str = "auto",
    data_dir: Path | None = None,
    checkpoint: Literal["last", "previous", "best"] = "last",
    epochs: int | None = None,
    stop_at_accuracy: float | None = None,
    **how: Unpack[How],
) -> None:
    """Make a run that has ended (or was lost) ready for `start_worker`, or `submit.submit`, to go on in its directory.

    `epochs` and `stop_at_accuracy` (0: none) change how long it trains. Raises RunError where it is still at work, has
    no checkpoint and did not fail before its first, or is finished and they leave it nothing to train; paths.NoHome.
    """
    paths.check_home()
    try:
        run = with_status(run)
    except OSError as error:
        raise RunError(f"{run.id}: cannot be resumed: {error.strerror}; {_room(run)}") from None
    if run.problem or run.config is None or run.status is None:
        raise RunError(f"{run.id}: cannot be resumed: {run.problem}")
    if run.state is State.QUEUED:
        raise RunError(f"{run.id}: is queued and will start by itself")
    refuse_at_work(run)
    before = _as_asked(run, run.status)
    _check_epochs(run, run.config, before, epochs)
    _check_start(run, before, checkpoint, epochs, stop_at_accuracy)
    if run.state is State.FINISHED:  # its result is the newest; a worker that was killed left the one before beside it
        shutil.rmtree(run.directory.earlier, ignore_errors=True)
    try:
        run.directory.control.unlink(missing_ok=True)
        changes = {"epochs": epochs, "stop_at_accuracy": stop_at_accuracy}
        launch = _write_launch(run.directory, device, data_dir, checkpoint=checkpoint, **changes, **how)
        status = before.model_copy(update={**_first_state(launch), **_fresh()})
        replace_bytes(run.directory.status, status.to_json().encode())
    except OSError as error:
        raise RunError(f"{run.id}: cannot be resumed: {error.strerror}; {_room(run)}") from None


def _as_asked(run: Run, status: Status) -> Status:
    """The status with the length that the start before was asked for: it may have ended before its worker began.

    In the queue, say, or for want of the data. A finished run did not go on, and is what it was.
    """
    if run.state is State.FINISHED:
        return status
    return status.model_copy(update=last_launch(run.directory).length(status)._asdict())


def _room(run: Run) -> str:
    return f"make room, or {run.directory.path} writable, or resume a copy of it"


def limit_note(status: Status) -> str:
    """What a resume that leaves the accuracy to stop at as it is has to say of it; '' where there is none.

    The limit is of the run, not of the start.
    """
    if status.stop_at_accuracy is None:
        return ""
    holds = f"training.stop_at_accuracy = {status.stop_at_accuracy:g} still holds"
    return f"{holds}; {remedy('no limit')}"


def _check_start(run: Run, status: Status, checkpoint: str, epochs: int | None, stop_at_accuracy: float | None) -> None:
    """Raises RunError where there is nothing to go on from, or a finished run is left nothing to train."""
    last = checkpoint == "last"
    if not last and not run.directory.checkpoint(checkpoint).is_file():
        raise RunError(f"{run.id} has no checkpoint of this name", option="from", value=checkpoint)
    made_whole = status.behind and last and epochs is None and stop_at_accuracy is None
    if run.state is State.FINISHED and not made_whole:
        _check_limit(run, status, checkpoint, epochs, stop_at_accuracy)
        if last:
            _check_can_be_longer(run, status, epochs, stop_at_accuracy)
    if last:
        _check_checkpoint(run)


def _check_limit(run: Run, status: Status, checkpoint: str, epochs: int | None, stop_at_accuracy: float | None) -> None:
    """Raises RunError where a finished run would go on from a test accuracy that is enough for its limit.

    It has come to what it was to come to. Training until another evaluation says so once more would cost an epoch and
    the row of the table, and who asks for more epochs wants all of them: so the limit has to go first, or up.
    """
    accuracy = {"last": status.test_accuracy, "best": status.best_accuracy}.get(checkpoint)
    limit = status.stop_at_accuracy if stop_at_accuracy is None else stop_at_accuracy
    if not limit or accuracy is None or accuracy < limit:
        return
    if stop_at_accuracy is not None:
        text = f"{run.id} has reached {accuracy:.2f} % already; give more, or none"
        raise RunError(text, option="stop-at-accuracy", value=f"{limit:g}")
    needs_epochs = checkpoint == "last" and epochs is None and status.epoch >= status.epochs
    raise RunError(
        f"{run.id}: is finished after {_ended(status)}: {accuracy:.2f} % reached training.stop_at_accuracy = {limit:g}",
        remedy("other limit and epochs" if needs_epochs else "other limit"),
    )


def _ended(status: Status) -> str:
    """'epoch 3 of 8', or '8 epochs'."""
    return f"epoch {status.epoch} of {status.epochs}" if status.epoch < status.epochs else f"{status.epochs} epochs"


def at_step_limit(run: Run) -> str:
    """That a run has made all its `max_steps` and can't be resumed for more, in words; '' where it can."""
    limit = run.config.training.max_steps if run.config else None
    if limit is None or run.status is None or run.status.step < limit:
        return ""
    helps = "a resumed run keeps the limit: start a new one without it, or with more"
    return f"{run.id}: is finished after training.max_steps = {limit:,}; {helps}"


def _check_can_be_longer(run: Run, status: Status, epochs: int | None, stop_at_accuracy: float | None) -> None:
    """Raises RunError where a finished run has nothing left to train; `_check_limit` comes before."""
    if ended := at_step_limit(run):
        raise RunError(ended)
    early = status.epoch < status.epochs
    if early and stop_at_accuracy is not None and (epochs is None or epochs > status.epoch):
        return
    if epochs is None or epochs <= status.epochs:
        least = status.epochs if stop_at_accuracy is None else status.epoch
        more = f"more than {least}" if early else "more"
        raise RunError(f"{run.id}: is finished after {_ended(status)}", remedy("more epochs", more=more))


def lacks_checkpoint(run: Run) -> bool:
    """Whether a run that had checkpoints has none of its last to go on from: it would lose what it has come to.

    One that ended in its first epochs begins anew: its disk may have been full.
    """
    if run.directory.has_checkpoint() or run.status is None:
        return False
    return run.result is not None or run.directory.earlier_result.exists() or run.status.epoch > 2


def _check_checkpoint(run: Run) -> None:
    """Raises RunError where there is none to go on from."""
    if lacks_checkpoint(run):
        helps = "from best" if run.directory.checkpoint("best").exists() else "train anew"
        raise RunError(f"{run.id}: has no checkpoint to go on from", remedy(helps, run=run.id))


def _check_epochs(run: Run, config: RunConfig, status: Status, epochs: int | None) -> None:
    """Raises RunError where a run can't have this many epochs in all."""
    if epochs is None:
        return
    try:
        with_changes(config, {"training.epochs": epochs})
    except ConfigError as error:
        raise RunError(f"{run.id}: {error.errors[0]}") from None
    if epochs < status.epoch:
        text = f"{run.id} is in epoch {status.epoch} already; give at least that"
        raise RunError(text, option="epochs", value=epochs)


def _fresh() -> dict[str, Any]:
    """The fields of a status that tell of an earlier start, as they are before another one."""
    return {
        "job": None,
        "pid": None,
        "pid_started": None,
        "heartbeat": utc_now(),
        "ended": None,
        "error": None,
        "remedy": None,
        "exit_code": None,
        "eta_seconds": None,
        "beside": None,
        "retries_used": 0,
        "answered": [],
        **NOT_QUEUED,
    }
