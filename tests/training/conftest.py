"""A small real data set and runs that train on it within this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fmnist_tui.data import source
from fmnist_tui.data.source import Images
from fmnist_tui.models import kernels
from tests.training.tiny import Trainer


@pytest.fixture(scope="session")
def images() -> Images:
    """150 training and 100 test images of the sample: five batches of 32 an epoch, the last of 22."""
    sample = source.load_sample()
    return replace(
        sample,
        train_images=sample.train_images[:150],
        train_labels=sample.train_labels[:150],
        test_images=sample.test_images[:100],
        test_labels=sample.test_labels[:100],
    )


@pytest.fixture(autouse=True)
def torch_as_before(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One thread, and none of a run's global settings left behind."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    kernels.use(False)


@pytest.fixture
def trainer(runs_dir: Path, images: Images) -> Trainer:
    """Trains runs under tmp_path on the small data set."""
    return Trainer(runs_dir, images)
