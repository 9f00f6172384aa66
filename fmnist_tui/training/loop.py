"""The training loop: the file to read first.

`train` takes a run from where it stands to its end: build the network, go on from a checkpoint if there is
one, and epoch by epoch train, evaluate, write a checkpoint, and look at what was asked for meanwhile. Called
by the worker (`training.__main__`). The paperwork around the steps is the Desk's.
"""

from __future__ import annotations

import time

import torch

from fmnist_tui.config import IMAGE_SIZE
from fmnist_tui.data.augment import epoch_flips
from fmnist_tui.data.batches import (
    DeviceDataset,
    batch_indices,
    epoch_permutation,
    step_seed,
    train_batch,
)
from fmnist_tui.data.split import split_of
from fmnist_tui.fields import steps_per_epoch
from fmnist_tui.models import begin_epoch, build_model, initialise_from
from fmnist_tui.training import compiling
from fmnist_tui.training.bystander import Bystander
from fmnist_tui.training.desk import Desk
from fmnist_tui.training.evaluate import evaluate
from fmnist_tui.training.halfway import LongSteps
from fmnist_tui.training.job import Job
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import apply_global_settings
from fmnist_tui.training.progress import Progress
from fmnist_tui.training.schedule import learning_rate, mixes, train_resolution
from fmnist_tui.training.team_step import build_step, with_batch_norm


def train(job: Job) -> None:
    """Train the run to its end and write its result.

    Raises Stopped (a checkpoint is on disk), CutShort (asked to stop before there was anything to keep),
    NonFiniteLoss, OutOfMemory, CheckpointError, or OSError where the result could not be written.
    """
    config, execution, reporter, team = job.config, job.execution, job.reporter, job.team
    device = execution.device
    with job.stop_signal.may_cut():
        apply_global_settings(execution, config.training.deterministic)
        split = split_of(job.images, config.data)
        train_set = DeviceDataset(split.train_images, split.train_labels, device)
        test_set = DeviceDataset(split.test_images, split.test_labels, device)
        per_epoch = steps_per_epoch(config, len(train_set))

        torch.manual_seed(step_seed(config.seed, "weights", 0, 0))
        model = build_model(config.model)
        if team is not None:
            model = with_batch_norm(model, config, device)
        model = model.to(device).to(memory_format=execution.memory_format)
        optimizer = build_optimizer(model, config.optimizer, execution.dtype, execution.fused)
        step = build_step(model, optimizer, config, execution, team)
        long_steps = LongSteps(step, job.stop_signal)
    progress = Progress(config.training.epochs, per_epoch)
    desk_of = Desk if team is None or team.rank == 0 else Bystander
    desk = desk_of(job, model, optimizer, step, progress, len(train_set), len(test_set))
    if desk.begin():
        initialise_from(model, train_set.images)
    if team is None:
        with job.stop_signal.may_cut():
            _settle_compilation(desk, train_set, test_set)
    else:
        team.check_same_start(progress.epoch, progress.step)

    while not progress.done:
        reporter.update(phase="training", epoch=progress.epoch)
        permutation = epoch_permutation(len(train_set), config.seed, progress.epoch, device)
        flips = epoch_flips(config.augment, len(train_set), config.seed, progress.epoch, device)
        size = train_resolution(progress.epoch, config, progress.epochs)
        step.mixing = mixes(progress.epoch, config, progress.epochs)
        begin_epoch(model, progress.epoch, progress.epochs)
        started = time.perf_counter()
        desk.restart_clocks()
        while progress.batch < per_epoch and not desk.at_step_limit:
            images, labels = train_batch(train_set, permutation, progress.batch, config.training.batch_size)
            lr = learning_rate(progress.step, config, per_epoch, progress.epochs)
            indices = batch_indices(permutation, progress.batch, config.training.batch_size)
            flip = None if flips is None else flips.index_select(0, indices)
            with desk.unless_stopped(started), long_steps.under_way(size):
                loss, correct = step(images, labels, lr, progress.epoch, progress.batch, flip, size)
            progress.count(loss, correct, len(labels))
            desk.logbook.losses.add(loss, len(labels), progress.step, progress.epoch, progress.batch, lr)
            desk.after_step()
            desk.tuning.follow_load(len(labels) * (size or IMAGE_SIZE) ** 2)
            if desk.checkpoint_due:
                progress.train_seconds += time.perf_counter() - started
                desk.save_checkpoint()
                desk.stop_if_asked()
                started = time.perf_counter()
                desk.restart_clocks()
        desk.logbook.losses.end_line()
        desk.collect_losses(wait=True)
        progress.train_seconds += time.perf_counter() - started

        if desk.evaluation_due:
            reporter.update(phase="evaluating")
            started = time.perf_counter()
            if team is None:
                with desk.unless_stopped(), job.stop_signal.may_cut():
                    evaluation = evaluate(
                        model, step.eval_network, test_set, execution, config.training.tta, desk.requests.look
                    )
            else:
                evaluation = team.evaluate(model, test_set, execution, config.training.tta)
            seconds = time.perf_counter() - started
            desk.evaluations.take_in(evaluation, seconds)
        desk.end_epoch()

    desk.finish(split)


def _settle_compilation(desk: Desk, train_set: DeviceDataset, test_set: DeviceDataset) -> None:
    """Let the step's network be compiled where that pays, or was asked for; what was chosen becomes events."""
    step, progress = desk.step, desk.progress
    if progress.done or not compiling.may_compile(step, train_set):
        return
    desk.reporter.update(phase="compiling")
    left = progress.steps - progress.step
    settled = compiling.settle(step, train_set, test_set, progress.epoch, progress.epochs, left)
    desk.tuning.chose_compile(settled.training)
    if settled.evaluation is not None:
        desk.tuning.chose_compile(settled.evaluation, "evaluation")
