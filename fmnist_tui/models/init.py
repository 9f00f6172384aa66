"""Initial weights, the same for every family. Called at the end of each network's constructor."""

from __future__ import annotations

from torch import nn


def initialise(model: nn.Module) -> None:
    """Set the initial weights of `model` in place, from torch's default generator.

    Convolutions: normal with standard deviation sqrt(2 / fan_out), He et al. (arXiv 1502.01852). Batch norm:
    weight 1, bias 0. Linear: bias 0; the weight keeps torch's default, U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
