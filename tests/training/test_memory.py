"""Freed memory stays with a process that trains on a CPU: page faults, counted by the kernel."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

LARGE_BLOCKS = """
import resource
import torch
from fmnist_tui.config import TrainingConfig
from fmnist_tui.training import precision

def page_faults():
    for _ in range(10):  # the first ones cost their pages in any case: small blocks between them move the large ones
        torch.full((1 << 26,), 1, dtype=torch.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.full((1 << 26,), 1, dtype=torch.uint8)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

page_faults()
execution = precision.choose(TrainingConfig(), torch.device("cpu"))
precision.apply_global_settings(execution, deterministic=False)
page_faults()
"""
PAGES = (1 << 26) // 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_process_that_trains_on_a_cpu_uses_its_freed_blocks_again() -> None:
    """Page faults of ten blocks of 64 MiB, written and freed: in a new process, and once it is set for training."""
    done = subprocess.run([sys.executable, "-c", LARGE_BLOCKS], capture_output=True, text=True, check=True)
    before, training = map(int, done.stdout.split())
    assert before > 8 * PAGES, "else there is nothing to keep"
    assert training < 2 * PAGES


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from fmnist_tui.training import memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)  # looking for mallopt would fail
    assert memory.keep_freed_memory() is False
