"""What a worker brings along into the queue: its devices, how long it expects to take, and few imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.config import RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.monitor import devices as monitor_devices
from fmnist_tui.monitor.gpus import Gpu, GpuList
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run
from fmnist_tui.runs.tickets import Device
from fmnist_tui.training.turn import expected_seconds
from tests.results import ON_CPU, result_of
from tests.unit.queued import CPU, GPUS


def test_waiting_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, fmnist_tui.training.__main__, fmnist_tui.training.turn\n"
        "print(*({'torch', 'torchvision', 'numpy', 'textual'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    found = [Gpu(ordinal=n, index=n + 4, name="H200", uuid=f"GPU-{n}", memory_total=None) for n in range(count)]
    monkeypatch.setattr(monitor_devices, "list_gpus", lambda: GpuList(found, ""))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_what_a_device_option_means(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert monitor_devices.devices_for("auto") == GPUS[:2]
    assert monitor_devices.devices_for("cuda") == monitor_devices.devices_for("cuda:0") == [GPUS[0]]
    assert monitor_devices.devices_for("cuda:1") == [GPUS[1]]
    assert monitor_devices.devices_for("cuda", 2) == GPUS[:2], "several of them: any"
    assert monitor_devices.devices_for("cuda:9") == [Device(key="cuda:9", name="cuda:9")]
    assert monitor_devices.devices_for("cpu") == monitor_devices.devices_for("cpu:0") == [CPU]
    assert [device.key for device in monitor_devices.devices_for("toaster")] == ["toaster"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-7,MIG-8")
    gpus_before = monitor_devices.devices_for("cuda:0")
    assert [device.key for device in gpus_before] == ["MIG-7"], "two instances of one GPU are two devices"
    gpus(monkeypatch, 0)
    monkeypatch.setattr(monitor_devices.platform, "system", lambda: "Linux")
    assert monitor_devices.devices_for("auto") == [CPU]
    monkeypatch.setattr(monitor_devices.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(monitor_devices.platform, "machine", lambda: "arm64")
    assert [device.key for device in monitor_devices.devices_for("auto")] == ["mps"]


def finished(runs_dir: Path, config: RunConfig, **changes: Any) -> Run:
    """A finished run: 8 epochs of 100 steps in 400 s on the CPU."""
    run = starting.create_run(runs_dir, config, "cpu")
    values = ON_CPU | {"epochs": 8, "steps": 800, "total_seconds": 400.0} | changes
    run.result.write_text(result_of(config, run.id, **values).to_json())
    return store.load_run(run)


def expected(config: RunConfig, runs: list[Run], launch: LaunchRequest | None = None, **status: Any) -> float | None:
    return expected_seconds(config, launch or LaunchRequest(), Status(state=State.STARTING, **status), [CPU], runs)


def test_a_run_expects_what_one_like_it_took(runs_dir: Path) -> None:
    config = load_preset("quick")
    like = finished(runs_dir, config)
    assert expected(config, []) is None
    assert expected(config, [like]) == 400.0
    assert expected(with_changes(config, {"training.epochs": 16, "seed": 7, "optimizer.lr": 0.01}), [like]) == 800.0
    assert expected(with_changes(config, {"training.max_steps": 100}), [like]) == 50.0
    assert expected(config, [like], LaunchRequest(epochs=4)) == 200.0
    assert expected(config, [like], LaunchRequest(gpus=2)) is None, "that one had a single device"
    for other in ({"model.widen_factor": 4}, {"training.batch_size": 32}, {"training.precision": "fp32"}):
        assert expected(with_changes(config, other), [like]) is None
    assert expected(config, [finished(runs_dir, config, device="cuda:0")]) is None
    assert expected(config, [finished(runs_dir, config, complete=False)]) is None
    assert expected(config, [finished(runs_dir, config, total_seconds=80.0), like]) == 80.0, "the newest"


def test_a_resumed_run_expects_its_own_pace(runs_dir: Path) -> None:
    config = load_preset("quick")
    like = finished(runs_dir, config)
    went: dict[str, Any] = {"step": 200, "steps_per_epoch": 100, "active_seconds": 300.0, "epoch": 3}
    assert expected(config, [like], **went) == 600 * 1.5
    assert expected(config, [like], LaunchRequest(epochs=2), **went) == 0.0
