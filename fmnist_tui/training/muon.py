"""Muon: momentum whose matrices are orthogonalised, for the filters of convolutions. Built by `optim`.

After Jordan et al., "Muon: an optimizer for hidden layers" (2024), as used in airbench for small convolutional
networks. Biases and the head, which are not such matrices, get Nesterov SGD within the same optimizer, so that
a run has one optimizer with one state to save.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fmnist_tui.training.eager import EagerOptimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients a, b, c of the iteration's polynomial a s + b s^3 + c s^5. They lift small singular values fast and
let all of them settle between about 0.7 and 1.2, which is as good for training as 1 and takes fewer iterations."""


def orthogonalise(matrices: Tensor, steps: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(..., rows, columns) to about U V^T of the singular value decomposition U S V^T, by Newton-Schulz iteration.

    Computed in `dtype`, returned in that of `matrices`. A matrix of zeros stays one. On a CPU with bf16
    instructions bf16 takes half the time (12 ms against 24 for 256 x 2304 and 3 steps, one thread, torch 2.14).
    """
    a, b, c = NEWTON_SCHULZ
    norm = matrices.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    x = (matrices / norm).to(dtype)  # no singular value is above 1, and fp16 holds even a small gradient
    tall = x.shape[-2] > x.shape[-1]
    if tall:  # the products below are square of the first size: the smaller one is the cheaper
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(EagerOptimizer):
    """Muon for groups with `orthogonal` = True, SGD for the others.

    A group's `lr_ratio` is its learning rate as a multiple of the run's; `set_learning_rate` applies it.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, steps: int, dtype: torch.dtype) -> None:
        """Each group has params, lr, momentum, nesterov, weight_decay, orthogonal and lr_ratio."""
        super().__init__(groups, {})
        self.steps, self.dtype = steps, dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "the trainer computes the loss before"
        for group in self.param_groups:
            parameters: list[Tensor] = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            directions = self._directions(parameters, group)
            if group["orthogonal"]:
                directions = self._orthogonal(directions)
                _renormalise(parameters)
            lr = group["lr"]
            if isinstance(lr, Tensor):  # of a step that is recorded
                torch._foreach_add_(parameters, torch._foreach_mul(directions, -lr))
            else:
                torch._foreach_add_(parameters, directions, alpha=-lr)

    def _directions(self, parameters: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Gradients with weight decay and (Nesterov) momentum, as torch's SGD has them."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        momentum = group["momentum"]
        if not momentum:
            return gradients
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=momentum)) if group["nesterov"] else list(buffers)

    def _orthogonal(self, directions: list[Tensor]) -> list[Tensor]:
        """Each direction as a matrix of filters by their inputs, orthogonalised; those of one shape at once."""
        by_shape: dict[torch.Size, list[int]] = {}
        for index, direction in enumerate(directions):
            by_shape.setdefault(direction.shape, []).append(index)
        results = list(directions)
        for shape, indices in by_shape.items():
            if len(indices) == 1:  # a product of matrices is faster than a batch of one
                matrix = directions[indices[0]].flatten(1)
                results[indices[0]] = orthogonalise(matrix, self.steps, self.dtype).view(shape)
                continue
            matrices = torch.stack([directions[index].flatten(1) for index in indices])
            for index, matrix in zip(indices, orthogonalise(matrices, self.steps, self.dtype), strict=True):
                results[index] = matrix.view(shape)
        return results


def _renormalise(parameters: list[Tensor]) -> None:
    """Scale each convolution's filters to a root mean square norm of 1 a filter.

    Batch norm makes the scale meaningless; held fixed, an update of a given size always turns the filters alike.
    """
    norms = torch._foreach_norm(parameters)
    torch._foreach_mul_(parameters, [len(p) ** 0.5 / n.clamp_min(1e-7) for p, n in zip(parameters, norms, strict=True)])
