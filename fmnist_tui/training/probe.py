"""What torch sees on this machine, as one JSON object on stdout: `python -m fmnist_tui.training.probe`.

Started by `doctor` and `run repeat` as a process of its own, so that a driver that hangs or crashes can't take the
command down.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from fmnist_tui.config import TrainingConfig
from fmnist_tui.training.precision import choose, resolve_device
from fmnist_tui.training.provenance import environment


def probe() -> dict[str, Any]:
    """Devices torch can use, and what `auto` comes to on this machine, with the reasons."""
    execution = choose(TrainingConfig(), resolve_device("auto"))
    return {
        "cuda_version": torch.version.cuda,
        "cudnn_version": torch.backends.cudnn.version(),
        "cuda_devices": [_cuda_device(ordinal) for ordinal in range(_cuda_count())],
        "mps": torch.backends.mps.is_available(),
        "cpu_threads": torch.get_num_threads(),
        "auto": {
            "device": str(execution.device),
            **execution.choices,
            "reasons": execution.reasons,
        },
        "environment": environment().model_dump(mode="json") | {"threads": _deterministic_threads()},
    }


def _deterministic_threads() -> int:
    """CPU threads of a run whose number may not depend on the load."""
    return choose(TrainingConfig(deterministic=True), torch.device("cpu")).threads


def _cuda_count() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _cuda_device(ordinal: int) -> dict[str, Any]:
    """A device after a product on it: being listed does not mean that it works."""
    properties = torch.cuda.get_device_properties(ordinal)
    ones = torch.ones(64, 64, device=f"cuda:{ordinal}")
    return {
        "device": f"cuda:{ordinal}",
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "works": bool((ones @ ones).sum().item() == 64**3),
    }


if __name__ == "__main__":
    print(json.dumps(probe()))
