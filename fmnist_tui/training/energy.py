"""The energy a run has taken on its GPUs over all its starts. Used by the Desk.

It follows the checkpoints, as the time at work does: what a killed worker did since its last checkpoint is done
again, and counted once.
"""

from __future__ import annotations

import torch

from fmnist_tui.monitor.energy import EnergyMeter


def gpu_uuids(device: torch.device) -> list[str]:
    """The GPU of a device as NVML names it; none where it is not NVIDIA's.

    A MIG instance has the UUID of no whole GPU, so the meter finds nothing: the board's counter is not its own.
    """
    if device.type != "cuda":
        return []
    return [f"GPU-{torch.cuda.get_device_properties(device).uuid}"]


class RunEnergy:
    """Counts this start's energy on top of what the checkpoint holds."""

    def __init__(self, uuids: list[str]) -> None:
        self._meter = EnergyMeter(uuids)
        self._before: float | None = 0.0

    def go_on_from(self, joules: float | None) -> None:
        """The checkpoint's count; None where an earlier start was not counted: then the whole is not known."""
        self._before = joules

    def total(self) -> float | None:
        """Joule since the run's first start; None where any part of it is not known."""
        used = self._meter.joules()
        return None if used is None or self._before is None else self._before + used
