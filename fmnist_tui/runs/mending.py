"""A status.json that can't be read, made anew from what else lies in the run's directory. Called before a resume.

A power loss can leave the file empty: it is replaced many times a minute and not forced to disk each time. Nothing is
lost by that. The result knows how a finished run ended; where there is none the checkpoint knows where to go on, and
the worker reads it there.
"""

from __future__ import annotations

import contextlib
import json

from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.files import LineWriter, replace_bytes
from fmnist_tui.runs.metrics import EventRecord
from fmnist_tui.runs.records import SCHEMA_VERSION
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run, load_run, refuse_at_work

MADE_ANEW = "status.json could not be read and was made anew from the rest of the run"


def with_status(run: Run) -> Run:
    """The run, with a status of its own again where it had none that can be read.

    Raises RunError where a worker is at work, or the file is a newer program's; and OSError.
    """
    if run.status is not None or run.config is None:
        return run
    refuse_at_work(run)
    if _newer(run):
        raise RunError(f"{run.id}: written by a newer fmnist-tui; update this one to work with it")
    status = _status_of(run)
    replace_bytes(run.directory.status, status.to_json().encode(), durable=True)
    event = EventRecord(event="warning", step=status.step, epoch=status.epoch, message=MADE_ANEW)
    with contextlib.closing(LineWriter(run.directory.metrics)) as lines:
        lines.write(event.to_json() + "\n")
    return load_run(run.directory)


def _newer(run: Run) -> bool:
    try:
        found = json.loads(run.directory.status.read_bytes())
    except (OSError, ValueError):
        return False
    version = found.get("schema_version") if isinstance(found, dict) else None
    return isinstance(version, int) and version > SCHEMA_VERSION


def _status_of(run: Run) -> Status:
    """A status as the run's worker would have left it: finished where there is a result, else stopped somewhere."""
    assert run.config is not None
    training, result = run.config.training, run.result
    if result is None:
        return Status(state=State.STOPPED, epochs=training.epochs, stop_at_accuracy=training.stop_at_accuracy)
    return Status(
        state=State.FINISHED,
        started=result.started,
        ended=result.finished,
        epoch=result.epochs,
        epochs=result.epochs,
        step=result.steps,
        steps=result.steps,
        test_accuracy=result.test_accuracy,
        best_accuracy=result.best_accuracy,
        best_epoch=result.best_epoch,
        stop_at_accuracy=training.stop_at_accuracy,
        images_per_second=result.images_per_second,
        active_seconds=result.total_seconds,
        device=result.device,
        device_name=result.device_name,
        exit_code=0,
    )
