"""Figures that README and docs state of measured runs and steps are those of the archived files."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ARCHIVE, STEPS = ROOT / "benchmarks" / "archive", ROOT / "benchmarks" / "gpu" / "h200-2026-11-28.jsonl"
CEILING = 752e12
"""FLOP/s of the matrix product on that machine; docs/benchmarks-gpu.md states it."""

pytestmark = pytest.mark.skipif(not ARCHIVE.is_dir(), reason="the benchmarks are not part of the installed package")


def row_of(file: Path, first: str) -> list[str]:
    """The cells of a Markdown table's row that begins with the cell `first`."""
    line = next(line for line in file.read_text().splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def results(preset: str, device: str, precision: str = "bf16") -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in ARCHIVE.glob(f"*-campaign-{preset}-seed*/result.json")]
    return [result for result in found if device in result["device_name"] and result["precision"] == precision]


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def clock(values: list[float]) -> str:
    """Mean and deviation as README writes times of minutes."""
    mean, deviation = round(statistics.fmean(values)), round(statistics.stdev(values))
    return f"{mean // 60} m {mean % 60:02d} s ± {deviation} s"


@pytest.mark.parametrize(
    ("row", "preset", "device"),
    [
        ("turbo", "turbo", "EPYC"),
        ("turbo-long", "turbo-long", "EPYC"),
        ("turbo on an NVIDIA H200", "turbo", "H200"),
    ],
)
def test_readme_has_the_archived_runs(row: str, preset: str, device: str) -> None:
    found = results(preset, device)
    times = [[float(result[key]) for result in found] for key in ("train_seconds", "total_seconds")]
    assert row_of(ROOT / "README.md", row) == [
        row,
        *(f"{spread([float(result[key]) for result in found], 2)} %" for key in ("test_accuracy", "tta_accuracy")),
        *([f"{spread(values, 1)} s" for values in times] if device == "H200" else map(clock, times)),
        str(len(found)),
    ]


def test_readme_has_the_archived_run_without_bf16() -> None:
    (found,) = results("turbo", "EPYC", "fp32")
    minutes = [
        f"{round(found[key]) // 60} m {round(found[key]) % 60:02d} s" for key in ("train_seconds", "total_seconds")
    ]
    row = "turbo, on a CPU without bf16"
    accuracies = [f"{found[key]:.2f} %" for key in ("test_accuracy", "tta_accuracy")]
    assert row_of(ROOT / "README.md", row) == [row, *accuracies, *minutes, "1"]


def test_the_gpus_steps_are_the_archived_ones() -> None:
    steps: dict[str, dict[str, dict[str, Any]]] = {}
    for line in STEPS.read_text().splitlines():
        step = json.loads(line)
        steps.setdefault(step["preset"], {})[step["variant"]] = step
    assert len(steps) == 6
    for preset, variants in steps.items():
        order = ("eager", "graphs", "compiled-only", "compiled")
        best = variants.get("compiled", variants["graphs"])
        times = [f"{1000 * variants[name]['step_seconds']:.2f}" if name in variants else "" for name in order]
        assert row_of(ROOT / "docs" / "benchmarks-gpu.md", preset) == [
            preset,
            str(best["batch_size"]),
            *times,
            f"{best['batch_size'] / best['step_seconds']:,.0f}",
            f"{variants['eager']['step_seconds'] / best['step_seconds']:.1f}",
            f"{best['flops_per_second'] / 1e12:.0f}",
            f"{100 * best['flops_per_second'] / CEILING:.0f} %",
        ]
