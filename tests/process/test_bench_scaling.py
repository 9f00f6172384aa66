"""Several processes timed together as `bench --gpus` does it: real ranks under torch's elastic agent, on the CPU."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest
import torch

from fmnist_tui.config import RunConfig
from fmnist_tui.data import source
from fmnist_tui.report.bench import Scaling
from fmnist_tui.training.bench import scaling
from fmnist_tui.training.precision import choose
from fmnist_tui.training.rig import Rig
from tests.training.tiny import full_size_config


def measured(config: RunConfig, counts: list[int]) -> tuple[list[str], Scaling]:
    """The phases and what came of it."""
    rig = Rig(config, choose(config.training, torch.device("cpu")), source.load_sample())
    return finished(scaling.measure_scaling(rig, counts, "sample", None, seconds=0.1))


def finished(work: Generator[dict[str, Any], None, Scaling]) -> tuple[list[str], Scaling]:
    phases = []
    while True:
        try:
            phases.append(next(work)["phase"])
        except StopIteration as end:
            return phases, end.value


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def config(**training: Any) -> RunConfig:
    return full_size_config(training={"batch_size": 30, "deterministic": False, **training})


@pytest.mark.usefixtures("one_thread")
def test_two_processes_take_the_steps_together_and_leave_nothing_behind() -> None:
    phases, found = measured(config(), [2])
    assert phases == ["alone, before 2", "2 at once"]
    (point,) = found.points
    assert (found.batch_size, point.ranks, point.threads) == (30, 2, 1)
    assert point.step_seconds.steps == point.alone.steps == 6
    assert 0 < point.step_seconds.low <= point.step_seconds.median <= point.step_seconds.high
    assert point.efficiency is None and point.speedup > 0
    left = [name for name in os.environ if name.startswith("FMNIST_TUI_ST") and name != "FMNIST_TUI_STATE_DIR"]
    assert left == [] and os.environ["OMP_NUM_THREADS"] == "1", "the next number of ranks has another environment"


def test_which_device_each_rank_has() -> None:
    assert scaling._devices(torch.device("cpu"), 2) == ["cpu", "cpu"]
    assert scaling._devices(torch.device("cuda:3"), 1) == ["cuda:3"], "the one that was measured alone"
    assert scaling._devices(torch.device("cuda:0"), 2) == ["cuda:0", "cuda:1"]


@pytest.mark.gpu
def test_one_rank_on_a_gpu_goes_the_path_of_several() -> None:
    settings = full_size_config(training={"batch_size": 30, "deterministic": False})
    rig = Rig(settings, choose(settings.training, torch.device("cuda:0")), source.load_sample())
    found = finished(scaling.measure_scaling(rig, [1], "sample", None, seconds=1.0))[1]
    (point,) = found.points
    assert (point.ranks, point.threads) == (1, None) and point.efficiency == point.speedup > 0


@pytest.mark.usefixtures("one_thread")
def test_a_rank_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"2 at once: rank [01] failed: .*training.sync_batch_norm"):
        measured(config(sync_batch_norm=True), [2])
