"""What `doctor` found, as text in sections. Called by `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fmnist_tui import paths
from fmnist_tui.console import words

Rows = list[tuple[str, str]]
FIRST = ("fmnist-tui", "python", "torch", "torchvision")
"""The versions people ask for first; the others share a line."""


def doctor_text(report: dict[str, Any]) -> RenderableType:
    """The report in sections, the problems last."""
    parts: list[RenderableType] = []
    for title, rows in _sections(report):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True, min_width=14)
        grid.add_column(overflow="fold")
        for label, value in rows:
            grid.add_row(label, value)
        parts += [Text(title, style="bold"), grid, Text()]
    if report["problems"]:
        parts.append(Text("Problems", style="bold yellow"))
        parts += [Text(f"- {problem}") for problem in report["problems"]]
    else:
        parts.append(Text("No problems found.", style="green"))
    return Group(*parts)


def _sections(report: dict[str, Any]) -> list[tuple[str, Rows]]:
    versions, machine, data, directories = (report[key] for key in ("versions", "machine", "data", "directories"))
    terminal = report["terminal"]
    first = [(name, versions[name] or "not installed") for name in FIRST]
    others = _listed({name: version for name, version in versions.items() if name not in FIRST})
    known = {name: machine[f"{name}s"] for name in ("core", "thread")}
    counted = [words.count(number, name) for name, number in known.items() if number]  # no system need tell them
    cores = ", ".join([*counted, f"{words.size(machine['memory_bytes'])} memory"])
    shown = f"{terminal['columns']}x{terminal['lines']}, {terminal['colors']} colours, {terminal['encoding']}"
    return [
        ("Versions", [*first, ("others", others), ("extras", _listed(report["extras"]))]),
        ("Machine", [("host", machine["host"]), ("system", machine["platform"]), ("processor", cores)]),
        ("Devices", _device_rows(report["devices"])),
        (
            "Data",
            [
                ("full", data["full"] or "not found, or damaged; see the problems"),
                ("sample", "comes with the program" if data["sample"] else "damaged"),
                ("searched", "\n".join(data["searched"])),
            ],
        ),
        (
            "Directories",
            [
                ("runs", f"{directories['runs']} ({words.count(directories['runs_count'], 'run')})"),
                ("disk free", words.size(directories["disk_free_bytes"])),
                ("spare checkpoints", _spare(directories)),
                ("presets", "\n".join(directories["presets"])),
                ("data cache", directories["data_cache"]),
                ("queue, theme", directories["state"]),
                ("preset names", ", ".join(report["presets"])),
            ],
        ),
        (
            "Terminal",
            [
                ("screen", shown if terminal["is_terminal"] else "stdout is no terminal"),
                ("TERM", terminal["term"] + (" over SSH" if terminal["over_ssh"] else "")),
            ],
        ),
    ]


def _listed(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'not installed'}" for name, version in versions.items())


def _spare(directories: dict[str, Any]) -> str:
    """What finished runs keep beside their last checkpoints, and the command that removes it."""
    spare = directories["spare_checkpoints_bytes"]
    if not spare:
        return "none"
    return f"{words.size(spare)}; to free it: {paths.command_line('runs', 'prune', of=Path(directories['runs']))}"


def _device_rows(devices: dict[str, Any]) -> Rows:
    rows = [
        (gpu["device"], f"{gpu['name']}, {words.size(gpu['memory_bytes'])} (GPU {gpu['index']} of the driver)")
        for gpu in devices["gpus"]
    ]
    if devices["gpu_note"]:
        rows.append(("GPU", devices["gpu_note"]))
    torch_sees = devices["torch"]
    if not torch_sees:
        return [*rows, ("torch", "gave no answer; see the problems")]
    usable = [f"{device['device']} (capability {device['capability']})" for device in torch_sees["cuda_devices"]]
    usable += ["mps"] if torch_sees["mps"] else []
    rows.append(("torch can use", ", ".join([*usable, f"cpu ({words.count(torch_sees['cpu_threads'], 'thread')})"])))
    if torch_sees["cuda_version"]:
        rows.append(("torch CUDA", f"{torch_sees['cuda_version']}, cuDNN {torch_sees['cudnn_version'] or 'none'}"))
    auto = torch_sees["auto"]
    reasons = auto["reasons"]
    rows.append(("auto chooses", auto["device"]))
    for choice in (key for key in auto if key not in ("device", "reasons")):
        why = reasons.get(choice)
        rows.append(("", f"{choice} {auto[choice]}" + (f": {why}" if why else "")))
    return rows
