"""The loop most people would write for these networks, to measure ours against.

torchvision's transforms on one image at a time in a Dataset, a DataLoader with workers, fp32, torch's own memory
format and SGD, `.item()` for the running loss. It trains the same network on the same images, and leaves torch as it
finds it: `plain_process` runs it in a process that has none of the trainer's settings.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms
from torchvision.transforms import v2

from fmnist_tui.config import CLASSES, IMAGE_SIZE, AugmentConfig, RunConfig
from fmnist_tui.data.batches import PIXEL_MEAN, PIXEL_STD
from fmnist_tui.data.split import Split
from fmnist_tui.models import begin_epoch, build_model, initialise_from
from fmnist_tui.training.rig import RATE_SHARE
from fmnist_tui.training.schedule import mixes

WORKERS = 2
PREFETCHED = 2 * WORKERS
"""Batches the workers hold ready by the DataLoader's own default."""


class Cutout:
    """Hides a square of one normalised image (1, H, W), as the code beside the Cutout paper does."""

    def __init__(self, config: AugmentConfig) -> None:
        self.size, self.probability, self.inside = (
            config.cutout_size,
            config.cutout_probability,
            config.cutout_inside,
        )

    def __call__(self, image: Tensor) -> Tensor:
        """The image with the square set to 0, the mean."""
        if float(torch.rand(())) >= self.probability:
            return image
        side = image.shape[-1]
        before, after = self.size // 2, self.size - self.size // 2
        first, last = (before, side - after) if self.inside else (0, side - 1)
        row, column = (int(torch.randint(first, last + 1, ())) for _ in range(2))
        image[:, max(0, row - before) : row + after, max(0, column - before) : column + after] = 0.0
        return image


def plain_transforms(config: AugmentConfig) -> transforms.Compose:
    """What `config` asks for, with torchvision's transforms, from a PIL image to (1, 28, 28) float32."""
    steps: list[Any] = []
    if config.crop_padding:
        steps.append(transforms.RandomCrop(IMAGE_SIZE, padding=config.crop_padding))
    if config.flip:
        steps.append(transforms.RandomHorizontalFlip())
    steps += [transforms.ToTensor(), transforms.Normalize((PIXEL_MEAN,), (PIXEL_STD,))]
    if config.cutout_size:
        steps.append(Cutout(config))
    return transforms.Compose(steps)


class PlainDataset(Dataset[tuple[Tensor, int]]):
    """One image at a time, from the array to a PIL image to a tensor, as torchvision's FashionMNIST does it."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], transform: transforms.Compose) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class PlainLoop:
    """Trains `config`'s network in a plain loop on `device`; an epoch's arithmetic is that of `epoch`."""

    def __init__(self, config: RunConfig, images: Split, device: torch.device, batch_size: int, epoch: int) -> None:
        self.device, self.batch_size = device, batch_size
        self.label_smoothing = config.training.label_smoothing
        self.cutmix = v2.CutMix(num_classes=len(CLASSES))
        self.mixed_share = config.augment.cutmix_probability if mixes(epoch, config) else 0.0
        self.dataset = PlainDataset(images.train_images, images.train_labels, plain_transforms(config.augment))
        self.model: nn.Module = build_model(config.model)
        initialise_from(self.model, torch.from_numpy(images.train_images.copy()))
        begin_epoch(self.model, epoch, config.training.epochs)
        self.model.to(device).train()
        self.optimizer = torch.optim.SGD(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=config.optimizer.lr * RATE_SHARE,
            momentum=config.optimizer.momentum,
            nesterov=config.optimizer.nesterov,
            weight_decay=config.optimizer.weight_decay,
        )

    def _loader(self, batches: int) -> DataLoader[tuple[Tensor, int]]:
        sampler = RandomSampler(self.dataset, num_samples=batches * self.batch_size)
        return DataLoader(
            self.dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=WORKERS,
            pin_memory=self.device.type == "cuda",
        )

    def train(self, count: int) -> tuple[float, list[float]]:
        """Seconds for `count` steps, and the loss of each.

        The first step of a new set of workers is not counted, and they always have batches left to prepare.
        """
        losses: list[float] = []
        started = ended = 0.0
        for step, (images, labels) in enumerate(self._loader(count + 1 + PREFETCHED)):
            images, labels = images.to(self.device), labels.to(self.device)
            if float(torch.rand(())) < self.mixed_share:
                images, labels = self.cutmix(images, labels)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(images), labels, label_smoothing=self.label_smoothing)
            loss.backward()
            self.optimizer.step()
            value = loss.item()
            if step == 0:
                started = time.perf_counter()
                continue
            losses.append(value)
            if step == count:
                ended = time.perf_counter()  # before the workers are ended
                break
        return ended - started, losses

    def load(self, count: int) -> float:
        """Seconds for `count` batches from the DataLoader to the device, without a network."""
        started = ended = 0.0
        for number, (images, labels) in enumerate(self._loader(count + 1 + PREFETCHED)):
            images, labels = images.to(self.device), labels.to(self.device)
            if number == 0:
                started = time.perf_counter()
            if number == count:
                float(images[0, 0, 0, 0])  # waits for the last copy
                ended = time.perf_counter()
                break
        return ended - started
