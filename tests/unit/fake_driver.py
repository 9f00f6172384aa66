"""A stand-in for NVIDIA's driver behind the real pynvml, for the tests of what asks it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import pynvml
import pytest

QUESTIONS = {
    "nvmlDeviceGetName": ["name"],
    "nvmlDeviceGetUUID": ["uuid"],
    "nvmlDeviceGetUtilizationRates": ["utilization"],
    "nvmlDeviceGetMemoryInfo": ["memory_used", "memory_total"],
    "nvmlDeviceGetPowerUsage": ["power"],
    "nvmlDeviceGetEnforcedPowerLimit": ["power_limit"],
    "nvmlDeviceGetTemperature": ["temperature"],
    "nvmlDeviceGetClockInfo": ["sm_clock", "memory_clock"],
    "nvmlDeviceGetTotalEnergyConsumption": ["energy"],
    "nvmlDeviceGetComputeRunningProcesses": ["pids"],
    "nvmlDeviceGetGraphicsRunningProcesses": ["pids"],
}
"""NVML's functions and the fields of GpuSample each of them fills."""


class FakeDriver:
    """NVIDIA's driver with GPUs of our making; `errors` maps (function, index or None for all) to an error code."""

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus
        self.errors: dict[tuple[str, int | None], int] = {}
        self.connected = 0
        self.inits = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Self:
        for name in (*QUESTIONS, "nvmlInit", "nvmlShutdown", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"):
            monkeypatch.setattr(pynvml, name, self._function(name))
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", self._mig_instance)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", lambda handle: handle)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetIndex", lambda handle: handle)
        return self

    def _function(self, name: str) -> Callable[..., Any]:
        def answer(*arguments: Any, **named: Any) -> Any:
            if name == "nvmlInit":
                self.inits += 1
            for index in (None, arguments[0] if arguments else None):
                if (name, index) in self.errors:
                    raise pynvml.NVMLError(self.errors[name, index])
            return getattr(self, "_" + name)(*arguments, **named)

        return answer

    def _mig_instance(self, uuid: str) -> int:
        if uuid != "MIG-on-1":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return 1

    def _nvmlInit(self) -> None:
        self.connected += 1

    def _nvmlShutdown(self) -> None:
        self.connected -= 1

    def _nvmlDeviceGetCount(self) -> int:
        return self.gpus

    def _nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def _nvmlDeviceGetName(self, gpu: int) -> str:
        return f"Fake GPU {gpu}"

    def _nvmlDeviceGetUUID(self, gpu: int) -> str:
        return f"GPU-{gpu}a{gpu}b"

    def _nvmlDeviceGetUtilizationRates(self, gpu: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=87 - gpu, memory=5)

    def _nvmlDeviceGetMemoryInfo(self, gpu: int, version: int) -> SimpleNamespace:
        assert version == pynvml.nvmlMemory_v2  # version 1 counts the driver's own reserve as used
        return SimpleNamespace(used=31 * 2**30, total=139 * 2**30)

    def _nvmlDeviceGetPowerUsage(self, gpu: int) -> int:
        return 512_250

    def _nvmlDeviceGetEnforcedPowerLimit(self, gpu: int) -> int:
        return 700_000

    def _nvmlDeviceGetTemperature(self, gpu: int, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return 61

    def _nvmlDeviceGetClockInfo(self, gpu: int, clock: int) -> int:
        return {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 3201}[clock]

    def _nvmlDeviceGetTotalEnergyConsumption(self, gpu: int) -> int:
        return 12_345_678

    def _nvmlDeviceGetComputeRunningProcesses(self, gpu: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=40), SimpleNamespace(pid=20)]

    def _nvmlDeviceGetGraphicsRunningProcesses(self, gpu: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=20), SimpleNamespace(pid=30)]
