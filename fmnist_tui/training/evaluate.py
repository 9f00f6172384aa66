"""Evaluation on a whole data set in large batches, with one transfer to the host at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_tui.analysis.confusion import confusion_matrix
from fmnist_tui.data.batches import DeviceDataset, normalize
from fmnist_tui.training.precision import Execution

EVAL_BATCH = {"cuda": 2000, "cpu": 250}
"""Images at once. On 2 CPU cores larger batches fall out of the cache; a GPU is busy from about 2,000 on."""


def eval_batch(device: torch.device) -> int:
    """Images at once, where memory allows it."""
    return EVAL_BATCH.get(device.type, 1000)


@dataclass(frozen=True)
class Evaluation:
    """Predictions for every image of a set, in its order, and what they amount to."""

    loss: float
    """Mean cross-entropy."""
    accuracy: float
    """Prec@1, %: computed from `classes`, so that it is what the saved predictions give."""
    classes: NDArray[np.uint8]
    """(N,) predicted class."""
    probabilities: NDArray[np.float16]
    """(N, 10) softmax; the predicted class has the greatest, or comes first of those that have."""
    confusion: NDArray[np.int64]
    """(10, 10) numbers of images: row the true class, column the predicted one."""
    tta_accuracy: float | None = None
    """Prec@1, %, with test-time averaging; None without. Nothing above is averaged."""
    tta_probabilities: NDArray[np.float16] | None = None
    """(N, 10) softmax of the averaged logits."""


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    network: Callable[[Tensor], Tensor],
    dataset: DeviceDataset,
    execution: Execution,
    tta: str = "none",
    between: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Predict the whole data set with `network`, which is `model` or its compiled form, in eval mode.

    The compiled form is given whole batches only; the rest of the data set runs through `model`.
    `tta` = "flip" also averages each image's logits with those of its mirror image, for an accuracy of its own.
    `between` is called after each batch; what it raises ends the evaluation. Raises torch.OutOfMemoryError only
    where not even 50 images fit at once.
    """
    model.eval()
    size = eval_batch(execution.device)
    while True:
        try:
            return _evaluate(model, network, dataset, execution, size, tta, between)
        except torch.OutOfMemoryError:
            if size < 50:
                raise
            size //= 2


def _evaluate(
    model: nn.Module,
    network: Callable[[Tensor], Tensor],
    dataset: DeviceDataset,
    execution: Execution,
    size: int,
    tta: str,
    between: Callable[[], None],
) -> Evaluation:
    losses, classes, probabilities, averaged, tta_probabilities = [], [], [], [], []
    for start in range(0, len(dataset), size):
        images, labels = dataset.images[start : start + size], dataset.labels[start : start + size]
        inputs = normalize(images, execution.dtype, execution.memory_format)
        forward = network if len(images) == eval_batch(execution.device) else model
        with execution.autocast():
            logits = forward(inputs)
        logits = logits.float()
        losses.append(F.cross_entropy(logits, labels, reduction="sum"))
        classes.append(logits.argmax(1).to(torch.uint8))
        probabilities.append(logits.softmax(1).half())
        if tta == "flip":
            with execution.autocast():
                mirrored = forward(inputs.flip(3))
            both = logits + mirrored.float()
            averaged.append(both.argmax(1).to(torch.uint8))
            tta_probabilities.append((both / 2).softmax(1).half())
        between()
    predicted = torch.cat(classes).cpu().numpy()
    truth = dataset.labels.cpu().numpy()
    loss = float(torch.stack(losses).cpu().double().sum()) / len(dataset)
    accuracy = 100.0 * float((predicted == truth).sum()) / len(dataset)
    tta_accuracy = None
    if averaged:
        tta_accuracy = 100.0 * float((torch.cat(averaged).cpu().numpy() == truth).sum()) / len(dataset)
    return Evaluation(
        loss if math.isfinite(loss) else math.nan,
        accuracy,
        predicted,
        _led_by(predicted, torch.cat(probabilities).cpu().numpy()),
        confusion_matrix(truth, predicted),
        tta_accuracy,
        torch.cat(tta_probabilities).cpu().numpy() if averaged else None,
    )


def _led_by(classes: NDArray[np.uint8], probabilities: NDArray[np.float16]) -> NDArray[np.float16]:
    """The probabilities (N, 10), such that their argmax is the predicted class (N,).

    Rounding to float16 can make two equal, and argmax takes the first: what a reader counts would not be the run's
    accuracy. The predicted class's gets the next float16 there, 0.0005 more at most.
    """
    tied = np.flatnonzero(probabilities.argmax(1) != classes)
    own = tied, classes[tied]
    probabilities[own] = np.nextafter(probabilities[own], np.float16(2))
    return probabilities
