"""What the Compare screen knows of each run, and the charts it makes of it: four values over three time axes.

Pure: no Textual, no files. A run's letter, colour and pattern follow from its place in the comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np

from fmnist_tui.analysis.axis import Linear, Log, LogError, Scale
from fmnist_tui.analysis.compare import LETTERS
from fmnist_tui.analysis.epochs import epoch_steps
from fmnist_tui.analysis.series import Series
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, SystemRecord, TrainRecord
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.format import number, percent
from fmnist_tui.tui.metric_lines import COLUMNS, MetricRecord, TrainLines
from fmnist_tui.tui.run_data import seconds_between
from fmnist_tui.tui.widgets.chart_content import Content, Curve, Point
from fmnist_tui.tui.widgets.chart_raster import Pattern

Metric = Literal["test_accuracy", "test_loss", "train_loss", "lr"]
Axis = Literal["epoch", "step", "time"]
METRICS: tuple[Metric, ...] = ("test_accuracy", "test_loss", "train_loss", "lr")
AXES: tuple[Axis, ...] = ("epoch", "step", "time")
TITLES = {
    "test_accuracy": "Test accuracy %",
    "test_loss": "Test loss",
    "train_loss": "Train loss",
    "lr": "Learning rate",
}
COMPANIONS: dict[Metric, Metric] = {
    "test_accuracy": "test_loss",
    "test_loss": "train_loss",
    "train_loss": "test_loss",
    "lr": "test_accuracy",
}
"""What stands beside each on wide screens."""
PATTERNS = (Pattern.THICK, Pattern.THIN, Pattern.DASHED, Pattern.DOTTED)
LETTERS_ON_CURVE = 3
"""How often a curve carries its letter, so that it can be told without colour."""
TIME_UNITS = ((2 * 86_400.0, 86_400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"))
"""From which length of the longest run on the time axis counts in which unit; below in seconds."""


_TRAIN_ROWS: dict[Metric, int] = {"train_loss": COLUMNS.index("loss"), "lr": COLUMNS.index("lr")}
_TEXTS: dict[Metric, Callable[[float], str]] = {
    "test_accuracy": percent,
    "test_loss": number,
    "train_loss": number,
    "lr": "{:.4g}".format,
}


@dataclass
class RunCurves:
    """The values of one run: by step, and by seconds at work (pauses between its starts left out)."""

    by_step: dict[Metric, Series] = field(default_factory=lambda: {metric: Series() for metric in METRICS})
    by_time: dict[Metric, Series] = field(default_factory=lambda: {metric: Series() for metric in METRICS})
    evaluations: list[EvalRecord] = field(default_factory=list)
    seconds: float = 0.0
    """At work until the newest line."""
    _last_time: str = ""

    def extend(self, records: Sequence[MetricRecord]) -> None:
        """Take in new lines in the order they were written."""
        for record in records:
            if isinstance(record, TrainLines | TrainRecord):
                self._train(record if isinstance(record, TrainLines) else TrainLines.of([record]))
                continue
            self._pass_time(record)
            if isinstance(record, EvalRecord):
                while self.evaluations and self.evaluations[-1].step >= record.step:
                    self.evaluations.pop()  # the run went back to a checkpoint
                self.evaluations.append(record)
                self._add("test_accuracy", record.step, record.test_accuracy)
                self._add("test_loss", record.step, record.test_loss)

    def _train(self, lines: TrainLines) -> None:
        """Training lines that follow each other; nothing but work lies between them."""
        times = [self._last_time or lines.times[0], *lines.times]
        written = np.array([datetime.fromisoformat(time).timestamp() for time in times])
        seconds = self.seconds + np.cumsum(np.maximum(np.diff(written), 0.0))
        for metric, row in _TRAIN_ROWS.items():
            self.by_time[metric].extend(seconds, lines.columns[row])
            for part in lines.rising():
                self.by_step[metric].extend(part.steps, part.columns[row])
        self.seconds, self._last_time = float(seconds[-1]), lines.times[-1]

    def _pass_time(self, record: EvalRecord | SystemRecord | EventRecord) -> None:
        """The seconds since the line before count, unless nothing was at work between: a wait in a queue, a pause."""
        begins = isinstance(record, EventRecord) and record.event in ("start", "resume", "queue")
        if self._last_time and not begins:
            self.seconds += max(0.0, seconds_between(self._last_time, record.time))
        self._last_time = record.time

    def _add(self, metric: Metric, step: int, value: float) -> None:
        self.by_step[metric].append(step, value)
        self.by_time[metric].append(self.seconds, value)


class Side(NamedTuple):
    """A run of the comparison."""

    run: Run
    curves: RunCurves


@dataclass
class Look:
    """What the charts show."""

    metric: Metric = "test_accuracy"
    axis: Axis = "epoch"
    other_scale: bool = False
    smoothing: float = 0.6


class Extent(NamedTuple):
    """The time axis over all runs, in its own units."""

    latest: float
    """Where the newest point of all lies."""
    total: float
    """Where the longest run will end, as far as that is known."""
    ended: bool


def time_unit(sides: Sequence[Side]) -> tuple[float, str]:
    """Seconds in a unit of the time axis, and the unit's name."""
    longest = max((side.curves.seconds for side in sides), default=0.0)
    return next(((unit, name) for least, unit, name in TIME_UNITS if longest >= least), (1.0, "seconds"))


def extent(sides: Sequence[Side], axis: Axis) -> Extent:
    """How far the runs are, and how far they will go, along an axis."""
    latest, total = 0.0, 0.0
    for run, curves in sides:
        units = _per_unit(run, axis, sides)
        x = curves.seconds if axis == "time" else max(s.last_x or 0.0 for s in curves.by_step.values())
        latest = max(latest, x / units)
        steps = (run.status.steps or run.status.epochs * epoch_steps(run.status, run.config)) if run.status else 0
        total = max(total, x / units if axis == "time" else steps / units)
    return Extent(latest, max(total, latest, 1e-6), not any(side.run.state.alive for side in sides))


def _per_unit(run: Run, axis: Axis, sides: Sequence[Side]) -> float:
    """Units of a series' x in one of the axis."""
    if axis == "epoch":
        return float(epoch_steps(run.status, run.config))
    return 1.0 if axis == "step" else time_unit(sides)[0]


def chart(sides: Sequence[Side], metric: Metric, look: Look) -> Content:
    """All runs on one chart; the first lies on top."""
    curves = [_curve(at, side, metric, look, sides) for at, side in enumerate(sides)]
    smoothing = look.smoothing if metric == "train_loss" else 0.0
    points = [point for at, curve in enumerate(curves) for point in _letters(at, curve, smoothing, len(curves))]
    note = f"smoothed {smoothing:g}" if smoothing else ""
    content = Content(TITLES[metric], curves, _scale(metric, look.other_scale), points=points, note=note)
    content.focus = metric == "test_accuracy" and not look.other_scale
    content.lettered = True
    content.x_name = time_unit(sides)[1] if look.axis == "time" else look.axis
    content.empty = "nothing has been evaluated yet" if metric.startswith("test") else "no lines yet"
    return content


def _scale(metric: Metric, other: bool) -> Scale:
    if metric == "test_accuracy":
        return LogError() if other else Linear((0.0, 100.0))
    if metric == "lr":
        return Log() if other else Linear((0.0, math.inf))
    return Linear((0.0, math.inf)) if other else Log()


def _curve(at: int, side: Side, metric: Metric, look: Look, sides: Sequence[Side]) -> Curve:
    series = (side.curves.by_time if look.axis == "time" else side.curves.by_step)[metric]
    units = _per_unit(side.run, look.axis, sides)
    every = side.run.config.training.eval_every if side.run.config else 1
    spacing = float(series.x[-1] - series.x[0]) / max(1, len(series) - 1) if len(series) > 1 else units
    return Curve(
        LETTERS[at],
        series,
        f"run{at + 1}",
        PATTERNS[at % len(PATTERNS)],
        LETTERS[at].lower(),
        units,
        smooth=metric == "train_loss",
        band=False,
        text=_TEXTS[metric],
        reach=max(spacing / units, 0.5 * every if look.axis == "epoch" else 0.0),
        ended=not side.run.state.alive,
    )


def _letters(at: int, curve: Curve, smoothing: float, curves: int) -> list[Point]:
    """The curve's letter at its end and at places where those of the others are not."""
    series = curve.series
    if not len(series):
        return []
    values = series.smoothed(smoothing)
    first, last = float(series.x[0]), float(series.x[-1])
    shares = [(nth + (at + 1) / (curves + 1)) / LETTERS_ON_CURVE for nth in range(LETTERS_ON_CURVE)]
    places = {*(series.nearest(first + share * (last - first)) or 0 for share in shares), len(series) - 1}
    return [
        Point(float(series.x[index]) / curve.per_epoch, float(values[index]), "", curve.style, LETTERS[at])
        for index in sorted(places)
    ]
