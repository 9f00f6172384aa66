"""What a run has written so far, as series: filled record by record, read by charts, narration and the estimate.

The Run screen owns one RunData for the run it shows. Pure: no Textual, no files. All x are steps since the start
of the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from fmnist_tui.analysis.series import Series
from fmnist_tui.monitor.devices import cuda_indices
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, GpuSample, SystemRecord, TrainRecord
from fmnist_tui.tui.metric_lines import MetricRecord, TrainLines

RATE_STEP = 1.5
"""A step of the learning rate is a fall by this factor between two lines, from a flat stretch to a flat stretch:
no smooth decay, nor the way down a cosine."""


class Session(NamedTuple):
    """One start of the worker: the step it began at, and how many training lines and evaluations came before."""

    step: int
    lines: int
    evaluations: int


class RateStep(NamedTuple):
    """A step of the learning rate: where the new rate begins, the rate before and after."""

    step: float
    before: float
    after: float


class PlacedEvent(NamedTuple):
    """An event and its place on the x axis."""

    step: float
    record: EventRecord


class RunData:
    """The metric lines of one run."""

    def __init__(self, device: str = "") -> None:
        self.device = device
        """Device as in Status.device; tells whose GPU samples are the run's own."""
        self.loss, self.lr, self.speed = Series(), Series(), Series()
        self.test_loss, self.test_accuracy, self.train_accuracy = Series(), Series(), Series()
        self.gpu, self.gpu_memory, self.cpu, self.ram = Series(), Series(), Series(), Series()
        self.evaluations: list[EvalRecord] = []
        self.best: EvalRecord | None = None
        """The evaluation with the highest test accuracy, the earliest of equals."""
        self.events: list[PlacedEvent] = []
        self.sessions: list[Session] = [Session(0, 0, 0)]
        self.system: SystemRecord | None = None
        """The newest sample."""
        self._rate_steps: list[RateStep] = []
        self._rates_scanned = 2
        self.last_train_time: str | None = None
        """When the newest training line was written."""

    @property
    def last_step(self) -> float:
        """The newest step anything is known of."""
        return max(self.loss.last_x or 0.0, self.test_loss.last_x or 0.0)

    @property
    def is_empty(self) -> bool:
        """Whether no training or evaluation line has come yet."""
        return self.loss.last_x is None and self.test_loss.last_x is None

    def extend(self, records: Sequence[MetricRecord]) -> None:
        """Take in new lines in the order they were written; costs only these.

        A training line whose step is not after the one before it means that the run went back to a checkpoint:
        what the abandoned branch had written after that step is forgotten, its events are not.
        """
        train: list[TrainLines] = []
        system: list[tuple[float, SystemRecord]] = []
        last = self.loss.last_x
        step = -1.0 if last is None else last
        for record in records:
            if isinstance(record, TrainLines | TrainRecord):
                lines = record if isinstance(record, TrainLines) else TrainLines.of([record])
                for part in lines.rising():
                    if part.steps[0] <= step:
                        self._flush(train, system)
                        self._rewind(float(part.steps[0]) - 1)
                    step = float(part.steps[-1])
                    train.append(part)
            elif isinstance(record, SystemRecord):
                system.append((max(step, 0.0), record))
            elif isinstance(record, EvalRecord):
                self._evaluation(record)
            else:
                self._flush(train, system)
                self._event(record)
        self._flush(train, system)

    def _flush(self, train: list[TrainLines], system: list[tuple[float, SystemRecord]]) -> None:
        if train:
            step, _, loss, low, high, lr, speed = np.concatenate([lines.columns for lines in train], axis=1)
            self.loss.extend(step, loss, low, high)
            self.lr.extend(step, lr)
            self.speed.extend(step, speed)
            self.last_train_time = train[-1].times[-1]
            train.clear()
        if system:
            picks: list[tuple[Series, Callable[[SystemRecord], float | None]]] = [
                (self.gpu, lambda r: _mean(g.utilization for g in self.gpus(r))),
                (self.gpu_memory, lambda r: _mean(_share(g.memory_used, g.memory_total) for g in self.gpus(r))),
                (self.cpu, lambda r: r.host.cpu_percent),
                (self.ram, lambda r: _share(r.host.ram_used, r.host.ram_total)),
            ]
            for series, pick in picks:
                points = [(step, value) for step, record in system if (value := pick(record)) is not None]
                series.extend([step for step, _ in points], [value for _, value in points])
            self.system = system[-1][1]
            system.clear()

    def gpus(self, record: SystemRecord) -> list[GpuSample]:
        """The GPUs of a sample that the run trains on; all of them where its device does not say."""
        if self.device == "cpu":
            return []
        indices = cuda_indices(self.device)
        return [gpu for gpu in record.gpus if gpu.index in indices] if indices else record.gpus

    def _evaluation(self, record: EvalRecord) -> None:
        last = self.evaluations[-1] if self.evaluations else None
        if last is not None and record.step <= last.step:
            self._rewind(record.step, evaluations_from=record.step)
        self.evaluations.append(record)
        if self.best is None or record.test_accuracy > self.best.test_accuracy:
            self.best = record
        self.test_loss.append(record.step, record.test_loss)
        self.test_accuracy.append(record.step, record.test_accuracy)
        self.train_accuracy.append(record.step, record.train_accuracy)

    def _event(self, record: EventRecord) -> None:
        # A resume is told before the worker knows its new position: it lies where the kept lines end.
        place = min(float(record.step), self.last_step) if record.event in ("resume", "start") else record.step
        self.events.append(PlacedEvent(float(place), record))
        if record.event in ("resume", "start"):
            self.sessions.append(Session(int(place), len(self.loss), len(self.evaluations)))

    def _rewind(self, step: float, evaluations_from: float = math.inf) -> None:
        for series in (self.loss, self.lr, self.speed, self.gpu, self.gpu_memory, self.cpu, self.ram):
            series.rewind(step)
        self._rates_scanned = max(2, min(self._rates_scanned, len(self.lr)))
        while self._rate_steps and self._rate_steps[-1].step > step:
            self._rate_steps.pop()
        keep = min(step, evaluations_from - 1)
        for series in (self.test_loss, self.test_accuracy, self.train_accuracy):
            series.rewind(keep)
        if self.evaluations and self.evaluations[-1].step > keep:
            self.evaluations = [record for record in self.evaluations if record.step <= keep]
            self.best = max(self.evaluations, key=lambda record: record.test_accuracy, default=None)

    @property
    def session(self) -> Session:
        """The newest start of the worker; its counts hold for the lines there are now."""
        newest = self.sessions[-1]
        return Session(newest.step, min(newest.lines, len(self.loss)), min(newest.evaluations, len(self.evaluations)))

    @property
    def rate_steps(self) -> list[RateStep]:
        """Every step of the learning rate so far, oldest first; looks only at lines it has not seen."""
        length = len(self.lr)
        if length > self._rates_scanned:
            rates = self.lr.values[self._rates_scanned - 2 :]
            # The newest line is left for the next time: only the one after it tells whether the rate stays.
            fell = (rates[:-3] == rates[1:-2]) & (rates[1:-2] > RATE_STEP * rates[2:-1]) & (rates[2:-1] == rates[3:])
            for at in (np.flatnonzero(fell) + self._rates_scanned).tolist():
                self._rate_steps.append(self._rate_step(at))
            self._rates_scanned = length - 1
        newest = self.lr.values[-3:]
        if len(newest) == 3 and newest[0] == newest[1] > RATE_STEP * newest[2]:
            return [*self._rate_steps, self._rate_step(length - 1)]
        return self._rate_steps

    def _rate_step(self, at: int) -> RateStep:
        rates = self.lr.values
        return RateStep(float(self.lr.x[at]), float(rates[at - 1]), float(rates[at]))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _share(used: int | None, total: int | None) -> float | None:
    return 100.0 * used / total if used is not None and total else None


def seconds_between(earlier: str, later: str) -> float:
    """Seconds from one record's timestamp to another's."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
