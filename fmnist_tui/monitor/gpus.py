"""Which GPUs a program of this environment would find as cuda:0, cuda:1, ... without importing torch.

Called by the command line (`--device cuda:N`, `doctor`) and the app.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NamedTuple

from fmnist_tui.monitor.nvml import NO_GPU, Device, Driver, GpuProblem


@dataclass(frozen=True)
class Gpu:
    """A GPU CUDA shows to this process's children."""

    ordinal: int
    """N of cuda:N."""
    index: int
    """NVML's index (the one in nvidia-smi and in GpuSample)."""
    name: str
    uuid: str
    memory_total: int | None
    """Bytes; None where the device does not tell."""


class GpuList(NamedTuple):
    """The visible GPUs in CUDA's order, and why there are none or some are left out ('' where all is well)."""

    gpus: list[Gpu]
    problem: str


def gpu_count() -> tuple[int, str]:
    """How many GPUs `cuda:N` can name, and where that is 0, why in words."""
    gpus, problem = list_gpus()
    return len(gpus), problem if not gpus else ""


def list_gpus() -> GpuList:
    """The GPUs of this machine that CUDA_VISIBLE_DEVICES leaves visible, by CUDA's own reading of it.

    Numbers, GPU- and MIG- UUIDs (or their unique beginnings) are understood; the first entry that names
    nothing ends the list, an entry given twice empties it. The numbers are taken in the order of the PCI bus:
    where CUDA_DEVICE_ORDER is unset and the GPUs are of different models, CUDA may number them fastest first;
    `uuid` tells them apart. Of several MIG instances CUDA shows a process one, so one is listed.
    """
    try:
        driver = Driver()
    except GpuProblem as problem:
        return GpuList([], problem.detail)
    try:
        chosen, hidden = _visible(driver, os.environ.get("CUDA_VISIBLE_DEVICES"))
        gpus = [
            Gpu(ordinal, device.index, device.name, device.uuid, device.memory_total)
            for ordinal, device in enumerate(chosen)
        ]
    except GpuProblem as problem:
        return GpuList([], problem.detail)
    finally:
        driver.close()
    return GpuList(gpus, "; ".join(part for part in (hidden, driver.problem) if part))


def _visible(driver: Driver, variable: str | None) -> tuple[list[Device], str]:
    """The devices the variable leaves, in its order, and what it hides where it leaves none."""
    devices = driver.devices
    if variable is None:
        return devices, ""
    entries = variable.split(",")
    if variable.startswith("MIG-"):
        parent = driver.parent_of_mig(entries[0].strip())
        chosen = [device for device in devices if device.index == parent]
    elif variable.startswith("GPU-"):
        chosen = _distinct([_by_uuid(devices, entry.strip()) for entry in entries])
    else:
        chosen = _distinct([_by_number(devices, entry.strip()) for entry in entries])
    if chosen:
        return chosen, ""
    said = f"CUDA_VISIBLE_DEVICES={variable!r} hides all of this machine's GPUs ({len(devices)})"
    return [], f"{NO_GPU}: {said}"


def _by_uuid(devices: list[Device], start: str) -> Device | None:
    matches = [device for device in devices if start.startswith("GPU-") and device.uuid.startswith(start)]
    return matches[0] if len(matches) == 1 else None


def _by_number(devices: list[Device], text: str) -> Device | None:
    number = re.match(r"\+?\d+", text)  # CUDA reads it with strtoul: '1abc' is 1, '-1' ends the list
    return next((device for device in devices if number and device.index == int(number[0])), None)


def _distinct(devices: list[Device | None]) -> list[Device]:
    """The devices up to the first None; none at all where one is named twice."""
    chosen: list[Device] = []
    for device in devices:
        if device is None:
            break
        if device in chosen:
            return []
        chosen.append(device)
    return chosen
