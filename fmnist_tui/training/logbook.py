"""How a run gets on: loss lines, position and pace, time at work and energy. One of the Desk's parts."""

from __future__ import annotations

import math
import time
from typing import Any

from fmnist_tui.training.energy import RunEnergy, gpu_uuids
from fmnist_tui.training.job import Job
from fmnist_tui.training.losses import LossLog, NonFiniteLoss, first_non_finite_step
from fmnist_tui.training.progress import Pace, Progress
from fmnist_tui.training.result import device_name

SLOW_RUN_SECONDS = 3600.0
"""A run that is going to take longer than this says so once its first steps are measured."""


class Logbook:
    """Writes the losses that have arrived, and keeps the position in the run's status up to date."""

    def __init__(self, job: Job, progress: Progress, train_images: int, test_images: int) -> None:
        self._reporter, self._progress, self._train_images = job.reporter, progress, train_images
        self._device, self._max_steps = job.execution.device, job.config.training.max_steps
        self.losses = LossLog(self._device, progress.steps_per_epoch)
        self.pace = Pace(job.config, test_images)
        self._energy = RunEnergy(_gpus(job))
        self._said_duration = False
        self._began = time.perf_counter()
        self._active_before = 0.0

    def go_on(self, losses: dict[str, Any]) -> None:
        """After `progress` was restored: count on from there, with a checkpoint's unfinished loss line."""
        self.losses.restore(losses)
        self._active_before = self._progress.active_seconds
        self._energy.go_on_from(self._progress.energy_joules)

    def collect(self, wait: bool = False) -> None:
        """Write the loss lines that reached the host. Raises NonFiniteLoss."""
        records = self.losses.collect(wait)
        for record in records:
            self._reporter.write(record)
            if not math.isfinite(record.loss):
                self.tell_position(loss=record.loss)
                raise NonFiniteLoss(first_non_finite_step(record, self.losses.every), record.epoch, record.loss)
            self.pace.line(record.images_per_second, record.epoch, self._progress.epochs)
        if records:
            last = records[-1]
            self.tell_position(loss=last.loss, lr=last.lr)
            self._say_duration()

    def tell_position(self, **values: Any) -> None:
        """Bring the position, the pace and what has been reached into the status, with further fields of it."""
        progress = self._progress
        progress.active_seconds = self._active_before + time.perf_counter() - self._began
        self._reporter.update(
            epoch=progress.evaluated_epoch if progress.done else min(progress.last_trained_epoch, progress.epochs),
            epochs=progress.epochs,
            step=progress.step,
            steps=min(progress.steps, self._max_steps or progress.steps),
            images_per_second=self.pace.images_per_second,
            eta_seconds=self.pace.left(progress, self._train_images),
            active_seconds=progress.active_seconds,
            test_accuracy=progress.test_accuracy,
            best_accuracy=progress.best_accuracy,
            best_epoch=progress.best_epoch or None,
            stop_at_accuracy=progress.stop_at_accuracy,
            **values,
        )

    def take_stock(self) -> None:
        """Count the time at work and the energy until now, for a checkpoint or the result."""
        self.tell_position()
        self._progress.energy_joules = self._energy.total()

    def _say_duration(self) -> None:
        """Once, from the first measured steps: how long this is going to take, where that is over an hour."""
        speed, left = self.pace.images_per_second, self.pace.left(self._progress, self._train_images)
        if self._said_duration or speed is None or left is None:
            return
        self._said_duration = True
        if left > SLOW_RUN_SECONDS:
            on_cpu = self._device.type == "cpu"
            way_out = "fewer epochs shorten it" + (", so does a GPU or the quick preset" if on_cpu else "")
            place = "this CPU" if on_cpu else device_name(self._device)
            self._reporter.event(
                "warning",
                f"this run takes {in_words(left)} at {speed:,.0f} images/s on {place}; {way_out}",
                eta_seconds=left,
            )


def _gpus(job: Job) -> list[str]:
    """The GPUs whose energy is the run's; none where some are in another machine, so that none is counted."""
    devices = [job.execution.device] if job.team is None else job.team.devices_here
    return [uuid for device in devices for uuid in gpu_uuids(device)]


def in_words(seconds: float) -> str:
    """A duration people can take in at a glance: 'about 5 days', 'about 3 hours'."""
    for unit, length in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= 1.5 * length:
            count = round(seconds / length)
            return f"about {count} {unit}s"
    return f"about {round(seconds)} seconds"
