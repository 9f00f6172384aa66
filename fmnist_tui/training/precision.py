"""How the arithmetic is done on a device: precision, memory format, compilation, and why.

`choose` turns the configuration's "auto" into what was measured faster on that kind of device. Called once
by the worker (and by calibration and doctor); what it chose is written into the run's events and result.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch

from fmnist_tui.config import ConfigError, FieldError, TrainingConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Execution:
    """How a run computes. `reasons` says for each choice why it was made, in words."""

    device: torch.device
    precision: str
    memory_format: torch.memory_format
    compile: str
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the network's activations."""
        return DTYPES[self.precision]

    @property
    def layout(self) -> str:
        """The memory format by the name the configuration uses."""
        return "channels_last" if self.memory_format is torch.channels_last else "contiguous"

    @property
    def choices(self) -> dict[str, str]:
        """Each choice by the name of its field in the configuration's training section."""
        return {"precision": self.precision, "memory_format": self.layout, "compile": self.compile}

    def autocast(self) -> AbstractContextManager[object]:
        """The context the network runs in: weights stay float32, convolutions and products run in `dtype`."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def resolve_device(name: str) -> torch.device:
    """The device a user asked for; 'auto' is the first CUDA device, else MPS, else the CPU.

    Raises ConfigError for a device that is not there, naming what is.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError([FieldError("--device", name, "must be auto, cpu, cuda, cuda:N or mps")]) from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = (
                f"there are {count} CUDA devices (cuda:0 to cuda:{count - 1})" if count else "torch sees no CUDA device"
            )
            raise ConfigError([FieldError("--device", name, f"{there}; choose one of them, cpu or auto")])
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError([FieldError("--device", name, "torch sees no Apple GPU; choose cpu or auto")])
    if device.type not in ("cpu", "mps"):
        raise ConfigError([FieldError("--device", name, "must be auto, cpu, cuda, cuda:N or mps")])
    return device


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AVX-512 BF16, AMX or Arm's BF16): only then is it the faster."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # torch >= 2.12
    if capabilities is not None:
        found = capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def choose(config: TrainingConfig, device: torch.device) -> Execution:
    """What 'auto' means on this device, and what was set by the user as it stands."""
    reasons: dict[str, str] = {}
    precision: str = config.precision
    if precision == "auto":
        precision, reasons["precision"] = _auto_precision(device)
    else:
        reasons["precision"] = "set"
    layout: str = config.memory_format
    if layout == "auto":
        # CPU, 2 cores with AVX-512 BF16, torch 2.14: 2 to 4 times faster together with bf16. CUDA: tensor
        # cores read channels_last without a transpose.
        faster = device.type == "cuda" or (device.type == "cpu" and precision == "bf16")
        layout = "channels_last" if faster else "contiguous"
        gain = f"{precision} convolutions on {device.type} are faster so"
        reasons["memory_format"] = gain if faster else f"channels_last was not measured faster with {precision} here"
    else:
        reasons["memory_format"] = "set"
    mode: str = config.compile
    if mode == "auto":
        mode, reasons["compile"] = "off", _why_eager(device)
    else:
        reasons["compile"] = "set"
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    return Execution(device, precision, memory_format, mode, reasons)


def _auto_precision(device: torch.device) -> tuple[str, str]:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        if major >= 8:
            return "bf16", f"compute capability {major}.{minor} has bf16 tensor cores"
        if major >= 7:
            return "fp16", f"compute capability {major}.{minor} has fp16 but no bf16 tensor cores"
        return "fp32", f"compute capability {major}.{minor} has no tensor cores"
    if device.type == "cpu":
        if cpu_has_bf16():
            return "bf16", "this CPU has bf16 instructions"
        return "fp32", "this CPU has no bf16 instructions"
    return "fp32", f"lower precision was not measured on {device.type}"


def _why_eager(device: torch.device) -> str:
    if device.type == "cpu":
        return "compiling was measured to bring nothing on a CPU"
    return f"compiling was not measured on {device.type} yet; set training.compile to try it"


def apply_global_settings(execution: Execution, deterministic: bool) -> None:
    """Process-wide switches of torch: TF32 for what stays float32, cudnn's search, deterministic algorithms.

    CUBLAS_WORKSPACE_CONFIG must be set before CUDA starts; `training.__main__` does that.
    """
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    # Uninitialised memory is never read here; filling it would cost a pass over every new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if execution.device.type == "cuda" and not deterministic:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
