"""A configuration set up to be measured: its images, network, optimizer and step, as a run has them.

Used by the calibration of the New run screen and by `bench`, so that both time what trains.
"""

from __future__ import annotations

import itertools
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fmnist_tui.config import RunConfig
from fmnist_tui.data import augment
from fmnist_tui.data.batches import DeviceDataset, batch_indices, epoch_permutation, step_seed, train_batch
from fmnist_tui.data.source import Images
from fmnist_tui.data.split import split
from fmnist_tui.fields import steps_per_epoch
from fmnist_tui.models import begin_epoch, build_model, initialise_from
from fmnist_tui.training import compiling
from fmnist_tui.training.distributed import Team
from fmnist_tui.training.evaluate import evaluate
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import Execution, apply_global_settings
from fmnist_tui.training.schedule import mixes, train_resolution
from fmnist_tui.training.team_step import build_step, with_batch_norm

RATE_SHARE = 1e-3
"""Of the configuration's learning rate: the weights hardly move, so nothing overflows without a warm-up."""
WARM_UP_STEPS = {"cuda": 10}
"""Steps not counted: the first ones allocate, choose algorithms, compile and capture. 2 where none is named."""
STEPS_AT_ONCE = {"cuda": 20}
"""Steps handed to the device before the host waits for it, as in a run; one where the host computes itself."""


class Typical(NamedTuple):
    """The middle of several measurements, and where all but the lowest and the highest tenth of them lie."""

    median: float
    low: float
    high: float


def typical(values: list[float]) -> Typical:
    """Median, tenth and ninetieth percentile of at least one value; of under ten the lowest and the highest."""
    ordered = sorted(values)
    tenth = len(ordered) // 10
    return Typical(float(np.median(ordered)), ordered[tenth], ordered[-1 - tenth])


class Rig:
    """Runs real steps on real images and says how long they took; keeps nothing.

    `batch_size` starts as the configuration's and may be changed between steps. `begin` chooses the epoch whose
    steps are taken, and so the images' side, `size`.
    """

    def __init__(
        self,
        config: RunConfig,
        execution: Execution,
        images: Images,
        eval_images: int | None = None,
        team: Team | None = None,
    ) -> None:
        """`eval_images` is how many test images are put on the device; all of them for None.

        With a `team` the steps are a rank's: the others must take as many at the same time.
        """
        self.config, self.execution = config, execution
        self.device = execution.device
        apply_global_settings(execution, config.training.deterministic)
        parts = split(images, config.data.split)
        self.train_set = DeviceDataset(parts.train_images, parts.train_labels, self.device)
        few = slice(0, eval_images)
        self.test_set = DeviceDataset(parts.test_images[few], parts.test_labels[few], self.device)
        torch.manual_seed(step_seed(config.seed, "weights", 0, 0))
        model = build_model(config.model)
        if team is not None:
            model = with_batch_norm(model, config, self.device)
        self.model = model.to(self.device).to(memory_format=execution.memory_format)
        initialise_from(self.model, self.train_set.images)
        optimizer = build_optimizer(self.model, config.optimizer, execution.dtype, execution.fused)
        self.step = build_step(self.model, optimizer, config, execution, team)
        self.team = team
        self.batch_size = min(config.training.batch_size, len(self.train_set))
        self.steps_done = 0
        self.begin(1)

    def begin(self, epoch: int) -> None:
        """The steps from here on are those of `epoch`, counted from 1."""
        self.epoch = epoch
        self.size = train_resolution(epoch, self.config)
        self.step.mixing = mixes(epoch, self.config)
        begin_epoch(self.model, epoch, self.config.training.epochs)
        self._permutation = epoch_permutation(len(self.train_set), self.config.seed, epoch, self.device)
        self._flips = augment.epoch_flips(
            self.config.augment, len(self.train_set), self.config.seed, epoch, self.device
        )

    def settle_compilation(self) -> bool:
        """Compile the network where a whole run would; False where there is nothing to try or to check.

        `execution` says afterwards what was chosen, and why. A step's network is compiled for whole batches of the
        configuration's size: with another `batch_size` it runs as it is.
        """
        step, training = self.step, self.config.training
        if self.team is not None or not compiling.may_compile(step, self.train_set):
            return False
        if self.batch_size != training.batch_size:
            step.use("off")
            reason = f"measured with {self.batch_size} images, compiling is for batches of {training.batch_size}"
            self.execution = self.execution.with_compile("off", reason)
            return False
        train_images, _ = self.config.data.sizes
        steps = training.epochs * steps_per_epoch(self.config, train_images)
        steps = min(steps, training.max_steps or steps)
        settled = compiling.settle(step, self.train_set, self.test_set, self.epoch, training.epochs, steps)
        choice = settled.training
        self.execution = self.execution.with_compile(choice.mode, "; ".join([choice.reason, *choice.problems]))
        return True

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def _place(self) -> int:
        """The index of the next batch: whole ones only, and from the first again after the last."""
        return self.steps_done % max(1, len(self.train_set) // self.batch_size)

    def take_step(self) -> Tensor:
        """One step, from gathering the images to the update. Returns the loss () on the device, without waiting."""
        place = self._place()
        images, labels = train_batch(self.train_set, self._permutation, place, self.batch_size)
        flip = None
        if self._flips is not None:
            flip = self._flips.index_select(0, batch_indices(self._permutation, place, self.batch_size))
        lr = self.config.optimizer.lr * RATE_SHARE
        loss, _ = self.step(images, labels, lr, self.epoch, self.steps_done, flip, self.size)
        self.steps_done += 1
        return loss

    def warm_up(self) -> float:
        """Take the steps that do not count; returns the seconds they took."""
        return self.run_steps(WARM_UP_STEPS.get(self.device.type, 2))

    def run_steps(self, count: int) -> float:
        """Seconds for `count` steps on end, the device idle before and after."""
        self.synchronize()
        started = time.perf_counter()
        for _ in range(count):
            self.take_step()
        self.synchronize()
        return time.perf_counter() - started

    def time_steps(self, count: int) -> list[float]:
        """Seconds of each of `count` steps. On CUDA from events, so that the host need not wait between them."""
        if self.device.type != "cuda":
            return [self.run_steps(1) for _ in range(count)]
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
        self.synchronize()
        marks[0].record()
        for mark in marks[1:]:
            self.take_step()
            mark.record()
        self.synchronize()
        return [before.elapsed_time(after) / 1000 for before, after in itertools.pairwise(marks)]

    def prepare_batches(self, count: int) -> float:
        """Seconds for `count` batches gathered and augmented as a step does it, and nothing else."""
        generator = torch.Generator(self.device)
        execution, config = self.execution, self.config.augment
        self.synchronize()
        started = time.perf_counter()
        for _ in range(count):
            images, _ = train_batch(self.train_set, self._permutation, self._place(), self.batch_size)
            generator.manual_seed(step_seed(self.config.seed, "augment", self.epoch, self.steps_done))
            draws = augment.draw(len(images), config, generator, self.device)
            augment.apply(images, draws, config, execution.dtype, execution.memory_format, self.size)
            self.steps_done += 1
        self.synchronize()
        return time.perf_counter() - started

    def evaluate(self, count: int) -> float:
        """Seconds for evaluating the first `count` test images."""
        self.synchronize()
        started = time.perf_counter()
        evaluate(self.model, self.step.eval_network, self.test_set.first(count), self.execution)
        return time.perf_counter() - started
