"""The four charts of a run: what each shows, from the run's data and its surroundings.

Called by the Run screen whenever data or settings changed; cheap, because series are shared, not copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fmnist_tui.analysis.axis import Linear, Log, LogError
from fmnist_tui.analysis.epochs import epoch_steps
from fmnist_tui.analysis.series import Series
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.training.schedule import learning_rate
from fmnist_tui.tui.format import ASCII, UNICODE, percent
from fmnist_tui.tui.run_data import RunData
from fmnist_tui.tui.widgets.chart_content import Content, Curve, Flag, Level, Point
from fmnist_tui.tui.widgets.chart_raster import Pattern

ChartName = Literal["loss", "accuracy", "rate", "system"]
CHARTS: tuple[ChartName, ...] = ("loss", "accuracy", "rate", "system")
PLAN_POINTS = 800
"""Points of the planned learning rate over a run."""

_FLAGS = {
    "error": ("×", "x", "error"),
    "warning": ("!", "!", "warning"),
    "stop": ("■", "S", "event"),
    "resume": ("↻", "R", "event"),
    "edit": ("◊", "E", "event"),
}
"""Glyph, ASCII glyph and style of the events shown on the time axis, the gravest first; checkpoints are too many."""


@dataclass
class GhostCurves:
    """The best earlier run's evaluations as series over epochs."""

    name: str
    evaluations: Sequence[EvalRecord] = ()
    test_loss: Series = field(default_factory=Series)
    test_accuracy: Series = field(default_factory=Series)

    @classmethod
    def of(cls, name: str, evaluations: Sequence[EvalRecord], per_epoch: int) -> GhostCurves:
        """From its evaluations, oldest first, and the steps of its epochs."""
        ghost = cls(name, evaluations)
        for record in evaluations:
            ghost.test_loss.append(record.step / per_epoch, record.test_loss)
            ghost.test_accuracy.append(record.step / per_epoch, record.test_accuracy)
        return ghost


class RunCharts:
    """Builds the contents; keeps the planned learning rate, which is computed once for a length of the run."""

    def __init__(self, ascii_only: bool = False) -> None:
        self._degree = (ASCII if ascii_only else UNICODE).degree
        self.other_scale = False
        """Whether each chart shows its other scale: loss linear, accuracy by the logarithm of the error."""
        self._plan: tuple[tuple[int, int], Series] | None = None

    def build(self, name: ChartName, run: Run, data: RunData, ghost: GhostCurves | None, smoothing: float) -> Content:
        """The content of one chart."""
        per_epoch = epoch_steps(run.status, run.config)
        if name == "loss":
            content = self._loss(run, data, ghost, per_epoch, smoothing)
        elif name == "accuracy":
            content = self._accuracy(run, data, ghost, per_epoch)
        elif name == "rate":
            content = self._rate(run, data, per_epoch)
        else:
            content = self._system(data, per_epoch)
        content.flags = flags(data, per_epoch)
        content.empty = _empty(name, run)
        return content

    def _loss(self, run: Run, data: RunData, ghost: GhostCurves | None, per_epoch: int, smoothing: float) -> Content:
        every = _eval_every(run)
        curves = [
            Curve("test", data.test_loss, "test", Pattern.THICK, "o", per_epoch, reach=every),
            Curve("train", data.loss, "train", Pattern.THIN, "*", per_epoch, smooth=True),
            *_ghost_curve(ghost, ghost.test_loss if ghost else None, data, per_epoch, every),
        ]
        points = []
        if (best := data.best) is not None and math.isfinite(best.test_loss) and len(data.evaluations) > 1:
            points = [Point(best.step / per_epoch, best.test_loss, "")]
        note = f"smoothed {smoothing:g}" if smoothing else "not smoothed"
        scale = Linear((0.0, math.inf)) if self.other_scale else Log()
        return Content("Loss", curves, scale, points=points, note=note)

    def _accuracy(self, run: Run, data: RunData, ghost: GhostCurves | None, per_epoch: int) -> Content:
        every = _eval_every(run)
        curves = [
            Curve("test", data.test_accuracy, "test", Pattern.THICK, "o", per_epoch, text=percent, reach=every),
            Curve("train", data.train_accuracy, "train", Pattern.THIN, "*", per_epoch, text=percent, reach=every),
            *_ghost_curve(ghost, ghost.test_accuracy if ghost else None, data, per_epoch, every),
        ]
        for curve in curves:
            curve.text = percent
        reference = run.config.measured_against if run.config else None
        levels = [Level(reference.accuracy, f"reference {percent(reference.accuracy)}")] if reference else []
        points = []
        if (best := data.best) is not None:
            label = f"best {percent(best.test_accuracy)} ({best.epoch})"
            points = [Point(best.step / per_epoch, best.test_accuracy, label)]
        scale = LogError() if self.other_scale else Linear((0.0, 100.0))
        return Content("Accuracy %", curves, scale, levels, points=points, focus=not self.other_scale)

    def _rate(self, run: Run, data: RunData, per_epoch: int) -> Content:
        curves = [
            Curve("actual", data.lr, "test", Pattern.THICK, "o", per_epoch, text=lambda value: f"{value:.4g}"),
        ]
        if (plan := self._planned(run, per_epoch)) is not None:
            reach = float(np.diff(plan.x).max()) / per_epoch
            curves.append(
                Curve("planned", plan, "ghost", Pattern.DOTTED, ":", per_epoch, text=lambda value: f"{value:.4g}",
                      reach=reach, background=True, shown_until=data.last_step / per_epoch)
            )  # fmt: skip
        steps = run.config is not None and run.config.schedule.kind == "step"
        return Content("Learning rate", curves, Log() if steps != self.other_scale else Linear((0.0, math.inf)))

    def _planned(self, run: Run, per_epoch: int) -> Series | None:
        if run.config is None or run.status is None:
            return None
        key = (run.status.epochs or run.config.training.epochs, per_epoch)
        if self._plan is None or self._plan[0] != key:
            steps = np.unique(np.linspace(0, key[0] * per_epoch - 1, PLAN_POINTS).round())
            rates = [learning_rate(int(step), run.config, per_epoch, key[0]) for step in steps]
            series = Series()
            series.extend(steps + 1, rates)
            self._plan = (key, series)
        return self._plan[1]

    def _system(self, data: RunData, per_epoch: int) -> Content:
        def whole(value: float) -> str:
            return f"{value:.0f}%"

        gpu = [
            Curve("GPU", data.gpu, "test", Pattern.THICK, "G", per_epoch, text=whole, reach=1.0),
            Curve("mem", data.gpu_memory, "train", Pattern.THIN, "M", per_epoch, text=whole, reach=1.0),
        ]
        host = [
            Curve("CPU", data.cpu, "third", Pattern.DASHED, "C", per_epoch, text=whole, reach=1.0),
            Curve("RAM", data.ram, "fourth", Pattern.DOTTED, "R", per_epoch, text=whole, reach=1.0),
        ]
        has_gpu = len(data.gpu) > 0 or len(data.gpu_memory) > 0
        note = "no GPU" if data.system is not None and not has_gpu else ""
        gpus = data.gpus(data.system) if data.system else []
        power = [gpu_sample.power for gpu_sample in gpus if gpu_sample.power is not None]
        heat = [gpu_sample.temperature for gpu_sample in gpus if gpu_sample.temperature is not None]
        if power:
            note = f"{sum(power):.0f} W" + (f" {max(heat):.0f} {self._degree}" if heat else "")
        title = "GPU, host %" if has_gpu else "Host %"
        return Content(title, [*(gpu if has_gpu else []), *host], limits=(0.0, 100.0), note=note)


def _eval_every(run: Run) -> float:
    """For how many epochs an evaluation stands."""
    return max(0.5, run.config.training.eval_every / 2) if run.config else 0.5


def _ghost_curve(
    ghost: GhostCurves | None, series: Series | None, data: RunData, per_epoch: int, every: float
) -> list[Curve]:
    if ghost is None or series is None or not len(series):
        return []
    until = data.last_step / per_epoch
    return [Curve(ghost.name, series, "ghost", Pattern.DOTTED, ":", reach=every, background=True, shown_until=until)]


def flags(data: RunData, per_epoch: int) -> list[Flag]:
    """The events on the time axis and the steps of the learning rate, the gravest first."""
    order = list(_FLAGS)
    events = [event for event in data.events if event.record.event in _FLAGS]
    found = []
    for event in sorted(events, key=lambda event: order.index(event.record.event)):
        glyph, ascii_glyph, style = _FLAGS[event.record.event]
        found.append(Flag(event.step / per_epoch, glyph, ascii_glyph, style))
    return found + [Flag(step / per_epoch, "▾", "v", "axis") for step, _, _ in data.rate_steps]


def _empty(name: ChartName, run: Run) -> str:
    """What an empty chart says."""
    if run.state is State.QUEUED:
        return "queued: nothing has run yet"
    if run.state is State.STARTING:
        phase = run.status.phase if run.status else ""
        return f"starting: {phase or 'loading data'}"
    if not run.state.alive:
        return "nothing was recorded"
    if name == "accuracy" and run.config is not None:
        return f"the first evaluation comes after epoch {run.config.training.eval_every}"
    return "the first lines come in a moment"
