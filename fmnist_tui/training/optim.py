"""The optimizer of a run as the configuration says: SGD in the fused form where the device has one, or Muon."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fmnist_tui.config import OptimizerConfig
from fmnist_tui.training.eager import EagerOptimizer
from fmnist_tui.training.muon import Muon

FUSED_DEVICES = ("cpu", "cuda", "mps")
"""Devices torch has a fused SGD for. On 2 CPU cores it is 2 to 3 times faster than the default."""


def build_optimizer(
    model: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.float32, fused: bool = True
) -> torch.optim.Optimizer:
    """The optimizer over every parameter of `model` that is trained.

    SGD has weight decay on all of them (batch norm's included, as the reference has it); `fused` asks for its fused
    form. `dtype` is what Muon orthogonalises in.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.kind == "muon":
        return _muon(parameters, config, dtype)
    device = parameters[0].device.type
    fused = fused and device in FUSED_DEVICES
    kind = InPlaceSGD if fused and device == "cpu" else torch.optim.SGD
    optimizer = kind(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=fused,
    )
    optimizer.register_load_state_dict_post_hook(_lay_out_momenta)
    if fused and kind is torch.optim.SGD and config.momentum:
        # torch (2.14) takes it uninitialised and, where fp16 gradients overflow at the first step, leaves it so.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


class InPlaceSGD(EagerOptimizer, torch.optim.SGD):
    """torch's fused SGD on a CPU without its copies: the same results and state.

    torch (seen with 2.14) copies a filter that lies in memory as channels_last into another order at every step. Here
    it is given the filters by rows of channels, which is the order they lie in: 0.134 and 0.059 s for shake-shake-96's
    26 million weights (one thread of an AMD EPYC beside other work, medians of 25 in turn).
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, from that and its momentum."""
        assert closure is None
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            momenta = [self._momentum(parameter) for parameter in trained] if group["momentum"] else []
            torch._fused_sgd_(
                [_by_rows(parameter) for parameter in trained],
                [_by_rows(_laid_out_as(parameter, parameter.grad)) for parameter in trained],
                [_by_rows(momentum) for momentum in momenta],
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=group["maximize"],
                is_first_step=False,
                grad_scale=getattr(self, "grad_scale", None),  # set by torch's scaler where gradients are fp16's
                found_inf=getattr(self, "found_inf", None),
            )

    def _momentum(self, parameter: Tensor) -> Tensor:
        """A parameter's momentum, zero before its first gradient."""
        state = self.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum_buffer"]
        return momentum


def _by_rows(tensor: Tensor) -> Tensor:
    """A view of (out, in, height, width) as (out, height, width, in) where that is the order in memory; else itself."""
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1)
    return tensor


def _laid_out_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """`tensor`, or a copy of it that lies in memory as `parameter` does."""
    return tensor if tensor.stride() == parameter.stride() else torch.empty_like(parameter).copy_(tensor)


def _lay_out_momenta(optimizer: torch.optim.Optimizer) -> None:
    """Let a checkpoint's momentum lie in memory as the parameter does.

    The fused update reads both by address: momentum saved as channels_last, loaded for a network that is not, would be
    that of other weights, and nothing would say so.
    """
    for parameter, state in optimizer.state.items():
        if state.get("momentum_buffer") is not None:
            state["momentum_buffer"] = _laid_out_as(parameter, state["momentum_buffer"])


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


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float | Tensor) -> None:
    """The rate of the next step, a tensor () where it is recorded; a group of Muon's has its own multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_ratio", 1.0)
