"""Layers in fewer passes over the images than torch makes, in bf16 and fp32, for channels_last on a CPU.

`fused.c` and what it includes have the loops, `build` compiles them on this machine; `norm`, `pool`, `mixture`,
`convolution` (in bf16 where `convolves` says so) and, for fp32, `dense` give them gradients. The layers of the families
call these functions always; whether the kernels run is decided once by `training.precision`, which asks `problem` and
calls `use`. Wherever they are off, or an input is not of their kind, torch does the same (`dense_block` leaves it to
the layers, which do).
"""

from fmnist_tui.models.kernels.build import convolves
from fmnist_tui.models.kernels.check import problem
from fmnist_tui.models.kernels.convolution import convolve
from fmnist_tui.models.kernels.dense import BottleneckLayer, dense_block
from fmnist_tui.models.kernels.mixture import norm_mixture
from fmnist_tui.models.kernels.norm import norm_activation, norm_activation_beside
from fmnist_tui.models.kernels.pool import max_pool
from fmnist_tui.models.kernels.switch import fits, in_use, use

__all__ = [
    "BottleneckLayer",
    "convolve",
    "convolves",
    "dense_block",
    "fits",
    "in_use",
    "max_pool",
    "norm_activation",
    "norm_activation_beside",
    "norm_mixture",
    "problem",
    "use",
]
