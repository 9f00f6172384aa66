"""The learning rate as a pure function of the step; standard library only.

Called by the training loop for every step, and by the app and the command line to draw the rate over a run.
"""

from __future__ import annotations

import math

from fmnist_tui.config import IMAGE_SIZE, RunConfig, ScheduleConfig

ONE_CYCLE_RISE = 0.3
"""Share of the run a one-cycle schedule rises for where `warmup_epochs` is 0 (arXiv 1708.07120)."""
ONE_CYCLE_START = 1 / 25
"""A one-cycle schedule starts at this share of the peak rate."""


def learning_rate(step: int, config: RunConfig, steps_per_epoch: int, epochs: int | None = None) -> float:
    """Learning rate of the step with this index, counted from 0 over the whole run.

    `epochs` is the length of the run where it is no longer the configuration's. Epochs count from 1: a
    milestone of 60 means that epoch 60 is the first at the lower rate. Cosine (arXiv 1608.03983) and linear
    anneal per step over all steps of the run; `max_steps` cuts a run short and does not move its schedule.
    """
    lr, schedule = config.optimizer.lr, config.schedule
    total = (epochs or config.training.epochs) * steps_per_epoch
    warmup = schedule.warmup_epochs * steps_per_epoch
    if schedule.kind == "one_cycle":
        return _one_cycle(step, total, warmup or ONE_CYCLE_RISE * total, lr, schedule.min_lr)
    if step < warmup:
        return lr * min(1.0, (step + 1) / warmup)
    if schedule.kind == "cosine":
        return _cosine((step - warmup) / max(1.0, total - warmup), lr, schedule.min_lr)
    if schedule.kind == "linear":
        share = min(1.0, (step - warmup) / max(1.0, total - warmup))
        return lr + (schedule.min_lr - lr) * share
    if schedule.kind == "step":
        return lr * schedule.gamma ** milestones_passed(step // steps_per_epoch + 1, schedule)
    assert schedule.kind == "constant", schedule.kind
    return lr


def milestones_passed(epoch: int, schedule: ScheduleConfig) -> int:
    """How often the rate has dropped by the given epoch (counted from 1)."""
    return sum(epoch >= milestone for milestone in schedule.milestones)


def train_resolution(epoch: int, config: RunConfig, epochs: int | None = None) -> int:
    """Side in pixels of the training images in an epoch (counted from 1).

    The low resolution holds for the nearest whole number of epochs to its share of the run. `epochs` is the
    length of the run where it is no longer the configuration's.
    """
    return config.augment.low_resolution if epoch <= low_resolution_epochs(config, epochs) else IMAGE_SIZE


def low_resolution_epochs(config: RunConfig, epochs: int | None = None) -> int:
    """How many epochs, from the first, train at the low resolution."""
    if config.augment.low_resolution == IMAGE_SIZE:
        return 0
    return round(config.augment.low_resolution_share * (epochs or config.training.epochs))


def mixes(epoch: int, config: RunConfig, epochs: int | None = None) -> bool:
    """Whether an epoch (counted from 1) has CutMix: the nearest whole number of epochs to its share has."""
    augment = config.augment
    return augment.cutmix_probability > 0 and epoch <= round(augment.cutmix_share * (epochs or config.training.epochs))


def work(position: float, config: RunConfig, epochs: int | None = None) -> float:
    """Arithmetic of the run up to a position in epochs, in epochs at full resolution.

    A convolutional network's arithmetic goes with the number of pixels.
    """
    low = min(position, low_resolution_epochs(config, epochs))
    return low * (config.augment.low_resolution / IMAGE_SIZE) ** 2 + position - low


def _cosine(share: float, start: float, end: float) -> float:
    """Half a cosine from `start` (share 0) to `end` (share 1)."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


def _one_cycle(step: int, total: int, rise: float, peak: float, end: float) -> float:
    """Up to the peak over `rise` steps, then down to `end` at the last step; both halves of a cosine."""
    top, last = rise - 1.0, total - 1.0
    if step < top:
        return _cosine(step / top, peak * ONE_CYCLE_START, peak)
    return _cosine((step - top) / max(1.0, last - top), peak, end)
