"""Batch statistics that are computed once and used by several batch norms. Called by `layers` and `densenet`.

In a dense block every layer normalises all feature maps before it, so that those of the first are normalised as often
as there are layers after it, each time with other weights but with the same mean and variance. Here these come with the
feature maps. Only where that was measured to be faster: on a CPU, eagerly. Elsewhere batch norm stays torch's own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class BatchStatistics(NamedTuple):
    """What batch norm needs to know of a batch; no gradient goes through them, `normalise` has it."""

    mean: Tensor
    """(C,) float32, float64 for a network in float64."""
    variance: Tensor
    """(C,), the biased one (divided by the number of values)."""

    def followed_by(self, other: BatchStatistics) -> BatchStatistics:
        """Those of the feature maps of both, one after the other."""
        return BatchStatistics(torch.cat([self.mean, other.mean]), torch.cat([self.variance, other.variance]))


def can_share(module: nn.Module, x: Tensor) -> bool:
    """Whether the batch norms in `module` may be given statistics for what they normalise, as they now stand.

    Not in the statistics of several processes (SyncBatchNorm), nor with running statistics (evaluation).
    """
    if not module.training or x.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return not any(isinstance(part, nn.SyncBatchNorm) for part in module.modules())


@torch.no_grad()
def batch_statistics(x: Tensor) -> BatchStatistics:
    """Of each channel of (B, C, H, W), computed and returned in float32 at least."""
    # Given running statistics say in which precision the result is; they are changed, and of no use.
    running = torch.zeros(2, x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    return BatchStatistics(*torch.batch_norm_update_stats(x, running[0], running[1], 0.0))


def batch_norm(norm: nn.BatchNorm2d, x: Tensor, statistics: BatchStatistics) -> Tensor:
    """What `norm` makes of (B, C, H, W) in training, running statistics included, with the statistics of `x` given."""
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    values = x.numel() // x.shape[1]
    with torch.no_grad():
        norm.running_mean.lerp_(statistics.mean, norm.momentum)
        norm.running_var.lerp_(statistics.variance * (values / max(values - 1, 1)), norm.momentum)
        norm.num_batches_tracked.add_(1)
    normalised: Tensor = _Normalise.apply(x, norm.weight, norm.bias, *statistics, norm.eps)
    return normalised


class _Normalise(torch.autograd.Function):
    """Batch norm's arithmetic with given statistics; the gradient is that of statistics that depend on the input."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, epsilon: float
    ) -> Tensor:
        context.save_for_backward(x, weight, mean, (variance + epsilon).rsqrt())
        context.epsilon = epsilon
        return torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, epsilon)[0]

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_deviation = context.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse_deviation, True, context.epsilon, [True, True, True]
        )
        return of_x, of_weight, of_bias, None, None, None
