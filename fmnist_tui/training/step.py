"""One training step: augment, forward, backward, update; in one batch or in micro-batches.

Called by the training loop, by calibration and by bench, so that what is measured is what trains. Nothing
here waits for the device, but for Muon in fp16: torch's scaler reads then whether a gradient overflowed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_tui.config import RunConfig
from fmnist_tui.data import augment
from fmnist_tui.data.batches import step_seed
from fmnist_tui.remedies import Told, remedy
from fmnist_tui.training.compiling import compiled
from fmnist_tui.training.graphs import StepGraphs
from fmnist_tui.training.optim import set_learning_rate
from fmnist_tui.training.precision import Execution

NONE_FITS = "not even one image fits: a smaller model or another device is needed"


class OutOfMemory(Told, RuntimeError):
    """A step did not fit into memory; the text says how much was asked for and what would fit."""


def micro_batch_size(config: RunConfig) -> int:
    """Images at once a run starts with."""
    setting = config.training.micro_batch
    return setting if isinstance(setting, int) else config.training.batch_size


class TrainStep:
    """Trains a model in place, one batch a call.

    `micro_batch` images are on their way at once; the gradients of a larger batch are accumulated, each
    weighted by its share, which equals the whole batch but for batch-norm's statistics (those are of a
    micro-batch). With `micro_batch = "auto"` it is halved whenever memory runs out; `halved` says to what.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, config: RunConfig, execution: Execution
    ) -> None:
        self.model = model
        self.network: Callable[[Tensor], Tensor] = model
        """What trains: the model, or its compiled form, which takes whole micro-batches only."""
        self.eval_network: Callable[[Tensor], Tensor] = model
        """What evaluates whole batches."""
        self.optimizer = optimizer
        self.config = config
        self.execution = execution
        self.micro_batch = micro_batch_size(config)
        self.generator = torch.Generator(execution.device)
        self.label_smoothing = config.training.label_smoothing
        self.mixing = config.augment.cutmix_probability > 0
        """Whether the steps from here on have CutMix; `schedule.mixes` says it of an epoch."""
        self.scaler = torch.amp.GradScaler(execution.device.type, enabled=execution.precision == "fp16")
        self.before_update: Callable[[], None] = lambda: None
        """Called in each step when it begins to change weights."""
        self.graphs: StepGraphs | None = None
        self.use(execution.compile)
        if execution.cuda_graphs:
            self.graphs = StepGraphs(self)

    def use(self, mode: str) -> None:
        """Run the network from now on in this mode of torch.compile, or with 'off' as it is."""
        self.compile = mode
        self.network = self.model if mode == "off" else compiled(self.model, mode)
        if self.graphs is not None:
            self.graphs.forget()

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
        """Train on images (B, 28, 28) uint8 and labels (B,) int64; `step` counts within the epoch.

        `flip` (B,) bool says which images are mirrored where that is not to be drawn; `size` is the side they
        are resized to. Returns the mean loss () float32, label smoothing included, and the number of correct
        predictions () int64, on the device.
        Raises OutOfMemory where the batch does not fit and may not be split.
        """
        self._seed_draws(epoch, step)
        set_learning_rate(self.optimizer, lr)
        if self.graphs is not None:
            return self.graphs.take(images, labels, lr, flip, size)
        return self.take(images, labels, flip, size)

    def take(self, images: Tensor, labels: Tensor, flip: Tensor | None, size: int | None) -> tuple[Tensor, Tensor]:
        """The step with the random generators and the learning rate as they stand, kernel by kernel."""
        inputs, targets = self._batch(images, labels, flip, size)
        while True:
            try:
                loss, correct = self._forward_backward(inputs, targets)
                break
            except torch.OutOfMemoryError as error:
                asked = str(error).split("\n")[0].rstrip(".")
            # Only here: the error, while it is being handled, holds every activation of the pass that failed.
            self._halve_or_raise(asked, inputs, targets)
        self._update()
        return loss, correct

    def compute(self, images: Tensor, labels: Tensor, flip: Tensor | None, size: int | None) -> tuple[Tensor, Tensor]:
        """The same without a remedy for want of memory, so that the same kernels follow one another every time."""
        loss, correct = self._forward_backward(*self._batch(images, labels, flip, size))
        self._update()
        return loss, correct

    def _update(self) -> None:
        self.before_update()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def inputs(
        self, images: Tensor, epoch: int, step: int, flip: Tensor | None = None, size: int | None = None
    ) -> Tensor:
        """The augmented and normalised batch (B, 1, size, size) of a step, before CutMix; seeds the network's noise."""
        self._seed_draws(epoch, step)
        return self._augmented(images, flip, size)

    def _seed_draws(self, epoch: int, step: int) -> None:
        """Let the draws that follow be those of this step."""
        seed = self.config.seed
        self.generator.manual_seed(step_seed(seed, "augment", epoch, step))
        torch.manual_seed(step_seed(seed, "network", epoch, step))  # dropout and Shake-Shake's branch weights

    def _augmented(self, images: Tensor, flip: Tensor | None, size: int | None, whole: bool = False) -> Tensor:
        """This process's part of the batch, or all of it."""
        draws = augment.draw(len(images), self.config.augment, self.generator, self.execution.device)
        if flip is not None:
            draws = draws._replace(flip=flip)
        if not whole:
            images, draws = self._own_part(images, draws)
        execution = self.execution
        return augment.apply(images, draws, self.config.augment, execution.dtype, execution.memory_format, size)

    def _batch(self, images: Tensor, labels: Tensor, flip: Tensor | None, size: int | None) -> tuple[Tensor, Tensor]:
        """What this process trains on: inputs, and labels (B,) or with CutMix targets (B, 10)."""
        if not self.mixing:
            return self._augmented(images, flip, size), labels
        return self._mixed(self._augmented(images, flip, size, whole=True), labels)

    def _mixed(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """This process's part of the whole batch after CutMix; `labels` are its own."""
        return augment.cutmix(inputs, labels, self.config.augment, self.generator)

    def _forward_backward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        total_loss = torch.zeros((), device=inputs.device)
        total_correct = torch.zeros((), dtype=torch.int64, device=inputs.device)
        for part, target in zip(inputs.split(self.micro_batch), labels.split(self.micro_batch), strict=True):
            # A short last batch would be compiled, and captured, for itself: 48 of 30,000 images aren't worth it.
            network = self.network if len(part) == self.micro_batch else self.model
            loss, correct = self._one_pass(network, part, target, len(target) / len(labels))
            total_loss += loss
            total_correct += correct
        return total_loss, total_correct

    def _one_pass(
        self, network: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor, share: float, scale: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Add to the gradients for some images, whose mean loss counts as `share` of the batch's.

        `labels` are (B,) int64, or (B, 10) probabilities, of which the largest is what counts as correct.
        Returns that share of the loss and the correct predictions; `scale` is on the gradients only.
        """
        with self.execution.autocast():
            logits = network(inputs)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing) * share
        self.scaler.scale(loss * scale if scale != 1.0 else loss).backward()
        right = labels if labels.dim() == 1 else labels.argmax(1)
        return loss.detach(), (logits.detach().argmax(1) == right).sum()

    def _own_part(self, images: Tensor, draws: augment.AugmentDraws) -> tuple[Tensor, augment.AugmentDraws]:
        """What this process has to do of a batch: all of it, where it is alone."""
        return images, draws

    def _halve_or_raise(self, asked: str, inputs: Tensor, labels: Tensor) -> None:
        """Go on with half the micro-batch where the configuration allows it and half is at least 1.

        First without what recorded steps hold; and without compilation, since each size would be compiled anew.
        `asked` is what torch says of the memory it could not have.
        """
        if self.graphs is not None and self.graphs.give_way():
            self._release()  # the short last batch of an epoch did not fit beside the others' record
            return
        if self.compile != "off":
            self.eval_network = self.model  # else the next evaluation would be compiled again
            self.use("off")
            torch._dynamo.reset()
        automatic = self.config.training.micro_batch == "auto"
        if automatic and self.micro_batch > 1:
            self._release()
            self.micro_batch = (self.micro_batch + 1) // 2
            return
        tried = self.micro_batch
        fits = 0 if automatic else self._largest_that_fits(inputs, labels)
        out = f"out of memory with training.micro_batch = {tried} images at once ({asked})"
        if fits:
            raise OutOfMemory(f"{out}; {fits} fit", remedy("micro batch", fits=fits))
        raise OutOfMemory(f"{out}; {NONE_FITS}")

    def _largest_that_fits(self, inputs: Tensor, labels: Tensor) -> int:
        """The largest halving of the micro-batch a forward and backward pass fits with; 0 where none does."""
        while self.micro_batch > 1:
            self._release()
            self.micro_batch = (self.micro_batch + 1) // 2
            try:
                self._forward_backward(inputs[: self.micro_batch], labels[: self.micro_batch])
                return self.micro_batch
            except torch.OutOfMemoryError:
                continue
        return 0

    def _release(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.execution.device.type == "cuda":
            torch.cuda.empty_cache()
