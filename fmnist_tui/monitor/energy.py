"""How much energy GPUs have taken since a moment, by the driver's own counter. Called by the trainer.

The counter is the board's (NVML's total energy since the driver was loaded, in millijoules; Volta and newer have
it): what other programs have the GPU do meanwhile is counted too. Nothing is estimated from power samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from fmnist_tui.monitor.nvml import Driver, GpuProblem


class EnergyMeter:
    """Counts from when it is made; `uuids` name the GPUs as NVML does ('GPU-...')."""

    def __init__(self, uuids: Sequence[str]) -> None:
        self._uuids = tuple(uuids)
        self._driver: Driver | None = None
        if self._uuids:
            with contextlib.suppress(GpuProblem):
                self._driver = Driver()
        self._start = self._read()

    def joules(self) -> float | None:
        """Joule of all the GPUs together since the start.

        None where one of them is not to be found, has no counter, or whose counter fell back (the driver was
        loaded anew).
        """
        now = self._read()
        if self._start is None or now is None:
            return None
        used = [after - before for before, after in zip(self._start, now, strict=True)]
        return sum(used) if min(used) >= 0 else None

    def close(self) -> None:
        """End the connection to the driver; from now on there is no reading."""
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def _read(self) -> list[float] | None:
        """Each GPU's counter in joule; None where one does not tell."""
        if self._driver is None:
            return None
        by_uuid = {device.uuid: device for device in self._driver.devices}
        found: list[float] = []
        for uuid in self._uuids:
            counter = self._driver.energy(by_uuid[uuid]) if uuid in by_uuid else None
            if counter is None:
                return None
            found.append(counter)
        return found
