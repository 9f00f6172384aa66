"""A worker's wait for its device: queue, say where it stands, answer requests to stop or to start now.

No torch, no NumPy.

Called by `__main__`, before torch is imported: a waiting worker takes 40 MB and next to no processor time. It
needs nobody else to start: no app, no daemon.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType

from fmnist_tui.config import RunConfig
from fmnist_tui.monitor.devices import devices_for
from fmnist_tui.remedies import remedy
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.process import HEARTBEAT_SECONDS
from fmnist_tui.runs.queue import place_in_words
from fmnist_tui.runs.status import NOT_QUEUED, State, Status
from fmnist_tui.runs.store import Run, list_runs
from fmnist_tui.runs.tickets import Device
from fmnist_tui.training.control import ControlReader, StopSignal
from fmnist_tui.training.reporter import Reporter

LOOK_SECONDS = 0.5


class LeftQueue(Exception):
    """The run was taken out of the queue before its turn; the text says by what."""

    def __init__(self, message: str, deleted: bool = False) -> None:
        super().__init__(message)
        self.deleted = deleted
        """Whether there is no run any more."""


class Turn:
    """A worker's hold of its device, from `wait` to the end of the with-block."""

    def __init__(
        self, run: RunDirectory, config: RunConfig, launch: LaunchRequest, reporter: Reporter, stop_signal: StopSignal
    ) -> None:
        self._run, self._config, self._launch = run, config, launch
        self._reporter, self._stop_signal = reporter, stop_signal
        self._now = launch.now
        """Whether it starts beside what is on its device; also where it was told so while it waited."""
        self._place: Place | None = None
        self._warned = False
        self.device: Device | None = None
        """The device the run has; None before `wait` has returned."""
        self.devices: list[Device] = []
        """The device of each rank, where the run has several: that many GPUs, or the CPU that many times."""

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave()

    def wait(self, option: str) -> None:
        """Return when the run may use a device the option means (`device` says which). Raises LeftQueue.

        Gives back the one it had before. Where the queue can't be used (no directory to write to) the run starts
        at once, with a warning. A Slurm job has its devices to itself and starts at once.
        """
        self._leave()
        count = self._launch.gpus
        devices = devices_for(option, count)
        if self._launch.launcher == "slurm":
            self.device = devices[0]
            self.devices = [devices[0]] * count if devices[0].key == "cpu" else devices[:count]
            self._reporter.update(state=State.STARTING, device=devices[0].name)
            return
        self._place = place = Place(self._run, devices, count)
        try:
            device = place.take(self._now)
        except OSError as error:
            self._place = None
            device = devices[0]
            why = error.strerror or str(error)
            self._reporter.event("warning", f"the device queue can't be used ({why}); starting without it")
        if device is None:
            device = self._queue(place, devices)
        self.device = device
        self.devices = place.devices or devices[:count]
        if device.key == "cpu":
            self.devices = [device] * count
        self._reporter.update(state=State.STARTING, device=device.name, beside=place.beside, **NOT_QUEUED)
        if place.beside:
            self._reporter.event("warning", f"runs beside {place.beside} on {device.name}: both are slower for it")

    def keep_for_new_program(self) -> None:
        """Before os.execv: the fresh program of this process goes on with the device."""
        if self._place is not None:
            self._place.keep_for_new_program()

    def _leave(self) -> None:
        if self._place is not None:
            self._place.leave()
            self._place = None

    def _queue(self, place: Place, devices: Sequence[Device]) -> Device:
        from fmnist_tui.report.words import duration  # a run that need not wait starts without it

        began = time.monotonic()
        place.expect(expected_seconds(self._config, self._launch, self._reporter.status, devices, self._earlier_runs()))
        name = devices[0].name if len(devices) == 1 else self._launch.device
        self._reporter.update(state=State.QUEUED, phase="", device=name)
        control = ControlReader(self._run)
        due = self._say_place(place)
        status = self._reporter.status
        where = place_in_words(status) + (f", behind {status.queue_behind}" if status.queue_behind else "")
        self._reporter.event(
            "queue",
            where,
            remedy=remedy("start now", run=self._run.id),
            device=name,
            place=status.queue_place,
            behind=status.queue_behind,
        )
        while (device := self._look(place)) is None:
            if self._answer(control):
                continue
            due = self._say_place(place, due)
            time.sleep(LOOK_SECONDS)
        how = "told to start now" if self._now else "its turn"
        self._reporter.event("queue", f"{how} on {device.name}, after {duration(time.monotonic() - began)}")
        return device

    def _look(self, place: Place) -> Device | None:
        """Whether it is this run's turn. A queue that can't be used for a while is waited for."""
        try:
            device, problem = place.take(self._now), place.problem
        except OSError as error:
            device, problem = None, error.strerror or str(error)
        if problem and not self._warned:
            self._reporter.event("warning", f"the device queue can't be written: {problem}; its order may be lost")
        self._warned = bool(problem)
        return device

    def _answer(self, control: ControlReader) -> bool:
        """Take in what was asked; True where that was to start now. Raises LeftQueue.

        That request stays in control.json, with those that wait for the training.
        """
        if self._stop_signal.received:
            raise LeftQueue(f"taken out of the queue by {self._stop_signal.received}")
        asked = {request.request for request in control.poll()}
        if asked & {"stop", "stop_after_epoch"}:
            control.forget()
            raise LeftQueue("taken out of the queue by a request")
        if not self._run.marker.exists():
            raise LeftQueue(f"{self._run.path}: was deleted", deleted=True)
        self._now = self._now or "start_now" in asked
        return "start_now" in asked

    def _say_place(self, place: Place, due: float = 0.0) -> float:
        """Write down where the run stands: at once where that changed, else as often as a heartbeat is due."""
        stands, status = place.standing, self._reporter.status
        moved = (stands.place, stands.behind) != (status.queue_place, status.queue_behind)
        if not moved and time.monotonic() < due:
            return due
        self._reporter.update(
            now=True, queue_place=stands.place, queue_behind=stands.behind, starts_in_seconds=stands.seconds
        )
        return time.monotonic() + HEARTBEAT_SECONDS

    def _earlier_runs(self) -> list[Run]:
        return list_runs(self._run.path.parent)


def expected_seconds(
    config: RunConfig, launch: LaunchRequest, status: Status, devices: Sequence[Device], runs: Iterable[Run]
) -> float | None:
    """How long a run is going to take once it starts: by its own speed so far, or a finished run's like it.

    Alike is what computes the same on one of these devices; only the length may differ. None where there is none.
    """
    epochs = launch.length(status).epochs or config.training.epochs
    if status.step > 0 and status.steps_per_epoch > 0 and status.active_seconds > 0:
        return status.active_seconds / status.step * _steps_left(config, status, epochs, status.steps_per_epoch)
    names = {device.name for device in devices}
    for run in runs:
        result = run.result
        if result is None or run.config is None or not result.complete or result.device not in names:
            continue
        if result.devices != launch.gpus * launch.nodes:
            continue
        if _work(run.config) == _work(config):
            per_epoch = result.steps / result.epochs
            return result.total_seconds / result.steps * _steps_left(config, status, epochs, per_epoch)
    return None


def _steps_left(config: RunConfig, status: Status, epochs: int, per_epoch: float) -> float:
    steps = epochs * per_epoch
    if config.training.max_steps is not None:
        steps = min(steps, config.training.max_steps)
    return max(0.0, steps - status.step)


def _work(config: RunConfig) -> tuple[object, ...]:
    """What the time for an epoch depends on."""
    training = config.training
    how = (training.precision, training.memory_format, training.compile, training.deterministic, training.eval_every)
    return (config.model, config.data, config.augment, training.batch_size, training.micro_batch, *how)
