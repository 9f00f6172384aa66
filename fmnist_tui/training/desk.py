"""The paperwork of a run around its training loop: losses, requests, checkpoints, evaluations, the result.

One Desk serves one `loop.train`; everything it says goes through the Reporter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from fmnist_tui.config import RunConfig
from fmnist_tui.data.source import Images
from fmnist_tui.data.split import Split
from fmnist_tui.models import count_parameters
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import ControlRequest, EvalRecord, LaunchRequest, State
from fmnist_tui.training import checkpoint
from fmnist_tui.training.compiling import Choice
from fmnist_tui.training.confusions import ConfusionLog
from fmnist_tui.training.control import ControlReader, CutShort, StopSignal
from fmnist_tui.training.energy import RunEnergy, gpu_uuids
from fmnist_tui.training.evaluate import Evaluation
from fmnist_tui.training.losses import LossLog, NonFiniteLoss, first_non_finite_step
from fmnist_tui.training.precision import TORCH_THREADS, Execution
from fmnist_tui.training.progress import Pace, Progress
from fmnist_tui.training.provenance import provenance
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.result import Predictions, build_result, device_name
from fmnist_tui.training.step import TrainStep, micro_batch_size
from fmnist_tui.training.threads import ThreadKeeper

if TYPE_CHECKING:
    from fmnist_tui.training.distributed import Team

SLOW_RUN_SECONDS = 3600.0
"""A run that is going to take longer than this says so once its first steps are measured."""


class Stopped(Exception):
    """The run was asked to stop and has a checkpoint; the text says by whom."""


class RunDeleted(Exception):
    """The run's directory was deleted or moved away: nobody waits for this training any more."""


@dataclass(frozen=True)
class Job:
    """What a worker was started to do."""

    run: RunDirectory
    config: RunConfig
    launch: LaunchRequest
    images: Images
    execution: Execution
    reporter: Reporter
    stop_signal: StopSignal
    team: Team | None = None
    """The processes that train the run together; None for one alone."""

    @property
    def device_label(self) -> str:
        """What Status.device says."""
        return self.team.device_label if self.team else str(self.execution.device)

    @property
    def name_label(self) -> str:
        """What Status.device_name says, for people."""
        name = device_name(self.execution.device)
        return self.team.name_label(name) if self.team else name


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
        self.job, self.model, self.optimizer, self.step = job, model, optimizer, step
        self.config, self.reporter, self.run = job.config, job.reporter, job.run
        self.execution = job.execution
        """How the run computes: the job's, with what a checkpoint or a trial changes."""
        self.device = job.execution.device
        self.keeper: ThreadKeeper | None = None
        self.progress = progress
        self.train_images = train_images
        self.losses = LossLog(self.device, progress.steps_per_epoch)
        self.predictions = Predictions()
        self.confusions = ConfusionLog(self.run)
        self.pace = Pace(self.config, test_images)
        self.control = ControlReader(self.run)
        self.writer = checkpoint.Writer(self.run)
        self.energy = RunEnergy(self._gpus())
        # Asked at the start: the checkout may have changed by the end of a long run, and a failed run has no end.
        self.made_with = provenance(job.launch, job.images)
        self.stop: Literal["", "now", "epoch"] = ""
        self.stopped_by = ""
        self._asked_for_checkpoint = False
        self._said_duration = False
        self._began = time.perf_counter()
        self._active_before = 0.0
        self._checkpoint_time = time.monotonic()
        self._saved_step = -1

    # --- beginning

    def begin(self) -> bool:
        """Start anew, or go on from the run's checkpoint; returns whether it is a new start."""
        config, reporter = self.config, self.reporter
        content, problems = checkpoint.load_newest(self.run, self.job.launch.checkpoint)
        for problem in problems:
            reporter.event("warning", f"{problem}; going on from the one before it")
        self._forget_result()
        if content is None:
            reporter.keep_until(0, evaluated_epoch=0)
            self.confusions.keep_until(0)
            self.progress.micro_batch = micro_batch_size(config)
            self.progress.stop_at_accuracy = config.training.stop_at_accuracy
            self.progress.start_epoch(self.device)
            self._tell_position()
            reporter.event(
                "start",
                f"{config.model.kind} with {count_parameters(self.model):,} parameters on {self.job.name_label}",
                provenance=self.made_with.model_dump(mode="json"),
            )
        else:
            self._restore(content)
            self._tell_position()  # events carry the position: this one belongs where the run goes on
            where = f"epoch {self.progress.epoch}, step {self.progress.step}"
            made_with = self.made_with.model_dump(mode="json")
            reporter.event("resume", f"going on from {where} on {self.job.name_label}", provenance=made_with)
        self.progress.starts += 1
        if self.job.launch.epochs is not None and self.job.launch.epochs != self.progress.epochs:
            self._edit_epochs(self.job.launch.epochs)
        self._begin_with_threads(resumed=content is not None)
        for key, value in self.execution.choices.items():
            reporter.event("choice", f"{key} {value}: {self.execution.reasons[key]}", key=key, value=value)
        now = reporter.status.heartbeat
        reporter.update(
            now=True,
            state=State.RUNNING,
            phase="training",
            started=reporter.status.started or now,
            steps_per_epoch=self.progress.steps_per_epoch,
            device=self.job.device_label,
            device_name=self.job.name_label,
        )
        self._tell_position()
        return content is None

    def _gpus(self) -> list[str]:
        """The GPUs whose energy is the run's; none where some are in another machine, so that none is counted."""
        devices = [self.device] if self.job.team is None else self.job.team.devices_here
        return [uuid for device in devices for uuid in gpu_uuids(device)]

    def _forget_result(self) -> None:
        """A run that goes on has no result any more."""
        self.run.result.unlink(missing_ok=True)

    def _restore(self, content: dict[str, Any]) -> None:
        """Put everything back to where the checkpoint was written."""
        checkpoint.check_model(content, self.config, str(self.run.checkpoint(self.job.launch.checkpoint)))
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step.scaler.load_state_dict(content["scaler"])
        self.progress = Progress.restore(content["progress"], self.device)
        self.step.micro_batch = self.progress.micro_batch
        self.losses.restore(content["losses"])
        self.predictions.restore(content["predictions"])
        self._active_before = self.progress.active_seconds
        self.energy.go_on_from(self.progress.energy_joules)
        checkpoint.restore_random_states(content["random"], self.device)
        self.reporter.keep_until(self.progress.step, self.progress.evaluated_epoch)
        self.confusions.keep_until(self.progress.evaluated_epoch)

    def _begin_with_threads(self, resumed: bool) -> None:
        """The execution's number of CPU threads, but the checkpoint's where a deterministic run goes on."""
        execution, training = self.execution, self.config.training
        before = self.progress.threads
        if resumed and training.deterministic and training.threads == "auto" and before:
            reason = "as before the run was resumed, so that it goes on bit for bit"
            self.execution = replace(execution, threads=before, reasons=execution.reasons | {"threads": reason})
            torch.set_num_threads(before)
        self.progress.threads = self.execution.threads
        if execution.follow_load:
            self.keeper = ThreadKeeper(execution.threads, TORCH_THREADS, torch.set_num_threads)

    # --- between steps

    @property
    def at_step_limit(self) -> bool:
        """Whether `training.max_steps` is reached."""
        limit = self.config.training.max_steps
        return limit is not None and self.progress.step >= limit

    @property
    def checkpoint_due(self) -> bool:
        """Whether one is asked for, or the last one is old."""
        age = time.monotonic() - self._checkpoint_time
        return self.stop == "now" or self._asked_for_checkpoint or age > self.config.training.checkpoint_seconds

    def after_step(self) -> None:
        """Write what losses have arrived, and see what is asked for."""
        self.collect_losses()
        self._see_what_is_asked()
        if self.step.micro_batch < self.progress.micro_batch:
            self.progress.micro_batch = self.step.micro_batch
            self.execution = replace(self.execution, compile=self.step.compile)
            self.reporter.event(
                "warning",
                f"out of memory: going on with {self.step.micro_batch} images at once, gradients accumulated; "
                "batch-norm statistics are of those, not of the whole batch",
                micro_batch=self.step.micro_batch,
            )

    def chose(self, key: str, choice: Choice, where: str = "") -> None:
        """Take in what a trial came to: an event, a warning for each failure, and the result's line."""
        name = f"{key} of {where}" if where else key
        for problem in choice.problems:
            self.reporter.event("warning", f"{problem}; training goes on without", key=key)
        self.reporter.event("choice", f"{name} {choice.mode}: {choice.reason}", key=name, value=choice.mode)
        if not where:
            reasons = self.execution.reasons | {key: choice.reason}
            self.execution = replace(self.execution, compile=choice.mode, reasons=reasons)

    def restart_clocks(self) -> None:
        """Leave the time until now (an evaluation, a checkpoint) out of the measured speeds."""
        self.losses.restart_clock()
        if self.keeper is not None:
            self.keeper.restart()

    def follow_load(self, pixels: int) -> None:
        """After a step on so many pixels: keep the number of threads that is faster beside the machine's other work."""
        if self.keeper is None or (change := self.keeper.after_step(pixels)) is None:
            return
        self.progress.threads = change.after
        self.reporter.event(
            "choice",
            f"threads {change.after}: {change.gain:.2f} times the speed with {change.before}; "
            f"others use {change.others:.1f} cores",
            key="threads",
            value=str(change.after),
        )

    def _see_what_is_asked(self) -> None:
        received, requests = self.job.stop_signal.received, self.control.poll()
        if self.job.team is not None:
            received, requests = self.job.team.agree(received, requests)
        if received and self.stop != "now":
            self._ask_to_stop("now", received)
        for request in requests:
            self._answer(request)
        if self.control.polled and not self.run.marker.exists():
            raise RunDeleted(f"{self.run.path} is gone")

    def look(self) -> None:
        """Between two batches of an evaluation: raises CutShort where the run is to stop now."""
        self._see_what_is_asked()
        if self.stop == "now":
            raise CutShort

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
            self._see_what_is_asked()
            if self._saved_step != self.progress.step:
                self.save_checkpoint()
            self.stop_if_asked()
            raise AssertionError("nobody asked to stop") from None

    def collect_losses(self, wait: bool = False) -> None:
        """Write the loss lines that reached the host. Raises NonFiniteLoss."""
        records = self.losses.collect(wait)
        for record in records:
            self.reporter.write(record)
            if not math.isfinite(record.loss):
                self._tell_position(loss=record.loss)
                raise NonFiniteLoss(first_non_finite_step(record, self.losses.every), record.epoch, record.loss)
            self.pace.line(record.images_per_second, record.epoch, self.progress.epochs)
        if records:
            last = records[-1]
            self._tell_position(loss=last.loss, lr=last.lr)
            self._say_duration()

    def _tell_position(self, **values: Any) -> None:
        progress = self.progress
        progress.active_seconds = self._active_before + time.perf_counter() - self._began
        self.reporter.update(
            epoch=min(progress.epoch, progress.epochs),
            epochs=progress.epochs,
            step=progress.step,
            steps=progress.steps,
            images_per_second=self.pace.images_per_second,
            eta_seconds=self.pace.left(progress, self.train_images),
            active_seconds=progress.active_seconds,
            test_accuracy=progress.test_accuracy,
            best_accuracy=progress.best_accuracy,
            best_epoch=progress.best_epoch or None,
            **values,
        )

    def _say_duration(self) -> None:
        """Once, from the first measured steps: how long this is going to take, where that is over an hour."""
        speed, left = self.pace.images_per_second, self.pace.left(self.progress, self.train_images)
        if self._said_duration or speed is None or left is None:
            return
        self._said_duration = True
        if left > SLOW_RUN_SECONDS:
            on_cpu = self.device.type == "cpu"
            way_out = "a GPU, --epochs or the quick preset are the ways out" if on_cpu else "--epochs shortens it"
            place = "this CPU" if on_cpu else device_name(self.device)
            self.reporter.event(
                "warning",
                f"this run takes {in_words(left)} at {speed:,.0f} images/s on {place}; {way_out}",
                eta_seconds=left,
            )

    # --- requests

    def _ask_to_stop(self, when: Literal["now", "epoch"], by: str) -> None:
        self.stop, self.stopped_by = when, by
        self.reporter.update(now=True, state=State.STOPPING)

    def _answer(self, request: ControlRequest) -> None:
        if request.request == "stop":
            self._ask_to_stop("now", "a request")
        elif request.request == "stop_after_epoch":
            self._ask_to_stop("epoch", "a request to stop after the epoch")
        elif request.request == "checkpoint":
            self._asked_for_checkpoint = True
        elif request.request == "edit":
            if request.epochs is not None:
                self._edit_epochs(request.epochs)
            if request.stop_at_accuracy is not None:
                self.progress.stop_at_accuracy = request.stop_at_accuracy or None
                what = f"at {request.stop_at_accuracy:g} %" if request.stop_at_accuracy else "at no accuracy"
                self.reporter.event("edit", f"the run finishes {what}", stop_at_accuracy=request.stop_at_accuracy)

    def _edit_epochs(self, epochs: int) -> None:
        """Change the length of the run; it can't end before the epoch at work."""
        progress = self.progress
        before = progress.epochs
        progress.epochs = max(epochs, progress.epoch if not progress.done else progress.evaluated_epoch)
        if progress.done and progress.epochs > progress.evaluated_epoch:
            progress.done = False
        self.reporter.event("edit", f"epochs {before} -> {progress.epochs}", epochs=progress.epochs)
        self._tell_position()

    def stop_if_asked(self) -> None:
        """Leave the loop where a stop was asked for; the checkpoint has just been written."""
        if self.stop == "now" or (self.stop == "epoch" and self.progress.batch == 0):
            self.writer.wait()
            self._say_best_is_old()
            if self.writer.problem:
                raise OSError(f"stopped, but the last checkpoint could not be written: {self.writer.problem}")
            self.control.forget()
            where = f"epoch {self.progress.epoch}, step {self.progress.step}"
            self.reporter.event("stop", f"stopped by {self.stopped_by} in {where}")
            raise Stopped(f"stopped by {self.stopped_by}")

    # --- the end of an epoch

    @property
    def evaluation_due(self) -> bool:
        """Whether this epoch ends in an evaluation: every `eval_every`, the last, and before a step limit."""
        epoch, every = self.progress.epoch, self.config.training.eval_every
        return epoch % every == 0 or epoch >= self.progress.epochs or self.at_step_limit

    def evaluated(self, evaluation: Evaluation, seconds: float) -> None:
        """Take in the epoch's evaluation. Raises NonFiniteLoss where the network gives no numbers."""
        progress = self.progress
        progress.eval_seconds += seconds
        self.pace.evaluation(seconds)
        record = EvalRecord(
            epoch=progress.epoch,
            step=progress.step,
            test_loss=evaluation.loss,
            test_accuracy=evaluation.accuracy,
            train_loss=float(progress.epoch_loss) / progress.epoch_images,
            train_accuracy=100.0 * int(progress.epoch_correct) / progress.epoch_images,
            tta_accuracy=evaluation.tta_accuracy,
            seconds=seconds,
        )
        self.reporter.write(record)
        if not math.isfinite(evaluation.loss):
            raise NonFiniteLoss(progress.step, progress.epoch, evaluation.loss, "the test loss")
        is_best = progress.best_accuracy is None or evaluation.accuracy > progress.best_accuracy
        progress.test_accuracy, progress.test_loss = evaluation.accuracy, evaluation.loss
        progress.tta_accuracy = evaluation.tta_accuracy
        progress.train_accuracy, progress.evaluated_epoch = record.train_accuracy, progress.epoch
        if is_best:
            progress.best_accuracy, progress.best_epoch = evaluation.accuracy, progress.epoch
        self.predictions.add(evaluation, progress.epoch, is_best)
        try:
            self.confusions.add(progress.epoch, progress.step, evaluation.confusion)
        except OSError as error:
            self._warn_unwritten("the confusion matrix", error)

    def end_epoch(self) -> None:
        """Move on to the next epoch, with a checkpoint; leave the loop where a stop was asked for."""
        progress = self.progress
        is_best = progress.best_epoch == progress.epoch
        target = progress.stop_at_accuracy
        reached = target is not None and progress.evaluated_epoch == progress.epoch and _at_least(progress, target)
        progress.done = progress.epoch >= progress.epochs or self.at_step_limit or reached
        if reached and progress.epoch < progress.epochs:
            self.reporter.event("finish", f"test accuracy reached {target:g} % in epoch {progress.epoch}")
        progress.epoch += 1
        progress.start_epoch(self.device)
        self._tell_position()
        if progress.evaluated_epoch == progress.epoch - 1:
            self._save_predictions()
        self.save_checkpoint(is_best)
        self.after_step()
        if not progress.done:
            self.stop_if_asked()

    def _save_predictions(self) -> None:
        try:
            self.predictions.save(self.run)
        except OSError as error:
            self._warn_unwritten("predictions", error)

    def _warn_unwritten(self, what: str, error: OSError) -> None:
        self.reporter.event("warning", f"{what} could not be written: {error.strerror}; training goes on")

    def save_checkpoint(self, is_best: bool = False) -> None:
        """Copy everything to the host and have it written. A failed write is a warning; training goes on.

        Raises NonFiniteLoss instead of keeping weights that are not finite.
        """
        self.reporter.update(phase="saving")
        self.collect_losses(wait=True)
        bad = next((loss for loss in self.losses.unfinished() if not math.isfinite(loss)), None)
        if bad is not None:
            raise NonFiniteLoss(self.progress.step, self.progress.epoch, bad)
        if not checkpoint.all_finite(self.model):
            raise NonFiniteLoss(self.progress.step, self.progress.epoch, math.nan, "a weight")
        self.writer.wait()
        self._report_writer()
        self._tell_position()
        self.progress.energy_joules = self.energy.total()
        self.reporter.sync()
        self.writer.save(self._state(), is_best, checkpoint.arrival(self.device))
        self._saved_step = self.progress.step
        self._asked_for_checkpoint = False
        self._checkpoint_time = time.monotonic()
        self.reporter.update(phase="training")

    def _state(self) -> dict[str, Any]:
        state = checkpoint.to_host(
            {
                "model_config": self.config.model.model_dump(mode="json"),
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.step.scaler.state_dict(),
                "progress": self.progress.state(),
                "losses": self.losses.state(),
                "predictions": self.predictions.state(),
                "random": checkpoint.random_states(self.device),
            }
        )
        assert isinstance(state, dict)
        return state

    def _report_writer(self) -> None:
        """Say once that checkpoints can't be written, and once that they can again."""
        problem = self.writer.problem
        if problem != self.writer.told:
            text = f"the checkpoint could not be written: {problem}; the older ones are whole, training goes on"
            self.reporter.event("warning", text if problem else "checkpoints can be written again")
            self.writer.told = problem

    def _say_best_is_old(self) -> None:
        """At the end: nothing is written any more."""
        if problem := self.writer.best_problem:
            text = f"best.pt could not be written: {problem}; it is of an epoch before {self.progress.best_epoch}"
            self.reporter.event("warning", text)

    # --- the end of the run

    def finish(self, split: Split) -> None:
        """Write the result. Raises OSError where it can't be written, with the last checkpoint on disk."""
        self.writer.wait()
        self._say_best_is_old()
        self._report_writer()
        self._tell_position()
        self.progress.energy_joules = self.energy.total()
        status = self.reporter.status
        result = build_result(
            self.run, self.config, self.progress, status, self.model, split, self.execution, self.made_with
        )
        if self.job.team is not None:
            result = result.model_copy(update={"devices": self.job.team.size})
        self.predictions.save(self.run)
        replace_bytes(self.run.result, (result.model_dump_json(indent=2) + "\n").encode(), durable=True)
        self.control.forget()
        self.reporter.event("finish", f"test accuracy {result.test_accuracy:.2f} % after {result.epochs} epochs")


def _at_least(progress: Progress, target: float) -> bool:
    return progress.test_accuracy is not None and progress.test_accuracy >= target


def in_words(seconds: float) -> str:
    """A duration people can take in at a glance: 'about 5 days', 'about 3 hours'."""
    for unit, length in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= 1.5 * length:
            count = round(seconds / length)
            return f"about {count} {unit}s"
    return f"about {round(seconds)} seconds"
