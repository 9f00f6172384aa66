"""How far a run is: what a checkpoint keeps beside the weights, and the estimate of the time left."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.records import LONGEST_SECONDS
from fmnist_tui.training.schedule import work


@dataclass
class Progress:
    """The position of a run and what it has reached. Plain values and tensors: it goes into the checkpoint."""

    epochs: int
    """Epochs in all; an edit can change it."""
    steps_per_epoch: int
    stop_at_accuracy: float | None = None
    epoch: int = 1
    """The epoch at work, counted from 1."""
    batch: int = 0
    """Batches of it done."""
    step: int = 0
    """Steps done in all."""
    test_accuracy: float | None = None
    test_loss: float | None = None
    tta_accuracy: float | None = None
    train_accuracy: float | None = None
    evaluated_epoch: int = 0
    best_accuracy: float | None = None
    best_epoch: int = 0
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    active_seconds: float = 0.0
    images_trained: int = 0
    starts: int = 0
    micro_batch: int = 0
    threads: int = 0
    """CPU threads at work; a deterministic run goes on with as many, on any machine."""
    done: bool = False
    """No epoch is left: the accuracy asked for was reached, or the last epoch or step limit is behind."""
    energy_joules: float | None = None
    epoch_images: int = 0
    epoch_loss: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float32))
    """Sum of the epoch's losses, each by its images; () float32 on the device."""
    epoch_correct: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    """Correct predictions among the epoch's training images; () int64 on the device."""

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def last_trained_epoch(self) -> int:
        """The epoch of the last step that was taken; the first before that."""
        return self.epoch - 1 if self.batch == 0 and self.epoch > 1 else self.epoch

    @property
    def at_an_end(self) -> bool:
        """Whether an evaluated epoch has just ended, and nothing was trained since: a run may end here."""
        return self.batch == 0 and 0 < self.evaluated_epoch == self.epoch - 1

    @property
    def at_best(self) -> bool:
        """Whether the best epoch has just ended, and nothing was trained since."""
        return self.batch == 0 and 0 < self.best_epoch == self.epoch - 1

    def reached(self, accuracy: float) -> bool:
        """Whether the newest evaluation came to this test accuracy."""
        return self.test_accuracy is not None and self.test_accuracy >= accuracy

    def start_epoch(self, device: torch.device) -> None:
        """Forget the sums of the epoch before."""
        self.batch, self.epoch_images = 0, 0
        self.epoch_loss = torch.zeros((), dtype=torch.float32, device=device)
        self.epoch_correct = torch.zeros((), dtype=torch.int64, device=device)

    def count(self, loss: Tensor, correct: Tensor, images: int) -> None:
        """One more step; nothing here waits for the device."""
        self.step += 1
        self.batch += 1
        self.epoch_images += images
        self.images_trained += images
        self.epoch_loss += loss * images
        self.epoch_correct += correct

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """From a checkpoint, its tensors on the device."""
        for name, value in state.items():
            setattr(self, name, value.to(device) if isinstance(value, Tensor) else value)

    def summary(self) -> dict[str, Any]:
        """The plain values, for messages."""
        return {key: value for key, value in asdict(self).items() if not isinstance(value, Tensor)}


class Pace:
    """Time per step and per evaluation as measured since this start, and what is left by them.

    The first line of steps is left out: it holds warm-up and compilation.
    """

    def __init__(self, config: RunConfig, test_images: int) -> None:
        self._config = config
        self._test_images = test_images
        self._speeds: deque[float] = deque(maxlen=50)
        self._full_speeds: deque[float] = deque(maxlen=50)
        """The same in images at full resolution."""
        self._lines = 0
        self._eval_seconds: float | None = None

    def line(self, images_per_second: float, epoch: int = 1, epochs: int | None = None) -> None:
        """The speed of a metric line, in which epoch of how many."""
        self._lines += 1
        if self._lines > 1:
            self._speeds.append(images_per_second)
            each = work(epoch, self._config, epochs) - work(epoch - 1, self._config, epochs)
            self._full_speeds.append(images_per_second * each)

    def evaluation(self, seconds: float) -> None:
        """An evaluation's time."""
        self._eval_seconds = seconds

    @property
    def images_per_second(self) -> float | None:
        """Median of the recent lines; None until the second line."""
        return statistics.median(self._speeds) if self._speeds else None

    def left(self, progress: Progress, images_per_epoch: int) -> float | None:
        """Seconds the rest of the run takes, evaluations included; None until it can be told."""
        speed = self.images_per_second
        if speed is None:
            return None
        last_epoch, share = progress.epochs, progress.batch / progress.steps_per_epoch
        position = progress.epoch - 1 + share
        end: float = progress.epochs
        limit = self._config.training.max_steps
        if limit is not None:
            end = min(end, position + (limit - progress.step) / progress.steps_per_epoch)
            last_epoch = min(last_epoch, -(-limit // progress.steps_per_epoch))
        evaluations = len(evaluated_epochs(progress.epoch, last_epoch, self._config.training.eval_every))
        # Forward only is about a third of a training step; replaced by the first measured evaluation.
        each = self._eval_seconds if self._eval_seconds is not None else self._test_images / (3.0 * speed)
        left = work(end, self._config, progress.epochs) - work(position, self._config, progress.epochs)
        seconds = max(0.0, left * images_per_epoch / statistics.median(self._full_speeds) + evaluations * each)
        return seconds if seconds <= LONGEST_SECONDS else None  # a status does not hold more


def evaluated_epochs(first: int, last: int, every: int) -> range | list[int]:
    """The epochs from `first` to `last` that end in an evaluation: each multiple of `every`, and the last."""
    multiples = range(-(-first // every) * every, last + 1, every)
    return multiples if last in multiples or last < first else [*multiples, last]
