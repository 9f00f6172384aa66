"""Memory the C library keeps for the next step instead of handing it back to the system after each.

Called for training on a CPU by `precision.apply_global_settings`, so by the trainer, calibration and bench alike.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
"""Parameters of mallopt(3), from glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Let glibc reuse freed blocks of any size; False where the C library is another one or refuses.

    By default it maps each block of more than 32 MiB anew and unmaps it when it is freed, and the kernel clears every
    page again: an activation of a batch at every step. The process keeps its peak for itself instead, as torch's
    allocators for devices do. What it brings is in docs/trainer.md.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    no_mapped_blocks, never_trim = mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, -1)
    return bool(no_mapped_blocks and never_trim)
