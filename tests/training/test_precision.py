"""Precision, memory format and devices: what auto chooses, and what is set."""

from __future__ import annotations

import os
from typing import Any, Literal

import pytest
import torch

from fmnist_tui.config import ConfigError, TrainingConfig
from fmnist_tui.training import precision
from fmnist_tui.training.precision import apply_global_settings, choose, resolve_device
from tests.events import messages
from tests.training.tiny import Trainer, full_size_config

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("has_bf16", "problem", "expected"),
    [
        (True, None, ("bf16", "channels_last")),
        (True, "no compiler", ("bf16", "channels_last")),
        (False, None, ("fp32", "channels_last")),
        (False, "no compiler", ("fp32", "contiguous")),
    ],
)
def test_auto_on_a_cpu_goes_by_what_it_can(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, problem: str | None, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: has_bf16)
    monkeypatch.setattr(precision.kernels, "problem", lambda dtype: problem)
    execution = choose(TrainingConfig(), CPU)
    assert (execution.precision, execution.layout) == expected and execution.compile == "off"
    assert set(execution.reasons) == {"precision", "memory_format", "compile", "threads", "fused", "cpu_kernels"}


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp32")]
)
def test_auto_on_cuda_goes_by_its_capability(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose(TrainingConfig(), torch.device("cuda", 0)).precision == expected


def test_what_is_set_is_taken() -> None:
    settings: dict[str, Any] = {
        "precision": "fp32",
        "memory_format": "channels_last",
        "compile": "default",
        "fused": "off",
        "cpu_kernels": "off",
    }
    execution = choose(TrainingConfig(**settings, threads=3, tf32="on"), CPU)
    assert execution.choices == settings | {"threads": "3"}, "a GPU's switches are nothing to tell of on a CPU"
    assert set(execution.reasons.values()) == {"set"}


@pytest.mark.parametrize(("deterministic", "expected"), [(False, "on"), (True, "off")])
def test_a_gpus_switches(monkeypatch: pytest.MonkeyPatch, deterministic: bool, expected: Literal["on", "off"]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    device = torch.device("cuda", 0)
    chosen = choose(TrainingConfig(deterministic=deterministic), device).choices
    assert (chosen["tf32"], chosen["cudnn_benchmark"], chosen["fused"]) == (expected, expected, "on")
    other: Literal["on", "off"] = "off" if expected == "on" else "on"
    config = TrainingConfig(deterministic=deterministic, tf32=other, cudnn_benchmark=other)
    execution = choose(config, device)
    assert (execution.tf32, execution.cudnn_benchmark) == (other == "on",) * 2
    assert execution.reasons["tf32"] == "set"


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_run_on_the_second_gpu_means_that_one(monkeypatch: pytest.MonkeyPatch, deterministic: bool) -> None:
    """An event that names no device is recorded on the current one: else losses would be read before they arrive.

    And whatever sets the arithmetic up, bench and calibration too, can multiply matrices deterministically.
    """
    current = list[torch.device]()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # put back afterwards, whatever is set meanwhile
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    device = torch.device("cuda", 1)
    try:
        apply_global_settings(choose(TrainingConfig(deterministic=deterministic, threads=1), device), deterministic)
        assert current == [device]
        assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if deterministic else None)
    finally:
        apply_global_settings(choose(TrainingConfig(threads=1), CPU), False)


@pytest.mark.parametrize("name", ["cuda:7", "cuda", "tpu", "cpu:x", "meta", ""])
def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device = "):
        resolve_device(name)


def test_bf16_trains_like_fp32() -> None:
    """The same three steps: losses within bf16's rounding of each other."""
    from fmnist_tui.data import source
    from fmnist_tui.models import build_model
    from fmnist_tui.training.optim import build_optimizer
    from fmnist_tui.training.step import TrainStep

    sample = source.load_sample()
    batch = torch.from_numpy(sample.train_images[:32].copy())
    labels = torch.from_numpy(sample.train_labels[:32].copy()).long()
    losses = {}
    for name in ("fp32", "bf16"):
        config = full_size_config(training={"precision": name})
        torch.manual_seed(0)
        model = build_model(config.model)
        execution = choose(config.training, CPU)
        model = model.to(memory_format=execution.memory_format)
        step = TrainStep(model, build_optimizer(model, config.optimizer), config, execution)
        losses[name] = [float(step(batch, labels, 0.05, 1, index)[0]) for index in range(3)]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.03)
    assert losses["bf16"] != losses["fp32"]


def test_kernels_that_were_set_and_can_not_be_had_cost_a_warning(trainer: Trainer) -> None:
    run = trainer.create(full_size_config(training={"epochs": 1, "cpu_kernels": "on", "memory_format": "contiguous"}))
    trainer.train(run)
    said = "training.cpu_kernels = on is not used: they are for bf16 and fp32 in channels_last"
    assert messages(run, "warning") == [said]
