"""A run's state into checkpoints and back, while training goes on. One of the Desk's parts; the files: `checkpoint`."""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from fmnist_tui.training import checkpoint
from fmnist_tui.training.checkpoint_writer import Writer
from fmnist_tui.training.evaluations import Evaluations
from fmnist_tui.training.job import Job
from fmnist_tui.training.logbook import Logbook
from fmnist_tui.training.losses import NonFiniteLoss
from fmnist_tui.training.progress import Progress
from fmnist_tui.training.step import TrainStep


class Saver:
    """Knows everything a checkpoint holds, when the last one was begun, and whether it could be written."""

    def __init__(
        self,
        job: Job,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        step: TrainStep,
        progress: Progress,
        logbook: Logbook,
        evaluations: Evaluations,
    ) -> None:
        self._job, self._device = job, job.execution.device
        self._model, self._optimizer, self._step = model, optimizer, step
        self._progress, self._logbook, self._evaluations = progress, logbook, evaluations
        self.writer = Writer(job.run)
        self.saved_at = time.monotonic()
        """When the last checkpoint was begun (or this start), by the monotonic clock."""
        self._saved_step = -1
        self._written_step: int | None = None
        """The step of last.pt on the disk; None where there is none. Told of by `written_step`."""

    def restore(self, content: dict[str, Any]) -> None:
        """Put everything back to where the checkpoint was written. Raises CheckpointError for another model's."""
        job, progress = self._job, self._progress
        checkpoint.check_model(content, job.config, str(job.run.checkpoint(job.launch.checkpoint)))
        self._model.load_state_dict(content["model"])
        self._optimizer.load_state_dict(content["optimizer"])
        if content["scaler"]:  # {} of a run that went on in bf16 or fp32: there fp16 begins with the usual scale
            self._step.scaler.load_state_dict(content["scaler"])
        progress.restore(content["progress"], self._device)
        self._written_step = progress.step
        self._step.micro_batch = progress.micro_batch
        self._logbook.go_on(content["losses"])
        self._evaluations.predictions.restore(content["predictions"])
        checkpoint.restore_random_states(content["random"], self._device)

    def save(self, is_best: bool) -> None:
        """Copy everything to the host and have it written. A failed write is a warning; training goes on.

        Every finished loss line must have been collected. Raises NonFiniteLoss instead of keeping weights that are
        not finite.
        """
        progress = self._progress
        bad = next((loss for loss in self._logbook.losses.unfinished() if not math.isfinite(loss)), None)
        if bad is not None:
            raise NonFiniteLoss(progress.step, progress.last_trained_epoch, bad)
        if not checkpoint.all_finite(self._model):
            raise NonFiniteLoss(progress.step, progress.last_trained_epoch, math.nan, "a weight")
        self.writer.wait()
        self.report_writer()
        self._written_step = self.written_step
        self._logbook.take_stock()
        self._job.reporter.sync()
        self.writer.save(self._state(), is_best, checkpoint.arrival(self._device))
        self._saved_step, self.saved_at = progress.step, time.monotonic()

    def has_this_step(self) -> bool:
        """Whether a checkpoint of the step at which the run stands is on the disk; waits for the write under way."""
        self.writer.wait()
        return self._saved_step == self._progress.step and not self.writer.problem

    @property
    def written_step(self) -> int | None:
        """The step of the newest checkpoint on the disk, None where there is none; no write is to be under way."""
        return self._written_step if self.writer.problem or self._saved_step < 0 else self._saved_step

    @property
    def lacking(self) -> str:
        """Why the newest checkpoint is not on the disk, and which is, in words."""
        step = self.written_step
        return f"{self.writer.problem}; {'there is no other' if step is None else f'last.pt is of step {step:,}'}"

    def _state(self) -> dict[str, Any]:
        state = checkpoint.to_host(
            {
                "model_config": self._job.config.model.model_dump(mode="json"),
                "model": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "scaler": self._step.scaler.state_dict(),
                "progress": self._progress.state(),
                "losses": self._logbook.losses.state(),
                "predictions": self._evaluations.predictions.state(),
                "random": checkpoint.random_states(self._device),
                "unwritten": {
                    "metrics": self._job.reporter.unwritten(),
                    "confusions": self._evaluations.confusions.unwritten(),
                },
            }
        )
        assert isinstance(state, dict)
        return state

    def report_writer(self) -> None:
        """Say once that checkpoints can't be written, and once that they can again."""
        problem = self.writer.problem
        if problem != self.writer.told:
            text = f"the checkpoint could not be written: {problem}; the older ones are whole, training goes on"
            over: dict[str, Any] = {} if problem else {"over": True}
            text = text if problem else "checkpoints can be written again"
            self._job.reporter.event("warning", text, trouble="checkpoint", **over)
            self.writer.told = problem

    def finish_writing(self, stopping: bool = False) -> None:
        """At the end, or at a stop: no further checkpoint comes, so one that there was no room for is tried again.

        Says where best.pt is older than the best epoch; who calls it says that last.pt is (`lacking`).
        """
        if self._job.keep_trying(self.writer.try_again, stopping):
            self.report_writer()
        if problem := self.writer.best_problem:
            text = f"best.pt could not be written: {problem}; it is of an epoch before {self._progress.best_epoch}"
            self._job.reporter.event("warning", text, trouble="best.pt")
