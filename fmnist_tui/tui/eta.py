"""How long a run still takes, as a range: from the spread of its recent speeds and evaluations.

Called by the Run screen's header. Pure functions.
"""

from __future__ import annotations

import itertools
import statistics
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from fmnist_tui.analysis.epochs import epoch_steps
from fmnist_tui.config import RunConfig
from fmnist_tui.runs.records import seconds_since
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.run_data import RunData, seconds_between

WARMUP_LINES = 1
"""Training lines left out after each start: the first holds compilation, autotuning and cold caches."""
RECENT_LINES = 64
"""The estimate looks back this many training lines."""
BLOCKS = 8
"""The recent lines are averaged in this many blocks; the spread is the blocks'. Single lines spread more than
the mean of the many that are left, so their spread would make the range too wide."""
FORWARD_SHARE = (1 / 4, 1 / 2)
"""Time of an image in an evaluation as a share of its time in training, before the first was measured."""
EXPIRES_SECONDS = 60.0
"""A range older than this without a heartbeat is worth nothing."""


class Remaining(NamedTuple):
    """Seconds left, at the least and at the most."""

    low: float
    high: float


def remaining(run: Run, data: RunData, now: datetime) -> Remaining | None:
    """Seconds until the run ends; None for a run not at work, silent for a minute, or not measured yet.

    Counts the steps left at the speed of this start's recent lines, the evaluations left, and what an epoch
    takes besides (checkpoints). A run that goes on after a stop is measured anew.
    """
    status, config = run.status, run.config
    if status is None or config is None or run.state not in (State.STARTING, State.RUNNING):
        return None
    silence = seconds_since(status.heartbeat, now.astimezone(UTC))
    if silence > EXPIRES_SECONDS or status.epochs <= 0:
        return None
    speeds = recent_speeds(data)
    if len(speeds) < 2:
        return None
    per_epoch = epoch_steps(status, config)
    step = max(status.step, int(data.last_step))
    total = status.epochs * per_epoch
    if config.training.max_steps is not None:
        total = min(total, config.training.max_steps)
    train_images, _ = config.data.sizes
    fast, slow = image_seconds(speeds)
    images = max(0, total - step) / per_epoch * train_images
    evaluated = data.evaluations[-1].step if data.evaluations else 0
    evaluations = evaluations_left(step, evaluated, total, per_epoch, config.training.eval_every)
    quick, long = evaluation_seconds(data, config, fast, slow)
    besides = _besides(data, per_epoch, train_images, (fast + slow) / 2) * max(0, total - step) / per_epoch
    low = images * fast + evaluations * quick + besides
    high = images * slow + evaluations * long + besides
    age = max(0.0, seconds_since(data.last_train_time, now.astimezone(UTC))) if data.last_train_time else 0.0
    age = min(age, slow * train_images)  # a long evaluation must not eat the whole estimate
    return Remaining(max(0.0, low - age), max(0.0, high - age))


def recent_speeds(data: RunData) -> list[float]:
    """Images per second of the newest lines of this start, its warm-up left out."""
    first = data.session.lines + WARMUP_LINES
    speeds = data.speed.values[first:][-RECENT_LINES:]
    return [speed for speed in speeds.tolist() if speed > 0]


def image_seconds(speeds: list[float]) -> tuple[float, float]:
    """Seconds a training image takes, fast and slow: the 10th and 90th percentile of the blocks' means."""
    times = 1.0 / np.asarray(speeds)
    means = [float(block.mean()) for block in np.array_split(times, min(BLOCKS, max(1, len(speeds) // 2)))]
    fast, slow = np.percentile(means, [10, 90])
    return float(fast), float(slow)


def evaluations_left(step: int, evaluated: int, total: int, per_epoch: int, every: int) -> int:
    """Evaluations still to come at `step` of `total`, the newest so far being of step `evaluated`.

    One comes at the end of each epoch that `every` divides, of the last epoch, and at a step limit.
    """
    done, last = step // per_epoch, -(-total // per_epoch)
    first = done if step and step % per_epoch == 0 and evaluated < step else done + 1
    ends = {epoch for epoch in range(first, last + 1) if epoch % every == 0}
    return len(ends | {last}) if last >= first else 0


def evaluation_seconds(data: RunData, config: RunConfig, fast: float, slow: float) -> tuple[float, float]:
    """Seconds of an evaluation, least and most of the last five; a guess from the speed before the first."""
    if data.evaluations:
        recent = [record.seconds for record in data.evaluations[-5:]]
        return min(recent), max(recent)
    images = config.data.sizes[1]
    return images * fast * FORWARD_SHARE[0], images * slow * FORWARD_SHARE[1]


def _besides(data: RunData, per_epoch: int, train_images: int, image_time: float) -> float:
    """Seconds an epoch of this start took besides training and evaluation (checkpoints): median of the last five.

    Training is what it took then: at the present speed (`image_time`, for an epoch without lines) all that a run lost
    while others were at work on the machine would be expected of every epoch to come.
    """
    records = data.evaluations[data.session.evaluations :][-6:]
    extra = []
    for earlier, later in itertools.pairwise(records):
        epochs = (later.step - earlier.step) / per_epoch
        wall = seconds_between(earlier.time, later.time)
        own = data.speed.values[(data.speed.x > earlier.step) & (data.speed.x <= later.step)]
        own = own[own > 0]
        took = float((1.0 / own).mean()) if own.size else image_time
        if epochs > 0:
            extra.append((wall - later.seconds) / epochs - train_images * took)
    return max(0.0, statistics.median(extra)) if extra else 0.0
