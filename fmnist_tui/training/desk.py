"""The paperwork of a run around its training loop: losses, requests, checkpoints, evaluations, the result.

One Desk serves one `loop.train`; everything it says goes through the Reporter. Its parts have a file each: `Tuning`
how the run computes, `Logbook` how it gets on, `Requests` what it is asked for, `Evaluations` what they come to,
`Saver` its checkpoints. The Desk has what takes several of them: the beginning, a stop, the end of an epoch, the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from fmnist_tui.data.split import Split
from fmnist_tui.models import count_parameters
from fmnist_tui.remedies import remedy
from fmnist_tui.runs.files import link, replace_bytes
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import State
from fmnist_tui.training import checkpoint
from fmnist_tui.training.control import CutShort
from fmnist_tui.training.evaluations import Evaluations
from fmnist_tui.training.job import Job, RunDeleted, Stopped, Unwritten
from fmnist_tui.training.logbook import Logbook
from fmnist_tui.training.progress import Progress
from fmnist_tui.training.provenance import provenance
from fmnist_tui.training.requests import Requests
from fmnist_tui.training.result import build_result
from fmnist_tui.training.saving import Saver
from fmnist_tui.training.step import TrainStep, micro_batch_size
from fmnist_tui.training.tuning import Tuning


class Desk:
    """What happens around the steps: the loop says when, the Desk does it."""

    def __init__(
        self,
        job: Job,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        step: TrainStep,
        progress: Progress,
        train_images: int,
        test_images: int,
    ) -> None:
        self.job, self.model, self.step, self.progress = job, model, step, progress
        self.config, self.reporter, self.run = job.config, job.reporter, job.run
        self.tuning = Tuning(job, step, progress)
        self.logbook = Logbook(job, progress, train_images, test_images)
        self.requests = Requests(job, progress, self.logbook)
        self.evaluations = Evaluations(job, progress, self.logbook.pace)
        self.saver = Saver(job, model, optimizer, step, progress, self.logbook, self.evaluations)
        # Asked at the start: the checkout may have changed by the end of a long run, and a failed run has no end.
        self.made_with = provenance(job.launch, job.images)

    # --- beginning

    def begin(self) -> bool:
        """Start anew, or go on from the run's checkpoint; returns whether it is a new start."""
        job, reporter, progress = self.job, self.reporter, self.progress
        length = job.launch.length(reporter.status)  # before the status tells a checkpoint's, which may be older
        if job.team is not None:
            length = job.team.of_first(length)
        content, which, problems = checkpoint.load_newest(self.run, job.launch.checkpoint)
        for problem in problems:
            reporter.event("warning", f"{problem}; going on from {which}.pt")
        if content is None:
            self._start_anew()
        else:
            self._go_on(content, which)
        progress.starts += 1
        if length.stop_at_accuracy != progress.stop_at_accuracy:
            self.requests.edit_limit(length.stop_at_accuracy or 0.0)
        if length.epochs not in (0, progress.epochs):  # 0: a status that says nothing of it
            self.requests.edit_epochs(length.epochs)
        self.tuning.begin(resumed=content is not None)
        now = reporter.status.heartbeat
        reporter.update(
            now=True,
            state=State.RUNNING,
            phase="training",
            started=reporter.status.started or now,
            steps_per_epoch=progress.steps_per_epoch,
            behind=False,
            device=job.device_label,
            device_name=job.name_label,
            launched=job.launch.time,
        )
        self.logbook.tell_position()
        return content is None

    def _set_result_aside(self) -> None:
        """A run that goes on has no result any more, but an earlier one, of the predictions beside it."""
        run = self.run

        def set_aside() -> None:
            run.earlier.mkdir(exist_ok=True)
            if run.predictions.exists():
                link(run.predictions, run.earlier_predictions)
            run.result.replace(run.earlier_result)

        if not run.result.exists():
            return
        try:
            self._write_before_it_begins(set_aside)
        except OSError as error:
            self.reporter.event("warning", f"the earlier result could not be kept: {error.strerror or error}")
            run.result.unlink()

    def _start_anew(self) -> None:
        config, progress = self.config, self.progress
        self._keep_until(step=0, evaluated_epoch=0, unwritten={})
        progress.micro_batch = micro_batch_size(config)
        progress.stop_at_accuracy = config.training.stop_at_accuracy
        progress.start_epoch(self.job.execution.device)
        self.logbook.tell_position()
        self._say_beginning(
            "start",
            f"{config.model.kind} with {count_parameters(self.model):,} parameters on {self.job.name_label}",
        )

    def _go_on(self, content: dict[str, Any], which: str) -> None:
        self.saver.restore(content)
        self._set_result_aside()  # not before: a run whose checkpoint can't be taken up is what it was
        self._keep_as_last(which)
        self._keep_until(self.progress.step, self.progress.evaluated_epoch, content.get("unwritten", {}))
        self.logbook.tell_position()  # events carry the position: this one belongs where the run goes on
        self._say_beginning("resume", f"going on {self.reporter.status.where()} on {self.job.name_label}")

    def _keep_as_last(self, which: str) -> None:
        """A kill before the next checkpoint shall find the one that the run goes on from, and none that is later."""

        def keep() -> None:
            if checkpoint.go_on_from(self.run, which, self.progress.at_best):
                text = "best.pt is removed: the run went back behind its epoch, and may not come to the same there"
                self.reporter.event("warning", text)

        self._write_before_it_begins(keep)

    def _keep_until(self, step: int, evaluated_epoch: int, unwritten: dict[str, list[str]]) -> None:
        """Cut back what was written after the checkpoint: the run does it again. `unwritten` are lines it holds."""

        def cut_back() -> None:
            self.reporter.keep_until(step, evaluated_epoch, unwritten.get("metrics", []))
            self.evaluations.cut_back(evaluated_epoch, unwritten.get("confusions", []))

        self._write_before_it_begins(cut_back)

    def _write_before_it_begins(self, write: Callable[[], None]) -> None:
        """Wait for room; raises CutShort where the run is to stop meanwhile, which is as it was, else OSError."""
        try:
            self.job.until_written(write)
        except OSError:
            if self.job.team is None and self.job.stop_signal.received:
                raise CutShort from None
            raise

    def _say_beginning(self, event: str, message: str) -> None:
        self.reporter.event(event, message, provenance=self.made_with.model_dump(mode="json"))

    # --- between steps

    @property
    def at_step_limit(self) -> bool:
        """Whether `training.max_steps` is reached."""
        limit = self.config.training.max_steps
        return limit is not None and self.progress.step >= limit

    @property
    def checkpoint_due(self) -> bool:
        """Whether one is asked for, or the last one is old."""
        age = time.monotonic() - self.saver.saved_at
        asked = self.requests.stop == "now" or self.requests.checkpoint_asked
        return asked or age > self.config.training.checkpoint_seconds

    def after_step(self) -> None:
        """Write what losses have arrived, and see what is asked for."""
        self.collect_losses()
        self.requests.see()
        self.tuning.see_step()

    def collect_losses(self, wait: bool = False) -> None:
        """Write the loss lines that reached the host. Raises NonFiniteLoss."""
        self.logbook.collect(wait)

    def restart_clocks(self) -> None:
        """Leave the time until now (an evaluation, a checkpoint) out of the measured speeds."""
        self.logbook.losses.restart_clock()
        self.tuning.restart_clock()

    def save_checkpoint(self, is_best: bool = False) -> None:
        """Have a checkpoint written. Raises NonFiniteLoss instead of keeping weights that are not finite."""
        self.reporter.update(phase="saving")
        self.collect_losses(wait=True)
        self.saver.save(is_best)
        self.requests.checkpoint_asked = False
        self.reporter.update(phase="training")

    # --- a stop

    @contextmanager
    def unless_stopped(self, started: float | None = None) -> Iterator[None]:
        """Around work that a stop may cut short, and that a resumed run does again: raises Stopped with a checkpoint.

        `started` is when the training time began that `train_seconds` does not count yet.
        """
        try:
            yield
        except CutShort:
            if started is not None:
                self.progress.train_seconds += time.perf_counter() - started
            self.requests.see()
            if not self.saver.has_this_step():
                self.save_checkpoint()
            self.stop_if_asked()
            raise AssertionError("nobody asked to stop") from None

    def stop_if_asked(self) -> None:
        """Leave the loop where a stop was asked for; the checkpoint has just been written."""
        if not self.requests.stop_due:
            return
        self.saver.finish_writing(stopping=True)
        if self.saver.writer.problem:
            raise Unwritten(f"stopped, but its last checkpoint could not be written: {self.saver.lacking}")
        self.requests.control.forget()
        by = self.requests.stopped_by
        self.logbook.tell_position(now=True)
        self.reporter.event("stop", f"stopped {self.reporter.status.where()}, by {by}")
        raise Stopped(f"stopped by {by}")

    # --- the end of an epoch

    @property
    def evaluation_due(self) -> bool:
        """Whether this epoch ends in an evaluation: every `eval_every`, the last, and before a step limit."""
        epoch, every = self.progress.epoch, self.config.training.eval_every
        return epoch % every == 0 or epoch >= self.progress.epochs or self.at_step_limit

    def end_epoch(self) -> None:
        """Move on to the next epoch, with a checkpoint; leave the loop where a stop was asked for."""
        progress = self.progress
        is_best = progress.best_epoch == progress.epoch
        target = progress.stop_at_accuracy
        reached = target is not None and progress.evaluated_epoch == progress.epoch and progress.reached(target)
        progress.done = progress.epoch >= progress.epochs or self.at_step_limit or reached
        if reached and progress.epoch < progress.epochs:
            self.reporter.event("finish", f"test accuracy reached {target:g} % in epoch {progress.epoch}")
        progress.epoch += 1
        progress.start_epoch(self.job.execution.device)
        self.logbook.tell_position()
        if progress.evaluated_epoch == progress.epoch - 1:
            self.evaluations.save_predictions()
        self.save_checkpoint(is_best)
        self.after_step()
        if not progress.done:
            self.stop_if_asked()

    # --- the end of the run

    def finish(self, split: Split) -> None:
        """Write the result, then what of the checkpoints is not on the disk. Waits for room; raises Unwritten."""
        self.reporter.update(phase="saving")
        self.saver.writer.wait()
        self.logbook.take_stock()
        result = self._result(split)
        self._write(result)
        self.requests.control.forget()
        after = f"{result.epochs} {'epoch' if result.epochs == 1 else 'epochs'}"
        self.reporter.event("finish", f"test accuracy {result.test_accuracy:.2f} % after {after}")
        self.saver.finish_writing()
        self.reporter.update(behind=bool(self.saver.writer.problem))
        if self.saver.writer.problem:
            helps = "train anew" if self.saver.written_step is None else "room for checkpoint"
            text = f"could not write its last checkpoint: {self.saver.lacking}"
            raise Unwritten(text, remedy(helps, run=self.run.id))

    def _result(self, split: Split) -> Result:
        status, execution = self.reporter.status, self.tuning.execution
        result = build_result(
            self.run, self.config, self.progress, status, self.model, split, execution, self.made_with
        )
        if self.job.team is not None:
            result = result.model_copy(update={"devices": self.job.team.size})
        return result

    def _write(self, result: Result) -> None:
        """The predictions and the result. Raises Unwritten where there was no room, RunDeleted where it is gone."""

        def write() -> None:
            self.evaluations.confusions.flush()
            self.evaluations.predictions.save(self.run, durable=True)  # no power cut leaves a result without them
            if self.saver.writer.problem:  # first, for the result makes the run a finished one
                self.reporter.update(now=True, behind=True)
            replace_bytes(self.run.result, (result.model_dump_json(indent=2) + "\n").encode(), durable=True)

        try:
            self.job.until_written(write)
            return
        except OSError as error:
            problem = error.strerror or str(error)
        if not self.run.marker.exists():
            raise RunDeleted(self.run)
        again = f"; its last checkpoint neither: {self.saver.lacking}" if self.saver.writer.problem else ""
        helps = remedy("room for result", run=self.run.id)
        raise Unwritten(f"the result could not be written: {problem}{again}", helps)
