"""A small real data set and runs that train on it within this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fmnist_tui.data import source
from fmnist_tui.data.source import Images
from fmnist_tui.models import kernels
from fmnist_tui.training import compiling
from tests.training.small_network import Batches, make_step
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
    kernels.use(None)


@pytest.fixture
def trainer(runs_dir: Path, images: Images) -> Trainer:
    """Trains runs under tmp_path on the small data set."""
    return Trainer(runs_dir, images)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Traces the network as a real compiler does, and runs what was traced; a test may put another in its place.

    "eager" leaves autograd to make the backward pass; "aot_eager" traces that too, and takes about twice as long.
    """

    def use(other: Any) -> None:
        monkeypatch.setattr(compiling, "BACKEND", other)

    use("eager")
    torch._dynamo.utils.counters.clear()
    yield use
    torch._dynamo.reset()
    torch._dynamo.config.suppress_errors = False
    torch._inductor.config.fallback_random = False


@pytest.fixture
def batches(images: Images) -> Batches:
    step = make_step()
    pixels = torch.from_numpy(images.train_images[:16].copy())
    labels = torch.from_numpy(images.train_labels[:16].copy()).long()
    return [(step.inputs(pixels[i : i + 8], 1, 0), labels[i : i + 8]) for i in (0, 8)]


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says how long a call takes, eager first, then each candidate."""

    def set_seconds(*values: float) -> None:
        answers = iter(values)
        monkeypatch.setattr(compiling, "_seconds", lambda run, device: (run(), next(answers))[1])

    return set_seconds
