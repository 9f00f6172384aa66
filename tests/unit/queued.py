"""Workers in the device queue, for its tests: without processes, with real locks."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from fmnist_tui.runs import queue
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.tickets import Device

CPU = Device(key="cpu", name="cpu")
GPUS = [Device(key=f"GPU-{n}", name=f"cuda:{n}") for n in range(3)]


class Someone(Place):
    """A worker, known by its run's name; lives until the end of the test."""

    living: ClassVar[list[Someone]] = []

    def __init__(self, name: str, *devices: Device, count: int = 1) -> None:
        super().__init__(RunDirectory(Path("/nowhere") / name), devices or (CPU,), count)
        self.living.append(self)

    def die(self) -> None:
        """End as a killed process does: its locks go, what it has written stays."""
        for lock in (*self._device_locks, *([self._lock] if self._lock else [])):
            lock.release()


def waiting(device: Device = CPU) -> list[str]:
    """Who waits for a device, in order."""
    return [entry.run_id for found in queue.snapshot() if found.key == device.key for entry in found.waiting]


def on(device: Device = CPU) -> list[str]:
    """Who is on a device."""
    return [entry.run_id for found in queue.snapshot() if found.key == device.key for entry in found.on]


def entered(*names: str, devices: tuple[Device, ...] = (CPU,)) -> list[Someone]:
    """Workers that entered the queue in this order."""
    people = [Someone(name, *devices) for name in names]
    for person in people:
        person.take()
    return people
