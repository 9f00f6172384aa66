"""What a run at work is asked for, by signals and by control.json: to stop, for a checkpoint, for an edit.

One of the Desk's parts. The Desk acts on what stands here when the loop has come to the right place.
"""

from __future__ import annotations

from typing import Literal

from fmnist_tui.runs.requests import ControlRequest
from fmnist_tui.runs.status import State
from fmnist_tui.training.control import ControlReader, CutShort
from fmnist_tui.training.job import Job, RunDeleted
from fmnist_tui.training.logbook import Logbook
from fmnist_tui.training.progress import Progress


class Requests:
    """Takes requests in; an edit is done at once, the others are noted."""

    def __init__(self, job: Job, progress: Progress, logbook: Logbook) -> None:
        self._job, self._progress, self._logbook = job, progress, logbook
        self.control = ControlReader(job.run, job.reporter.status.answered)
        self.stop: Literal["", "now", "epoch"] = ""
        """When the run is to stop; '' where nobody asked."""
        self.stopped_by = ""
        self.checkpoint_asked = False

    @property
    def stop_due(self) -> bool:
        """Whether a stop was asked for that is to happen here: at once, or between two epochs."""
        return self.stop == "now" or (self.stop == "epoch" and self._progress.batch == 0)

    def see(self) -> None:
        """Take in what was asked since the last call. Raises RunDeleted where the run's directory is gone."""
        job = self._job
        received, requests = job.stop_signal.received, self.control.poll()
        if job.team is not None:
            received, requests = job.team.agree(received, requests)
        if received:
            self._ask_to_stop("now", received)
        for request in requests:
            self.answer(request)
        if self.control.polled and not job.run.marker.exists():
            raise RunDeleted(job.run)

    def look(self) -> None:
        """Between two batches of an evaluation: raises CutShort where the run is to stop now."""
        self.see()
        if self.stop == "now":
            raise CutShort

    def answer(self, request: ControlRequest) -> None:
        """Take in one request. One to start now comes too late where the run's turn has come meanwhile."""
        if request.request == "stop":
            self._ask_to_stop("now", "a request")
        elif request.request == "stop_after_epoch":
            self._ask_to_stop("epoch", "a request to stop after the epoch")
        elif request.request == "checkpoint":
            self.checkpoint_asked = True
        elif request.request == "edit":
            if request.epochs is not None:
                self.edit_epochs(request.epochs)
            if request.stop_at_accuracy is not None:
                self.edit_limit(request.stop_at_accuracy)
            reporter = self._job.reporter
            reporter.update(now=True, answered=[*reporter.status.answered, request.id])

    def _ask_to_stop(self, when: Literal["now", "epoch"], by: str) -> None:
        """Of two wishes the sooner holds: work may have been cut short for it already."""
        if self.stop == "now":
            return
        self.stop, self.stopped_by = when, by
        self._job.reporter.update(now=True, state=State.STOPPING)

    def edit_limit(self, accuracy: float) -> None:
        """Change at which test accuracy the run ends before its last epoch; 0 takes the limit back."""
        progress = self._progress
        progress.stop_at_accuracy = accuracy or None
        self._go_on_where_epochs_are_left()
        what = f"stops at {accuracy:g} % test accuracy" if accuracy else "goes on to its last epoch, at any accuracy"
        self._logbook.tell_position(now=True)  # first: a kill in between leaves no edit that is told and does not hold
        self._job.reporter.event("edit", what, stop_at_accuracy=accuracy)

    def edit_epochs(self, epochs: int) -> None:
        """Change the length of the run; it can't end before the epoch at work, or the one that has just ended."""
        progress = self._progress
        before = progress.epochs
        progress.epochs = max(epochs, progress.evaluated_epoch if progress.at_an_end else progress.epoch)
        progress.done = progress.done or progress.epochs == progress.evaluated_epoch
        self._go_on_where_epochs_are_left()
        self._logbook.tell_position(now=True)  # first, as above
        self._job.reporter.event("edit", f"epochs {before} -> {progress.epochs}", epochs=progress.epochs)

    def _go_on_where_epochs_are_left(self) -> None:
        """A run that was done is not any more, where an edit leaves it epochs, steps and accuracy to come to."""
        progress, limit = self._progress, self._job.config.training.max_steps
        target = progress.stop_at_accuracy
        if progress.epochs <= progress.evaluated_epoch or (limit is not None and progress.step >= limit):
            return
        if target is None or not progress.reached(target):
            progress.done = False
