"""The training step of a run: of a process alone, or a rank's part of it with the exchange of gradients.

Called by the training loop and by `rig`, which measures. `distributed` says which part is whose.
"""

from __future__ import annotations

import contextlib
import warnings

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fmnist_tui.config import ConfigError, FieldError, RunConfig
from fmnist_tui.data import augment
from fmnist_tui.data.batches import step_seed
from fmnist_tui.models.noise import part_of_batch
from fmnist_tui.remedies import remedy
from fmnist_tui.training.compiling import compiled
from fmnist_tui.training.distributed import Team, part_of
from fmnist_tui.training.precision import Execution
from fmnist_tui.training.step import NONE_FITS, OutOfMemory, TrainStep


def with_batch_norm(model: nn.Module, config: RunConfig, device: torch.device) -> nn.Module:
    """The network with synchronised batch norm, where the configuration wants it. Raises ConfigError on a CPU."""
    if not config.training.sync_batch_norm:
        return model
    if device.type != "cuda":
        message = (
            "torch synchronises batch norm on CUDA only; leave it out (each process then uses the statistics of its "
            "own images), or train on GPUs"
        )
        raise ConfigError([FieldError("training.sync_batch_norm", True, message)])
    synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return synchronised


class TeamStep(TrainStep):
    """A rank's part of a training step; loss and gradients are those of the whole batch on every rank.

    Gradients: DistributedDataParallel averages over the ranks, so each rank's loss counts its share of the batch
    times the number of ranks. That equals one process on the whole batch but for batch norm's statistics, which are
    of a rank's own images where they are not synchronised, as those of micro-batches are.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        config: RunConfig,
        execution: Execution,
        team: Team,
    ) -> None:
        self.team = team
        self._total = 0
        self._labels = torch.empty(0, dtype=torch.int64)
        self._seed = 0
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # for what torch 2.13 lacks yet
            self.parallel = DistributedDataParallel(
                model,
                device_ids=[team.device] if team.device.type == "cuda" else None,
                broadcast_buffers=False,  # an evaluation shares them, which is when they are used
                gradient_as_bucket_view=True,
                find_unused_parameters=hasattr(model, "begin_epoch"),  # it may freeze a parameter on its way
            )
        super().__init__(model, optimizer, config, execution)

    def use(self, mode: str) -> None:
        """As `TrainStep`; what is compiled has the exchange of gradients around it."""
        self.compile = mode
        self.network = self.parallel if mode == "off" else compiled(self.parallel, mode)

    def _passes(self, images: int) -> int:
        """Micro-batches of every rank, for so many images of all ranks: as many as the largest part takes."""
        return -(-part_of(images, 0, self.team.size).stop // self.micro_batch)

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        lr: float,
        epoch: int,
        step: int,
        flip: Tensor | None = None,
        size: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `TrainStep`: takes the whole batch and returns the whole batch's loss and correct predictions."""
        self._seed = step_seed(self.config.seed, "network", epoch, step)
        self._total, self._labels = len(labels), labels
        start, stop, _ = self.team.part(self._total)
        loss, correct = super().__call__(images, labels[start:stop], lr, epoch, step, flip, size)
        return self.team.add_up(loss, correct, self._total)

    def _own_part(self, images: Tensor, draws: augment.AugmentDraws) -> tuple[Tensor, augment.AugmentDraws]:
        start, stop, _ = self.team.part(len(images))
        return images[start:stop], augment.AugmentDraws(*(values[start:stop] for values in draws))

    def _mixed(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """An image's partner may be another rank's: all is mixed before the part is taken."""
        mixed, targets = super()._mixed(inputs, self._labels)
        start, stop, _ = self.team.part(len(mixed))
        return mixed[start:stop], targets[start:stop]

    def _forward_backward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Every rank makes the same number of passes; the gradients are exchanged in the last one.

        Each pass draws the noise of the whole batch and takes its own images' share.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        size = self.team.size
        start, _, share = self.team.part(self._total)
        passes = self._passes(self._total)
        total_loss = torch.zeros((), device=inputs.device)
        total_correct = torch.zeros((), dtype=torch.int64, device=inputs.device)
        network = self.network if self._total == self.config.training.batch_size else self.parallel
        pairs = list(zip(inputs.tensor_split(passes), labels.tensor_split(passes), strict=True))
        for index, (part, target) in enumerate(pairs):
            exchange = contextlib.nullcontext() if index == len(pairs) - 1 else self.parallel.no_sync()
            torch.manual_seed(self._seed)
            with part_of_batch(self._total, start), exchange:
                loss, correct = self._one_pass(network, part, target, share * len(target) / len(labels), scale=size)
            total_loss += loss
            total_correct += correct
            start += len(target)
        return total_loss, total_correct

    def _halve_or_raise(self, asked: str, inputs: Tensor, labels: Tensor) -> None:
        """Always raises: the other ranks wait in the middle of their exchange, so nothing can be tried any more."""
        tried = min(self.micro_batch, len(labels))
        where = f"rank {self.team.rank}, {self.team.device}"
        out = f"out of memory on {where} with {tried} images at once ({asked})"
        if tried > 1:
            raise OutOfMemory(out, remedy("smaller micro batch", half=(tried + 1) // 2))
        raise OutOfMemory(f"{out}; {NONE_FITS}")


def build_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, config: RunConfig, execution: Execution, team: Team | None
) -> TrainStep:
    """The training step of a process alone, or of one among a team's."""
    if team is None:
        return TrainStep(model, optimizer, config, execution)
    return TeamStep(model, optimizer, config, execution, team)
