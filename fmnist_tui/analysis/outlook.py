"""What would happen if a configuration were run: steps, evaluations, memory, duration. No torch, no Textual.

The New run screen's panel shows these while one types, and `run ... --dry-run` prints them. Memory is an estimate and
says what it counts; durations come only from speeds that were measured, by a calibration or by an earlier run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fmnist_tui.config import IMAGE_SIZE, DataConfig, OptimizerConfig, RunConfig, ScheduleConfig
from fmnist_tui.fields import flatten, steps_per_epoch
from fmnist_tui.models.count import activation_bytes_per_image, parameter_count, training_flops_per_image
from fmnist_tui.runs.store import Run

STATE_BYTES_PER_PARAMETER = 12
"""A weight, its gradient and its momentum, in fp32 whatever the precision of the arithmetic."""


@dataclass(frozen=True)
class Plan:
    """How much work a configuration is."""

    train_images: int
    test_images: int
    steps_per_epoch: int
    steps: int
    """Of the run: all its epochs, or `max_steps` where that ends it earlier."""
    epochs: int
    """Epochs begun: the last one may be cut short by `max_steps`."""
    evaluations: int
    images: int
    """Training images over the whole run."""
    cut_short: bool
    """Whether `max_steps` ends the run before its epochs do."""


def plan(config: RunConfig) -> Plan:
    """The work of a run that is not stopped and does not reach `stop_at_accuracy`."""
    training = config.training
    train_images, test_images = config.data.sizes
    per_epoch = steps_per_epoch(config, train_images)
    whole = training.epochs * per_epoch
    steps = min(whole, training.max_steps or whole)
    epochs = math.ceil(steps / per_epoch)
    return Plan(
        train_images=train_images,
        test_images=test_images,
        steps_per_epoch=per_epoch,
        steps=steps,
        epochs=epochs,
        evaluations=math.ceil(epochs / training.eval_every),
        images=steps // per_epoch * train_images + steps % per_epoch * training.batch_size,
        cut_short=steps < whole,
    )


@dataclass(frozen=True)
class Size:
    """What a network costs, from its configuration alone."""

    parameters: int
    flops_per_image: int
    """To train on one image once."""


def size(config: RunConfig) -> Size:
    """Parameters and operations of the configured network."""
    return Size(parameter_count(config.model), training_flops_per_image(config.model))


def images_at_once(config: RunConfig) -> int:
    """Images on the device in one pass: the batch, or the micro-batch where that is a number."""
    micro = config.training.micro_batch
    return micro if isinstance(micro, int) else config.training.batch_size


def memory_estimate(config: RunConfig, bytes_per_element: int) -> int:
    """Bytes a run needs on its device: an estimate.

    Counted: weights, gradients and momentum (fp32), what is kept of the images in one pass for the backward
    pass (`activation_bytes_per_image`), and the data set in uint8. Not counted: what lives only while one
    layer runs, the libraries' workspaces, CUDA's own context.
    """
    train_images, test_images = config.data.sizes
    state = STATE_BYTES_PER_PARAMETER * parameter_count(config.model)
    kept = images_at_once(config) * activation_bytes_per_image(config.model, bytes_per_element)
    return state + kept + (train_images + test_images) * IMAGE_SIZE * IMAGE_SIZE


@dataclass(frozen=True)
class Speed:
    """How fast a configuration ran where it was measured."""

    images_per_second: float
    eval_images_per_second: float | None
    startup_seconds: float
    """Loading, compiling and the like, once a run."""
    peak_memory_bytes: int | None
    device: str
    device_name: str
    precision: str


@dataclass(frozen=True)
class Duration:
    """Seconds a run would take at a Speed."""

    startup: float
    training: float
    evaluation: float | None
    """None where the speed of evaluation was not measured."""

    @property
    def total(self) -> float:
        """All of it; without the evaluation where that is not known."""
        return self.startup + self.training + (self.evaluation or 0.0)


def duration(config: RunConfig, speed: Speed) -> Duration:
    """How long the configured run would take at this speed."""
    work = plan(config)
    evaluation = None
    if speed.eval_images_per_second:
        evaluation = work.evaluations * work.test_images / speed.eval_images_per_second
    return Duration(speed.startup_seconds, work.images / speed.images_per_second, evaluation)


def speed_key(config: RunConfig, device: str) -> tuple[Any, ...]:
    """What a speed depends on: two configurations with the same key run equally fast on that device."""
    values = {key: value for key, value in flatten(config).items() if key not in NO_MATTER_FOR_SPEED}
    return (device, *values.items())


NO_MATTER_FOR_SPEED = frozenset(
    ["seed", *(f"data.{name}" for name in DataConfig.model_fields)]
    + [f"optimizer.{name}" for name in OptimizerConfig.model_fields if name not in ("kind", "muon_steps")]
    + [f"schedule.{name}" for name in ScheduleConfig.model_fields]
    + ["training.epochs", "training.label_smoothing", "training.eval_every", "training.checkpoint_seconds"]
    + ["training.max_steps", "training.stop_at_accuracy"]
)
"""Fields that change how much there is to do, or the numbers, but not how fast a step or an evaluation is."""


@dataclass(frozen=True)
class Earlier:
    """A finished run of the same network, and its speed."""

    run: Run
    speed: Speed
    same: bool
    """Whether batch size, precision and the rest were the same too."""


def earlier_run(config: RunConfig, device: str, runs: Iterable[Run], has_gpu: bool) -> Earlier | None:
    """The newest finished run of this network on this one device, if there is one.

    'auto' is any GPU where this machine `has_gpu`, else anything but one: runs may have come from a GPU server.
    One with the same batch size, precision and so on is preferred; `runs` come newest first.
    """
    best: Earlier | None = None
    for run in runs:
        result, of = run.result, run.config
        if not result or not of or of.model != config.model or result.images_per_second <= 0 or result.devices > 1:
            continue
        kind = result.device.partition(":")[0]
        if (kind == "cuda") != has_gpu if device == "auto" else device not in (result.device, kind):
            continue
        same = speed_key(of, device) == speed_key(config, device)
        if same or best is None:
            best = Earlier(run, _speed_of(run), same)
        if same:
            break
    return best


def _speed_of(run: Run) -> Speed:
    result, config = run.result, run.config
    assert result and config
    evaluations = math.ceil(result.epochs / config.training.eval_every)
    evaluated = evaluations * result.test_images
    rest = result.total_seconds - result.train_seconds - result.eval_seconds
    return Speed(
        images_per_second=result.images_per_second,
        eval_images_per_second=evaluated / result.eval_seconds if result.eval_seconds > 0 else None,
        startup_seconds=max(0.0, rest),
        peak_memory_bytes=result.peak_memory_bytes,
        device=result.device,
        device_name=result.device_name,
        precision=result.precision,
    )
