"""What an evaluation keeps of its predictions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fmnist_tui.config import TrainingConfig
from fmnist_tui.data.batches import DeviceDataset
from fmnist_tui.training.evaluate import evaluate
from fmnist_tui.training.precision import choose


class NearlyEqual(nn.Module):
    """Class 7 a little before class 1, by less than float16 tells apart, of every image; all others far behind."""

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.full((len(x), 10), -9.0)
        logits[:, 1], logits[:, 7] = 0.0, 1e-4
        return logits


def test_the_saved_probabilities_give_the_accuracy_too() -> None:
    """Rounded to float16 two were equal, and whoever took the first of them counted another accuracy."""
    labels = np.array([7, 1, 7], dtype=np.uint8)
    dataset = DeviceDataset(np.zeros((3, 28, 28), dtype=np.uint8), labels)
    model = NearlyEqual()
    found = evaluate(model, model, dataset, choose(TrainingConfig(precision="fp32"), torch.device("cpu")))
    assert found.accuracy == 100.0 * 2 / 3 and found.classes.tolist() == [7, 7, 7]
    assert found.probabilities.argmax(1).tolist() == [7, 7, 7]
    assert found.probabilities.dtype == np.float16
    assert np.abs(found.probabilities.astype(float).sum(1) - 1.0).max() < 0.003
