"""How the arithmetic is done on a device: precision, memory format, threads, torch's switches, and why.

`choose` turns the configuration's "auto" into what was measured faster on that kind of device. Called once
by the worker (and by calibration, bench and doctor); what it chose is written into the run's events and result.
Whether compiling pays is the one thing it leaves open on a GPU: `compiling` finds out by trying.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch

from fmnist_tui.config import ConfigError, FieldError, TrainingConfig
from fmnist_tui.models import kernels
from fmnist_tui.training.memory import keep_freed_memory
from fmnist_tui.training.optim import FUSED_DEVICES
from fmnist_tui.training.threads import choose_threads

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


TORCH_THREADS = torch.get_num_threads()
"""Threads torch itself would use, before anything here changed it."""


@dataclass(frozen=True)
class Execution:
    """How a run computes. `reasons` says for each choice why it was made, in words."""

    device: torch.device
    precision: str
    memory_format: torch.memory_format
    compile: str
    """A mode of torch.compile, or 'off'."""
    threads: int = 1
    """CPU threads at the start."""
    follow_load: bool = False
    """Whether the number of threads may change with the load while the run is at work."""
    try_compile: bool = False
    """Whether `compiling` shall try what is faster; `compile` is 'off' until then."""
    fused: bool = False
    tf32: bool = False
    cudnn_benchmark: bool = False
    cuda_graphs: bool = False
    """Whether training steps are recorded and replayed: see `graphs`."""
    cpu_kernels: bool = False
    """Whether layers run in the passes of `models.kernels`."""
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
        values = {
            "precision": self.precision,
            "memory_format": self.layout,
            "compile": self.compile,
            "threads": str(self.threads),
            "fused": _on_off(self.fused),
            "tf32": _on_off(self.tf32),
            "cudnn_benchmark": _on_off(self.cudnn_benchmark),
            "cuda_graphs": _on_off(self.cuda_graphs),
            "cpu_kernels": _on_off(self.cpu_kernels),
        }
        return {key: values[key] for key in self.reasons}

    @property
    def choices_in_words(self) -> dict[str, str]:
        """Each choice with its reason, as the result keeps it."""
        return {key: f"{value}: {self.reasons[key]}" for key, value in self.choices.items()}

    def with_compile(self, mode: str, reason: str) -> Execution:
        """The same with a choice of `compile` that was made later, as `compiling` makes it."""
        return replace(self, compile=mode, reasons=self.reasons | {"compile": reason})

    def without_graphs(self, reason: str) -> Execution:
        """The same with steps that are not recorded."""
        if not self.cuda_graphs:
            return self
        return replace(self, cuda_graphs=False, reasons=self.reasons | {"cuda_graphs": reason})

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
        raise ConfigError([FieldError("device", name, "must be auto, cpu, cuda, cuda:N or mps")]) from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = (
                f"there are {count} CUDA devices (cuda:0 to cuda:{count - 1}); choose one of them, cpu or auto"
                if count
                else "torch sees no CUDA device; choose cpu or auto"
            )
            raise ConfigError([FieldError("device", name, there)])
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError([FieldError("device", name, "torch sees no Apple GPU; choose cpu or auto")])
    if device.type not in ("cpu", "mps"):
        raise ConfigError([FieldError("device", name, "must be auto, cpu, cuda, cuda:N or mps")])
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
    """What 'auto' means on this device, and what was set by the user as it stands.

    Looks at the load for a moment where the number of threads depends on it.
    """
    reasons: dict[str, str] = {}
    precision: str = config.precision
    if precision == "auto":
        precision, reasons["precision"] = _auto_precision(device)
    else:
        reasons["precision"] = "set"
    mode, reasons["compile"] = (
        (config.compile, "set") if config.compile != "auto" else ("off", _why_eager(config, device))
    )
    threads = choose_threads(config, device.type == "cpu", TORCH_THREADS)
    reasons["threads"] = threads.reason
    switches = _switches(config, device, precision, reasons)
    if device.type == "cpu":
        switches["cpu_kernels"], reasons["cpu_kernels"] = _cpu_kernels(config, precision, mode)
    layout: str = config.memory_format
    if layout == "auto":
        layout, reasons["memory_format"] = _auto_layout(device, precision, switches.get("cpu_kernels", False))
    else:
        reasons["memory_format"] = "set"
    return Execution(
        device,
        precision,
        torch.channels_last if layout == "channels_last" else torch.contiguous_format,
        mode,
        threads=threads.number,
        follow_load=threads.follows_load,
        try_compile=config.compile == "auto" and device.type == "cuda" and not config.deterministic,
        reasons=reasons,
        **switches,
    )


def _switches(config: TrainingConfig, device: torch.device, precision: str, reasons: dict[str, str]) -> dict[str, bool]:
    """The settings that are on or off. Those of a GPU have no reason, and so no line, on other devices."""
    cuda = device.type == "cuda"
    exact = "off where deterministic" if config.deterministic else "faster"
    recorded, why_recorded = cuda and not config.deterministic, exact
    if recorded and precision == "fp16":
        recorded, why_recorded = False, "off with the scaler of fp16"
    available = device.type in FUSED_DEVICES
    automatic = {
        "fused": (available, "one operation for all parameters" if available else f"torch has none on {device.type}"),
        "tf32": (cuda and not config.deterministic, exact),
        "cudnn_benchmark": (cuda and not config.deterministic, exact),
        "cuda_graphs": (recorded, why_recorded),
    }
    switches = {}
    for key, (value, why) in automatic.items():
        setting = getattr(config, key)
        switches[key] = value if setting == "auto" else setting == "on"
        if key == "fused" or cuda:
            reasons[key] = why if setting == "auto" else "set"
    switches["cuda_graphs"] &= cuda
    return switches


def _auto_layout(device: torch.device, precision: str, cpu_kernels: bool) -> tuple[str, str]:
    # CUDA: tensor cores read channels_last without a transpose. CPU, 2 cores with AVX-512 BF16, torch 2.14: 2 to 4
    # times faster together with bf16.
    if device.type == "cuda" or (device.type == "cpu" and precision == "bf16"):
        return "channels_last", f"convolutions in {precision} on {device.type} are faster in it"
    if cpu_kernels:
        return "channels_last", "what cpu_kernels are for"
    return "contiguous", f"channels_last was not measured faster with {precision} here"


def _cpu_kernels(config: TrainingConfig, precision: str, compile_mode: str) -> tuple[bool, str]:
    """Whether they are used, and why. Only where nothing else forbids it are they built."""
    if config.cpu_kernels == "off":
        return False, "set"
    if config.deterministic and config.cpu_kernels == "auto":
        return False, "off where deterministic: a machine without a C compiler would go on with other bits"
    if precision == "fp16" or config.memory_format == "contiguous":
        return False, "they are for bf16 and fp32 in channels_last"
    if compile_mode != "off":
        return False, "off with torch.compile"
    if (problem := kernels.problem(DTYPES[precision])) is not None:
        return False, problem
    if config.cpu_kernels == "on":
        return True, "set"
    fewer = "fewer multiplications, and " if kernels.convolves(DTYPES[precision]) else ""
    return True, f"{fewer}fewer passes over memory"


def _on_off(value: bool) -> str:
    return "on" if value else "off"


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


def _why_eager(config: TrainingConfig, device: torch.device) -> str:
    if config.deterministic:
        return "a deterministic run is not compiled"
    if device.type == "cpu":
        return "compiling was measured to bring nothing on a CPU"
    if device.type == "cuda":
        return "until a trial shows what is faster"
    return f"compiling was not measured on {device.type}; set training.compile to try it"


def apply_global_settings(execution: Execution, deterministic: bool) -> None:
    """Process-wide switches: GPU, threads, TF32 for what stays fp32, cudnn's search, deterministic algorithms, malloc.

    Called before the process's first product of matrices on a GPU, which is when cuBLAS reads its setting.
    """
    if execution.device.type == "cuda":
        # What names no device means this one: an event that is recorded, a thread of the compiler.
        torch.cuda.set_device(execution.device)
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(execution.threads)
    torch.backends.cudnn.benchmark = execution.cudnn_benchmark
    if execution.compile != "off" or execution.try_compile:
        torch.use_deterministic_algorithms(deterministic)
    else:  # the same but for the compiler's own switch, which would load the compiler (see `eager`)
        torch.set_deterministic_debug_mode("error" if deterministic else "default")
    # Uninitialised memory is never read here; filling it would cost a pass over every new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = execution.tf32
    torch.backends.cudnn.allow_tf32 = execution.tf32
    kernels.use(execution.dtype if execution.cpu_kernels else None)
    if execution.device.type == "cpu":
        keep_freed_memory()
