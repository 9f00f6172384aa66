"""`fmnist-tui doctor`: what is here, what would be chosen, and what is wrong, in words. Registered by `cli`.

Each part answers for itself: whatever is broken on the machine becomes a line, never a traceback.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from fmnist_tui.console import options as o
from fmnist_tui.console.doctor_places import directories

PROBE_SECONDS = 120.0
"""How long torch may take to say what it sees; a cold disk and a first CUDA start take a while."""

PACKAGES = (
    "torch",
    "torchvision",
    "pillow",
    "numpy",
    "textual",
    "rich",
    "typer",
    "pydantic",
    "psutil",
    "nvidia-ml-py",
    "platformdirs",
    "filelock",
    "tomli-w",
)
"""What pyproject.toml asks for."""
EXTRAS = ("tensorboard", "onnx", "onnxscript", "onnxruntime", "safetensors", "submitit")
MIN_COLUMNS, MIN_LINES = 80, 24


def doctor_command(
    runs_dir: o.RunsDirOption = None, data_dir: o.DataDirOption = None, json: o.JsonOption = False
) -> int:
    """Show what is here: versions, devices, data, directories, terminal, and what a run would choose.

    Problems are listed at the end in plain words. Exit code 0 even so.
    """
    from fmnist_tui.console.doctor_text import doctor_text
    from fmnist_tui.console.output import console, print_json

    with console(stderr=True).status("asking torch what it sees ..."):  # shown on a terminal only
        report = examine(runs_dir, data_dir)
    if json:
        print_json(report)
    else:
        console().print(doctor_text(report))
    return 0


def examine(runs_dir: Path | None, data_dir: Path | None) -> dict[str, Any]:
    """Everything doctor says, as plain values; 'problems' is the list of what is wrong."""
    problems: list[str] = []
    return {
        "versions": _versions(problems),
        "extras": _installed(EXTRAS),
        "machine": _machine(),
        "devices": _devices(problems),
        "data": _data(data_dir, problems),
        "directories": directories(runs_dir, problems),
        "presets": _presets(problems),
        "terminal": _terminal(problems),
        "problems": problems,
    }


def _versions(problems: list[str]) -> dict[str, str | None]:
    from fmnist_tui import __version__

    versions = {"fmnist-tui": __version__, "python": platform.python_version(), **_installed(PACKAGES)}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        problems.append(f"Not installed: {', '.join(missing)}; install fmnist-tui again.")
    return versions


def _installed(packages: tuple[str, ...]) -> dict[str, str | None]:
    """Version of each package, None where it is not installed."""
    from importlib import metadata

    versions: dict[str, str | None] = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _machine() -> dict[str, Any]:
    import psutil

    return {
        "platform": platform.platform(),
        "host": platform.node(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _devices(problems: list[str]) -> dict[str, Any]:
    from fmnist_tui.monitor import list_gpus

    found = list_gpus()
    torch_sees, problem = probe_torch()
    if problem:
        problems.append(problem)
    elif len(found.gpus) > len(torch_sees["cuda_devices"]):
        problems.append(
            f"The driver shows {len(found.gpus)} GPUs, but torch can use {len(torch_sees['cuda_devices'])} "
            f"(it was built for CUDA {torch_sees['cuda_version'] or 'no version'}); runs would not use the others."
        )
    auto = torch_sees.get("auto", {})
    if auto.get("device") == "cpu" and auto.get("cpu_kernels") == "off":
        why = auto["reasons"]["cpu_kernels"]
        problems.append(f"Networks train up to twice as slow on this CPU as they could: {why}.")
    broken = [device for device in torch_sees.get("cuda_devices", []) if not device["works"]]
    problems += [f"{device['device']} ({device['name']}) calculates wrongly; do not train on it." for device in broken]
    return {
        "gpus": [
            {"device": f"cuda:{gpu.ordinal}", "index": gpu.index, "name": gpu.name, "memory_bytes": gpu.memory_total}
            for gpu in found.gpus
        ],
        "gpu_note": found.problem,
        "torch": torch_sees,
    }


def probe_torch(seconds: float = PROBE_SECONDS) -> tuple[dict[str, Any], str]:
    """What torch sees, asked in a process of its own; or nothing and what went wrong, in words."""
    command = [sys.executable, "-m", "fmnist_tui.training.probe"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {}, f"torch did not answer within {seconds:.0f} s; the GPU driver may hang. Try: nvidia-smi"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return {}, f"torch crashed ({name}) when it was asked for its devices; training would crash too."
    last_line = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode > 0:
        return {}, f"torch can't be used: {last_line}"
    return json.loads(done.stdout.splitlines()[-1]), ""


def _data(data_dir: Path | None, problems: list[str]) -> dict[str, Any]:
    from fmnist_tui.data import source

    answer: dict[str, Any] = {"searched": [str(path) for path in source.search_dirs(data_dir)], "full": None}
    try:
        source.load_sample()
        answer["sample"] = True
    except source.DataError as error:
        answer["sample"] = False
        problems.append(str(error))
    try:
        answer["full"] = str(source.verify(data_dir)[0].directory)
    except source.DataError as error:
        problems.append(str(error))
    return answer


def _presets(problems: list[str]) -> list[str]:
    from fmnist_tui.config import ConfigError
    from fmnist_tui.presets import find_presets, load_file

    found = find_presets()
    if not any(preset.origin == "shipped" for preset in found.values()):
        problems.append("The shipped presets are missing; install fmnist-tui again.")
    for preset in found.values():
        try:
            load_file(preset.path)
        except ConfigError as error:
            problems.append(f"The preset {preset.name} is not valid: {error}")
    return list(found)


def _terminal(problems: list[str]) -> dict[str, Any]:
    from fmnist_tui.console.output import console

    stdout = console()
    size = shutil.get_terminal_size()
    terminal = {
        "is_terminal": stdout.is_terminal,
        "columns": size.columns,
        "lines": size.lines,
        "colors": stdout.color_system or "none",
        "encoding": stdout.encoding,
        "term": os.environ.get("TERM", ""),
        "over_ssh": "SSH_CONNECTION" in os.environ,
    }
    if not stdout.is_terminal:
        return terminal
    if size.columns < MIN_COLUMNS or size.lines < MIN_LINES:
        problems.append(
            f"The terminal has {size.columns}x{size.lines} cells; the app needs {MIN_COLUMNS}x{MIN_LINES} or more."
        )
    if "utf" not in stdout.encoding:
        problems.append(f"The terminal's encoding is {stdout.encoding}; charts need UTF-8 (for example LANG=C.UTF-8).")
    return terminal
