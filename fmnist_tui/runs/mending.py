"""A status.json that can't be read, made anew from what else lies in the run's directory.

Called before a resume, and by a Slurm job that is started again (`slurm_job`).

A power loss can leave the file empty: it is replaced many times a minute and not forced to disk each time. Nothing is
lost by that. The result knows how a finished run ended; where there is none the metric lines tell how far it came, and
the checkpoint where to go on.
"""

from __future__ import annotations

import contextlib
from typing import Any

from fmnist_tui.runs.files import LineWriter, replace_bytes
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.metrics import EventRecord, read_metrics
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run, load_run, refuse_at_work

MADE_ANEW = "status.json could not be read and was made anew from the rest of the run"


def with_status(run: Run, **values: Any) -> Run:
    """The run, with a status of its own again where it had none that can be read; `values` are fields it then has.

    Raises RunError where a worker is at work or metrics.jsonl can't be read; and OSError.
    """
    if not run.mendable:
        return run
    refuse_at_work(run)
    status = _as_edited(run, run.status or _from_metrics(run))
    status = status.model_copy(update=values)
    replace_bytes(run.directory.status, status.to_json().encode(), durable=True)
    event = EventRecord(event="warning", step=status.step, epoch=status.epoch, message=MADE_ANEW)
    with contextlib.closing(LineWriter(run.directory.metrics)) as lines:
        lines.write(event.to_json() + "\n")
    return load_run(run.directory)


def _as_edited(run: Run, status: Status) -> Status:
    """The status with the epochs and the accuracy to stop at of its newest edits, else those it was made with.

    Where the newest start has begun they hold what it asked for, too; what it was made with tells its beginning. A
    result tells only how many epochs there were, which its accuracy may have ended early.
    """
    assert run.config is not None
    changes: dict[str, Any] = {"epochs": max(run.config.training.epochs, status.epoch)}
    launched = last_launch(run.directory).time
    for event in read_metrics(run.directory).event:
        if "provenance" in event.data and event.time >= launched:
            changes["launched"] = launched
        epochs, limit = event.data.get("epochs"), event.data.get("stop_at_accuracy")
        if event.event == "edit" and isinstance(epochs, int):
            changes["epochs"] = max(epochs, status.epoch)
        if event.event == "edit" and isinstance(limit, int | float):
            changes["stop_at_accuracy"] = limit or None
    return status.model_copy(update=changes)


def _from_metrics(run: Run) -> Status:
    """The status of a run that stopped where its metric lines end; the rest is in its checkpoint."""
    assert run.config is not None
    training, metrics = run.config.training, read_metrics(run.directory)
    trained = [(record.epoch, record.step) for record in metrics.train]
    epoch, step = max([*trained, *((record.epoch, record.step) for record in metrics.eval)], default=(0, 0))
    return Status(
        state=State.STOPPED,
        epoch=epoch,
        epochs=training.epochs,
        step=step,
        stop_at_accuracy=training.stop_at_accuracy,
    )
