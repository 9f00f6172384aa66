"""What became of a run that is not at work, and what to press, in plain sentences; the Run screen's first notes."""

from __future__ import annotations

from datetime import datetime

from fmnist_tui.runs.queue import place_in_words
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.format import first_line, moment, percent
from fmnist_tui.tui.notes import Note, sentence
from fmnist_tui.tui.remedies import APP, no_checkpoint_is_left, only_best_is_left


def outcome(run: Run, now: datetime) -> list[Note]:
    """What became of a run that is not at work, and what to press; of one at work only what of it can't be read."""
    epoch = run.status.epoch if run.status else 0
    if run.problem:
        return [Note("error", epoch, sentence(run.problem))]
    lost = [Note("error", epoch, sentence(run.earlier_problem))] if run.earlier_problem else []
    return [*_became(run, epoch, now), *lost]


def _became(run: Run, epoch: int, now: datetime) -> list[Note]:
    status, state = run.status, run.state
    if state is State.FINISHED:
        kept = [Note("error", epoch, f"It {status.told(APP)}")] if status and status.error else []
        return [_finished(run, epoch), *kept]
    if state is State.QUEUED and status is not None and status.job is not None:
        return [Note("info", epoch, f"Queued: {place_in_words(status)}.")]
    if state is State.QUEUED:
        device = f" on {status.device}" if status and status.device not in ("", "auto") else ""
        when = f"it starts when what runs before it{device} has ended"
        return [Note("info", epoch, f"Queued: {when}; s can start it now.")]
    if only_best_is_left(run):
        go_on = "Press r to go on from its best checkpoint, the only one there is to go on from"
        remedy = Note("error", epoch, f"{go_on}, C to change a copy, l for the log, d to delete it.")
    elif no_checkpoint_is_left(run):
        go_on = "It has no checkpoint to go on from: press C to train a copy of it anew"
        remedy = Note("error", epoch, f"{go_on}, l for the log, d to delete it.")
    elif run.directory.has_checkpoint():
        go_on = "Press r to resume from the last checkpoint"
        remedy = Note("error", epoch, f"{go_on}, l for the log, d to delete it.")
    else:  # again with the same settings it may well fail again
        go_on = "Press r to start it again"
        remedy = Note("error", epoch, f"{go_on}, C to change a copy, l for the log, d to delete it.")
    if state is State.STOPPED:
        where = status.where() if status else f"in epoch {epoch}"
        return [Note("info", epoch, f"Stopped {where}. {go_on}, d to delete it.")]
    if state is State.FAILED:
        error = first_line(status.error or "") if status else ""
        what = f"Failed in epoch {epoch}: {error}" if epoch else f"Failed: {error}"
        failed = Note("error", epoch, what if error else "Failed; the log says why.")
        known = status.remedy if status and status.remedy and not only_best_is_left(run) else None
        helps = known.worded(APP) if known else ""
        return [failed, *([Note("error", epoch, sentence(helps))] if helps else []), remedy]
    if state is State.LOST:
        heard = moment(status.heartbeat, now) if status else "never"
        what = "Lost: its process is gone (killed, out of memory, a full disk, or the machine was restarted)"
        return [Note("error", epoch, f"{what}; last heard of {heard}."), remedy]
    return []


def _finished(run: Run, epoch: int) -> Note:
    result, reference = run.result, run.config.measured_against if run.config else None
    if result is None:
        return Note("good", epoch, "Finished; its result was not written.")
    text = f"Finished: {percent(result.test_accuracy)} % at the last epoch, best {percent(result.best_accuracy)} %"
    text += f" in epoch {result.best_epoch}"
    if reference is not None:
        ahead = result.best_accuracy - reference.accuracy
        text += f", {abs(ahead):.2f} points {'above' if ahead >= 0 else 'below'} the reference"
    limit = run.status.stop_at_accuracy if run.status else None
    if limit is not None and run.status and result.epochs < run.status.epochs and result.test_accuracy >= limit:
        text += f". It was to stop at {limit:g} %, and did after epoch {result.epochs} of {run.status.epochs}"
    return Note("good", epoch, text + ".")
