"""How a run computes, and what changes that on its way: CPU threads, a trial of compiling, less memory than hoped.

One of the Desk's parts. Each choice is an event, and stands in the result.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from fmnist_tui.training.compiling import Choice
from fmnist_tui.training.job import Job
from fmnist_tui.training.precision import TORCH_THREADS
from fmnist_tui.training.progress import Progress
from fmnist_tui.training.step import TrainStep
from fmnist_tui.training.threads import ThreadKeeper


class Tuning:
    """Follows what is chosen while the run is at work."""

    def __init__(self, job: Job, step: TrainStep, progress: Progress) -> None:
        self._training, self._reporter, self._step, self._progress = job.config.training, job.reporter, step, progress
        self.execution = job.execution
        """How the run computes: the job's, with what a checkpoint or a trial changes."""
        self._keeper: ThreadKeeper | None = None

    def begin(self, resumed: bool) -> None:
        """Settle the number of threads, and say what was chosen."""
        self._begin_with_threads(resumed)
        for key, value in self.execution.choices.items():
            self._reporter.event("choice", f"{key} {value}: {self.execution.reasons[key]}", key=key, value=value)
        if self._training.cpu_kernels == "on" and self.execution.choices.get("cpu_kernels") == "off":
            why = self.execution.reasons["cpu_kernels"]
            self._reporter.event("warning", f"training.cpu_kernels = on is not used: {why}", key="cpu_kernels")

    def _begin_with_threads(self, resumed: bool) -> None:
        """The execution's number of CPU threads, but the checkpoint's where a deterministic run goes on."""
        execution, training = self.execution, self._training
        before = self._progress.threads
        if resumed and training.deterministic and training.threads == "auto" and before:
            reason = "as before the run was resumed, so that it goes on bit for bit"
            self.execution = replace(execution, threads=before, reasons=execution.reasons | {"threads": reason})
            torch.set_num_threads(before)
        self._progress.threads = self.execution.threads
        if execution.follow_load:
            self._keeper = ThreadKeeper(execution.threads, TORCH_THREADS, torch.set_num_threads)

    def chose_compile(self, choice: Choice, where: str = "") -> None:
        """Take in what a trial of compiling came to: an event, a warning for each failure, and the result's line."""
        name = f"compile of {where}" if where else "compile"
        for problem in choice.problems:
            self._reporter.event("warning", f"{problem}; training goes on without", key="compile")
        self._reporter.event("choice", f"{name} {choice.mode}: {choice.reason}", key=name, value=choice.mode)
        if not where:
            self.execution = self.execution.with_compile(choice.mode, choice.reason)

    def see_step(self) -> None:
        """After a step: take in that it could not be recorded, or ran out of memory and went on with less at once."""
        graphs = self._step.graphs
        if graphs is not None and graphs.problem is not None and self.execution.cuda_graphs:
            self.execution = self.execution.without_graphs(graphs.problem)
            self._reporter.event("warning", f"{graphs.problem}; training goes on without", key="cuda_graphs")
        if self._step.micro_batch < self._progress.micro_batch:
            self._progress.micro_batch = self._step.micro_batch
            self.execution = replace(self.execution, compile=self._step.compile)
            self._reporter.event(
                "warning",
                f"out of memory: going on with {self._step.micro_batch} images at once, gradients accumulated; "
                "batch-norm statistics are of those, not of the whole batch",
                micro_batch=self._step.micro_batch,
            )

    def follow_load(self, pixels: int) -> None:
        """After a step on so many pixels: keep the number of threads that is faster beside the machine's other work."""
        if self._keeper is None or (change := self._keeper.after_step(pixels)) is None:
            return
        self._progress.threads = change.after
        self._reporter.event(
            "choice",
            f"threads {change.after}: {change.gain:.2f} times the speed with {change.before}; "
            f"others use {change.others:.1f} cores",
            key="threads",
            value=str(change.after),
        )

    def restart_clock(self) -> None:
        """Leave the time until now (an evaluation, a checkpoint) out of the speeds that threads are judged by."""
        if self._keeper is not None:
            self._keeper.restart()
