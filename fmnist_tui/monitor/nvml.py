"""The NVIDIA driver's management library (NVML): connect, ask, and say in words why it does not answer.

Called by `sample` and `gpus`. pynvml is imported when it is first used: without it this package still works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from fmnist_tui.runs.metrics import GpuSample

T = TypeVar("T")
NO_GPU = "no GPU"


class GpuProblem(Exception):
    """Why GPUs can't be asked: str() is short ("no GPU", or the driver's error in words), `detail` adds the cause."""

    def __init__(self, words: str, detail: str = "") -> None:
        super().__init__(words)
        self.detail = f"{words}: {detail}" if detail else words


class DeviceProblem(Exception):
    """Why one device tells nothing while others may; str() follows "GPU 0"."""


@dataclass(frozen=True)
class Device:
    """One GPU of the machine as NVML knows it."""

    index: int
    """NVML's index, in the order of the PCI bus, as nvidia-smi shows it."""
    handle: Any
    name: str
    uuid: str
    memory_total: int | None
    """Bytes; None where the device does not tell."""


_DRIVER_GONE = {
    "NVML_ERROR_UNINITIALIZED": "the connection to the NVIDIA driver is gone",
    "NVML_ERROR_DRIVER_NOT_LOADED": "the NVIDIA driver is not loaded",
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": "the NVIDIA driver was updated while its old version is still loaded; "
    "restart the machine",
}
"""Errors after which no device of the machine tells anything."""
_DEVICE_GONE = {
    "NVML_ERROR_GPU_IS_LOST": "has fallen off the bus (GPU is lost); restart the machine",
    "NVML_ERROR_RESET_REQUIRED": "must be reset before it can be used",
    "NVML_ERROR_GPU_NOT_FOUND": "is gone",
}
"""Errors after which this device tells nothing, while others may."""


class Driver:
    """A connection to the driver. Raises GpuProblem where there is none to be had or it holds no GPU.

    `problem` names the devices that don't answer at all ('' where all do).
    """

    def __init__(self) -> None:
        self._nvml = _library()
        self.problem = ""
        self.devices: list[Device] = []
        self._must(self._nvml.nvmlInit)
        try:
            count = self._must(self._nvml.nvmlDeviceGetCount)
            if count == 0:
                raise GpuProblem(NO_GPU, "the NVIDIA driver finds none")
            for index in range(count):
                try:
                    self.devices.append(self._device(index))
                except DeviceProblem as error:
                    self.lose(index, error)
        except GpuProblem:
            self.close()
            raise

    def _device(self, index: int) -> Device:
        nvml = self._nvml
        handle = self._must(lambda: nvml.nvmlDeviceGetHandleByIndex(index), of_device=True)
        name = self._ask(lambda: nvml.nvmlDeviceGetName(handle))
        uuid = self._ask(lambda: nvml.nvmlDeviceGetUUID(handle))
        memory = self._ask(lambda: self._memory(handle))
        return Device(index, handle, name or f"GPU {index}", uuid or "", None if memory is None else memory.total)

    def lose(self, index: int, why: DeviceProblem) -> None:
        """Leave a device out from now on and note why."""
        self.devices = [device for device in self.devices if device.index != index]
        self.problem = "; ".join(part for part in (self.problem, f"GPU {index} {why}") if part)

    def close(self) -> None:
        """End the connection; a driver that is gone can't be told, and need not be."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def samples(self) -> list[GpuSample]:
        """A sample of every device that answers. Raises GpuProblem where the driver itself is gone."""
        found = []
        for device in self.devices:
            try:
                found.append(self._sample(device))
            except DeviceProblem as error:
                self.lose(device.index, error)
        return found

    def parent_of_mig(self, uuid: str) -> int | None:
        """NVML index of the GPU a MIG instance is a part of; None where there is no such instance."""
        nvml = self._nvml

        def parent() -> int:
            instance = nvml.nvmlDeviceGetHandleByUUID(uuid)
            return int(nvml.nvmlDeviceGetIndex(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)))

        try:
            return self._ask(parent)
        except DeviceProblem:
            return None

    def _memory(self, handle: Any) -> Any:
        """Version 2 of the question keeps the driver's own reserve out of `used`, as nvidia-smi does."""
        return self._nvml.nvmlDeviceGetMemoryInfo(handle, version=self._nvml.nvmlMemory_v2)

    def _sample(self, device: Device) -> GpuSample:
        nvml, handle = self._nvml, device.handle
        rates = self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        memory = self._ask(lambda: self._memory(handle))
        milliwatts = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        limit = self._ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        compute = self._ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
        graphics = self._ask(lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)) or []
        return GpuSample(
            index=device.index,
            name=device.name,
            uuid=device.uuid,
            utilization=None if rates is None else rates.gpu,
            memory_used=None if memory is None else memory.used,
            memory_total=None if memory is None else memory.total,
            power=None if milliwatts is None else milliwatts / 1000,
            power_limit=None if limit is None else limit / 1000,
            # Its successor nvmlDeviceGetTemperatureV is unknown to drivers that torch still supports.
            temperature=self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            sm_clock=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            memory_clock=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            energy=self._joules(device),
            pids=sorted({process.pid for process in (*compute, *graphics)}),
        )

    def energy(self, device: Device) -> float | None:
        """A device's energy counter in joule; None where it has none or tells nothing any more."""
        try:
            return self._joules(device)
        except (DeviceProblem, GpuProblem):
            return None

    def _joules(self, device: Device) -> float | None:
        millijoules = self._ask(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(device.handle))
        return None if millijoules is None else millijoules / 1000

    def _ask(self, question: Callable[[], T]) -> T | None:
        """The answer, or None where the device does not tell this one thing.

        Raises DeviceProblem or GpuProblem where it will tell nothing any more.
        """
        try:
            return question()
        except self._nvml.NVMLLibraryMismatchError:  # the driver is older than this question
            return None
        except self._nvml.NVMLError as error:
            if self._code(error) in (*_DRIVER_GONE, *_DEVICE_GONE):
                raise self._problem(error, of_device=True) from None
            return None

    def _must(self, question: Callable[[], T], of_device: bool = False) -> T:
        """The answer to a question without which nothing goes on. Raises DeviceProblem (of_device) or GpuProblem."""
        try:
            return question()
        except self._nvml.NVMLError as error:
            raise self._problem(error, of_device) from None

    def _code(self, error: Any) -> str:
        """The name of an error we know; '' for others."""
        codes = (*_DRIVER_GONE, *_DEVICE_GONE, "NVML_ERROR_LIBRARY_NOT_FOUND")
        return next((code for code in codes if getattr(self._nvml, code) == error.value), "")

    def _problem(self, error: Any, of_device: bool) -> GpuProblem | DeviceProblem:
        code = self._code(error)
        if code == "NVML_ERROR_LIBRARY_NOT_FOUND":
            return GpuProblem(NO_GPU, "the NVIDIA driver's library (libnvidia-ml) is not installed")
        if code in _DRIVER_GONE:
            return GpuProblem(_DRIVER_GONE[code])
        if of_device:
            return DeviceProblem(_DEVICE_GONE.get(code) or f"does not answer ({error})")
        return GpuProblem(f"the NVIDIA driver does not answer ({error})")


def _library() -> ModuleType:
    try:
        import pynvml
    except ImportError:
        raise GpuProblem(NO_GPU, "the Python package nvidia-ml-py is not installed") from None
    return pynvml
