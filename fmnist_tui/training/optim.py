"""The optimizer of a run as the configuration says: SGD in the fused form where the device has one, or Muon."""

from __future__ import annotations

import torch
from torch import nn

from fmnist_tui.config import OptimizerConfig
from fmnist_tui.training.muon import Muon

FUSED_DEVICES = ("cpu", "cuda", "mps")
"""Devices torch has a fused SGD for. On 2 CPU cores it is 2 to 3 times faster than the default."""


def build_optimizer(
    model: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.float32, fused: bool = True
) -> torch.optim.Optimizer:
    """The optimizer over every parameter of `model` that is trained.

    SGD has weight decay on all of them (batch-norm included, as in REFERENCE.md); `fused` asks for its fused
    form. `dtype` is what Muon orthogonalises in.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.kind == "muon":
        return _muon(parameters, config, dtype)
    return torch.optim.SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=fused and parameters[0].device.type in FUSED_DEVICES,
    )


def _muon(parameters: list[nn.Parameter], config: OptimizerConfig, dtype: torch.dtype) -> Muon:
    """Muon for the filters of convolutions (4 axes), SGD for the head's weights (2) and for biases (1)."""
    sgd = {"momentum": config.momentum, "nesterov": config.nesterov, "weight_decay": config.weight_decay}
    muon = {"momentum": config.muon_momentum, "nesterov": True, "weight_decay": 0.0}
    kinds = ((4, config.lr, muon), (2, config.head_lr, sgd), (1, config.bias_lr, sgd))
    groups = [
        {
            "params": [parameter for parameter in parameters if parameter.ndim == axes],
            "lr": lr,
            "lr_ratio": lr / config.lr,
            "orthogonal": axes == 4,
            **settings,
        }
        for axes, lr, settings in kinds
    ]
    assert sum(len(group["params"]) for group in groups) == len(parameters)  # type: ignore[misc, arg-type]
    return Muon([group for group in groups if group["params"]], steps=config.muon_steps, dtype=dtype)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The rate of the next step; a group of Muon's has its own multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_ratio", 1.0)
