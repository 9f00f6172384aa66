"""Which devices a `--device` option may mean on this machine, as the queue knows them. No torch.

Called by the worker before it takes its place in the queue, and by launchers that foretell whether it waits.
"""

from __future__ import annotations

import os
import platform
import re

from fmnist_tui.monitor.gpus import Gpu, list_gpus
from fmnist_tui.runs.tickets import Device


def devices_for(option: str, count: int = 1) -> list[Device]:
    """The devices any `count` of which the option means: 'auto' is every GPU, else Apple's, else the CPU.

    'cuda' is the first GPU where one is wanted, and every GPU where several are.

    A name that means nothing here is returned as it is: torch says what is wrong with it.
    """
    kind, _, number = option.partition(":")
    if kind in ("cpu", "mps"):
        return [Device(key=kind, name=kind)]
    gpus = list_gpus().gpus if kind in ("auto", "cuda") else []
    if kind == "auto" or (option == "cuda" and count > 1):
        if gpus:
            return [_device(gpu) for gpu in gpus]
        apple = (platform.system(), platform.machine()) == ("Darwin", "arm64")
        return devices_for("mps" if apple else "cpu") if kind == "auto" else devices_for("cuda:0")
    if kind == "cuda":
        ordinal = number or "0"
        return [_device(gpu) for gpu in gpus if str(gpu.ordinal) == ordinal] or [
            Device(key=f"cuda:{ordinal}", name=f"cuda:{ordinal}")
        ]
    return [Device(key=option, name=option)]


def _device(gpu: Gpu) -> Device:
    """A GPU by its UUID: with other CUDA_VISIBLE_DEVICES the same number is another GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    key = (
        visible.split(",")[0].strip() if visible.startswith("MIG-") else gpu.uuid
    )  # instances are devices of their own
    return Device(key=key or f"cuda:{gpu.ordinal}", name=f"cuda:{gpu.ordinal}")


def cuda_indices(device: str) -> set[int]:
    """The numbers of the GPUs that a Status.device names: 'cuda:1' one, 'cuda:0,2' two; none for any other."""
    found = re.fullmatch(r"cuda:(\d+(?:,\d+)*)", device)
    return {int(number) for number in found[1].split(",")} if found else set()
