"""What stands out in a run, in plain sentences: pure functions from its series to notes.

Called by the Run screen for its narration lines. What the evaluations tell is in `evaluation_notes`. Each function
looks for one thing and says nothing (None) where it is not there; the thresholds are the constants below, each with
its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np

from fmnist_tui.analysis.epochs import epoch_of
from fmnist_tui.runs.metrics import EventRecord
from fmnist_tui.tui import evaluation_notes
from fmnist_tui.tui.format import speed
from fmnist_tui.tui.notes import Level, Note, Surroundings, sentence
from fmnist_tui.tui.remedies import APP
from fmnist_tui.tui.run_data import RunData

_ORDER: tuple[Level, ...] = ("error", "warning", "good", "info")

SLOW_SHARE = 0.6
"""Speed has fallen when the median of the newest SLOW_LINES is below this share of what it usually was."""
SLOW_LINES = 8
USUAL_PERCENTILE = 90
"""What a speed usually was; a median would forget the fast stretch once the slow one is longer."""
SLOW_MEMORY = 4096
"""Lines looked back at the most, so that looking costs little however long the run."""
MOST_WARNINGS = 3
"""Of the worker's; all of them stand among the events."""
CLOCK_SECONDS = 2.0
"""Between a process's start as the system tells it and the clock its events are written by."""


def narrate(data: RunData, around: Surroundings) -> list[Note]:
    """Everything worth saying, the most important first, the newer before the older of a kind."""
    found = [
        not_finite(data, around),
        rate_drop(data, around),
        speed_fell(data, around),
        evaluation_notes.low_resolution(data.evaluations, around),
        evaluation_notes.rising_test_loss(data.evaluations),
        evaluation_notes.passed_reference(data.evaluations, around),
        evaluation_notes.new_best(data.evaluations, around),
        evaluation_notes.plateau(data.evaluations, around),
        evaluation_notes.against_ghost(data.evaluations, around),
    ]
    notes = [*worker_warnings(data, around), *(note for note in found if note is not None)]
    return sorted(notes, key=lambda note: (_ORDER.index(note.level), -note.epoch))


def not_finite(data: RunData, around: Surroundings) -> Note | None:
    """A loss that is NaN or infinite: where it was first, and how many more."""
    marks = [*data.loss.marks, *data.test_loss.marks]
    if not marks or around.failed_on_loss:
        return None
    first = min(marks)
    epoch = epoch_of(first.x, around.per_epoch)
    which = "Loss" if first in data.loss.marks else "Test loss"
    more = len(marks) - 1
    text = f"{which} was not finite ({first.kind}) by step {first.x:,.0f}, epoch {epoch}"
    return Note("error", epoch, text + (f", and {more:,} times since." if more else "."))


def worker_warnings(data: RunData, around: Surroundings) -> list[Note]:
    """What this start of the worker warned of, newest first: as long as it is news, a trouble until it is over.

    Of a run that has ended only what was not over at its end.
    """
    epoch = epoch_of(max(data.last_step, 1), around.per_epoch)
    notes: list[Note] = []
    told: set[str] = set()
    edited = False
    for record in _events_of_this_start(data, around):
        edited = edited or (record.event == "edit" and "epochs" in record.data)
        if edited and "eta_seconds" in record.data:
            continue  # how long it takes is another matter since
        trouble = str(record.data.get("trouble", ""))
        if record.event != "warning" or (trouble and trouble in told):
            continue
        told.add(trouble)
        lasts = bool(trouble) and not record.data.get("over")
        if lasts or (not around.ended and epoch - record.epoch <= around.news_epochs):
            level: Level = "info" if record.data.get("over") else "warning"
            notes.append(Note(level, record.epoch, sentence(record.told(APP))))
    return notes[:MOST_WARNINGS]


def _events_of_this_start(data: RunData, around: Surroundings) -> Iterator[EventRecord]:
    """The newest first; none where nothing is known of the worker."""
    if around.worker_since is None:
        return
    for event in reversed(data.events):
        if datetime.fromisoformat(event.record.time).timestamp() < around.worker_since - CLOCK_SECONDS:
            return
        yield event.record


def rate_drop(data: RunData, around: Surroundings) -> Note | None:
    """The newest step of the learning rate, while it is news."""
    if not data.rate_steps:
        return None
    step, before, after = data.rate_steps[-1]
    epoch = epoch_of(step, around.per_epoch)
    if epoch_of(data.last_step, around.per_epoch) - epoch > around.news_epochs:
        return None
    return Note("info", epoch, f"Learning rate dropped from {before:g} to {after:g} in epoch {epoch}.")


def speed_fell(data: RunData, around: Surroundings) -> Note | None:
    """A lasting fall of the training speed within this start of the worker, and at one size of the images."""
    at_full_size = int(np.searchsorted(data.speed.x, around.low_resolution_epochs * around.per_epoch, side="right"))
    first = max(data.session.lines + 1, len(data.speed) - SLOW_MEMORY)
    if at_full_size < len(data.speed):  # larger images take longer, as they should
        first = max(first, at_full_size)
    speeds, x = data.speed.values[first:], data.speed.x[first:]
    if around.ended or len(speeds) < 4 * SLOW_LINES:
        return None
    now, usual = float(np.median(speeds[-SLOW_LINES:])), float(np.percentile(speeds, USUAL_PERCENTILE))
    if now >= SLOW_SHARE * usual:
        return None
    middle = (now + usual) / 2
    fast = np.flatnonzero(speeds > middle)
    since = epoch_of(float(x[min(int(fast[-1]) + 1, len(x) - 1)]) if fast.size else float(x[0]), around.per_epoch)
    how = "by half" if 0.4 <= now / usual <= SLOW_SHARE else f"to {100 * now / usual:.0f} %"
    return Note("warning", since, f"Speed fell {how}, from {speed(usual)} to {speed(now)} img/s, in epoch {since}.")
