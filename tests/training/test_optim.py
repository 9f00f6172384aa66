"""The fused SGD of a CPU: torch's results without torch's copies, whatever way filters lie in memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from fmnist_tui.config import OptimizerConfig
from fmnist_tui.training import optim
from fmnist_tui.training.optim import InPlaceSGD, build_optimizer

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def network(memory_format: str) -> nn.Module:
    """Filters of several sizes, one with a single input channel, a bias, batch norm and a linear layer."""
    torch.manual_seed(7)
    layers = (nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 3), nn.Conv2d(6, 4, 1), nn.Linear(4, 10))
    return nn.Sequential(*layers).to(memory_format=FORMATS[memory_format])


def set_gradients(model: nn.Module, step: int, memory_format: str) -> None:
    """The same gradients for every model at a step, laid out in memory as told."""
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        gradient = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 4:
            gradient = gradient.to(memory_format=FORMATS[memory_format])
        parameter.grad = gradient


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("gradients", FORMATS)
@pytest.mark.parametrize("parameters", FORMATS)
@pytest.mark.parametrize("settings", [{"nesterov": True}, {"nesterov": False}, {"nesterov": False, "momentum": 0.0}])
def test_it_is_torchs_sgd(parameters: str, gradients: str, settings: dict[str, Any]) -> None:
    """Weights and momentum after three steps, against the form that is not fused."""
    config = OptimizerConfig(**{"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, **settings})
    models = network(parameters), network(parameters)
    optimizers = [
        build_optimizer(model, config, fused=fused) for model, fused in zip(models, (True, False), strict=True)
    ]
    assert isinstance(optimizers[0], InPlaceSGD) and not isinstance(optimizers[1], InPlaceSGD)
    for step in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            set_gradients(model, step, gradients)
            optimizer.step()
    for ours, theirs in zip(weights(models[0]), weights(models[1]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    ours, theirs = (optimizer.state_dict()["state"] for optimizer in optimizers)
    for index in theirs:
        if theirs[index].get("momentum_buffer") is not None:
            torch.testing.assert_close(ours[index]["momentum_buffer"], theirs[index]["momentum_buffer"])
        else:
            assert "momentum_buffer" not in ours.get(index, {})


@pytest.mark.parametrize("kind", [InPlaceSGD, torch.optim.SGD])
def test_a_first_step_that_overflows_is_none(kind: type[torch.optim.SGD], monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the scaler of fp16: torch's fused form, which a GPU has, and ours take the steps of the one not fused."""
    monkeypatch.setattr(optim, "InPlaceSGD", kind)
    torch.use_deterministic_algorithms(True)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)  # with NaN, to be seen
    config = OptimizerConfig(lr=0.1, momentum=0.9, weight_decay=0.01)
    found = []
    for fused in (True, False):
        model = network("channels_last")
        optimizer = build_optimizer(model, config, fused=fused)
        assert not fused or type(optimizer) is kind
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for step, spoil in enumerate((float("inf"), 1.0, 1.0)):
            scaler.scale(torch.zeros(()))  # begins
            set_gradients(model, step, "channels_last")
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.grad *= spoil * scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
        found.append(weights(model))
    for fused_weights, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused_weights, plain, rtol=1e-5, atol=1e-6)


def test_no_filter_is_copied() -> None:
    """torch's own fused step clones each filter that lies as channels_last: what this class is for."""
    model = network("channels_last")
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.1, momentum=0.9))
    copies = []
    for kind in (InPlaceSGD, torch.optim.SGD):
        set_gradients(model, 0, "channels_last")
        kind.step(optimizer)  # type: ignore[arg-type]
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            kind.step(optimizer)  # type: ignore[arg-type]
        copies.append(sum(event.count for event in trace.key_averages() if event.key == "aten::copy_"))
    assert copies[0] == 0
    assert copies[1] > 0, "torch has stopped copying: InPlaceSGD can go"


@pytest.mark.parametrize("fused", [True, False])
def test_momentum_saved_in_another_memory_format_is_that_of_its_weights(fused: bool) -> None:
    """A checkpoint of a channels_last run goes on in a contiguous network, and the other way round."""
    config = OptimizerConfig(lr=0.1, momentum=0.9, nesterov=True)
    found = []
    for before, after in (("channels_last", "contiguous"), ("contiguous", "channels_last"), ("contiguous",) * 2):
        model = network(before)
        optimizer = build_optimizer(model, config, fused=fused)
        set_gradients(model, 0, before)
        optimizer.step()
        resumed = network(after)
        resumed.load_state_dict(model.state_dict())
        again = build_optimizer(resumed, config, fused=fused)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        set_gradients(resumed, 1, after)
        again.step()
        found.append(weights(resumed))
    for ours in found[:2]:
        for one, expected in zip(ours, found[2], strict=True):
            torch.testing.assert_close(one, expected, rtol=1e-6, atol=1e-7)
