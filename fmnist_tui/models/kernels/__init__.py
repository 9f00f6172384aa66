"""Layers in one pass over the images where torch makes several: for bf16 in channels_last on a CPU.

`fused.c` has the loops, `build` compiles them on this machine, `fused` gives them gradients. The layers of the
families call these functions always; whether the kernels run is decided once by `training.precision`, which calls
`use`. Wherever they are off, or an input is not of their kind, torch does the same.
"""

from fmnist_tui.models.kernels.fused import (
    in_use,
    max_pool,
    norm_activation,
    norm_activation_beside,
    problem,
    use,
)

__all__ = ["in_use", "max_pool", "norm_activation", "norm_activation_beside", "problem", "use"]
