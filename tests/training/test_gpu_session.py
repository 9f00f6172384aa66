"""The script for a lent GPU, tried on the CPU: a trace is read, waits are counted, and the table says both."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fmnist_tui.training.rig import Rig
from tests.unit.bench_records import bench_record, comparison

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_session.py"
SETTINGS = ["model.widen_factor=1", "training.batch_size=16"]


@pytest.fixture(scope="module")
def script() -> Any:
    if not SCRIPT.is_file():
        pytest.skip("the benchmarks are not part of the installed package")
    spec = importlib.util.spec_from_file_location("gpu_session", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_profile_names_the_longest_operations_and_no_step_waits(script: Any, tmp_path: Path) -> None:
    found = script.profile("quick", "cpu", SETTINGS, tmp_path)
    names = [one["name"] for one in found["top"]]
    assert "aten::convolution_backward" in names[:4]
    assert found["waits"] == {}
    assert found["top"][0]["milliseconds"] > 0 and found["busy_seconds"] > 0
    assert (tmp_path / "trace-quick-eager.json.gz").is_file()
    assert found["choices"]["compile"] == "off" and not found["recorded"] and found["batch_size"] == 16
    text = script.table([bench_record("quick", comparison=comparison(2.0, 2.5, 2.1))], [found])
    _, benched, _, profiled = (line.split() for line in text.splitlines())
    assert benched == ["quick", "100", "400", "1,000", "50%", "0s", "2.10"]
    assert profiled[:2] == ["quick", "eager"] and profiled[5] == "0.0" and profiled[7:] == ["0s", names[0]]


def test_a_step_that_waits_is_counted(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_step = Rig.take_step

    def waiting(rig: Rig) -> torch.Tensor:
        loss = take_step(rig)
        loss.item()
        return loss

    monkeypatch.setattr(Rig, "take_step", waiting)
    assert script.profile("quick", "cpu", SETTINGS, tmp_path)["waits"] == {"aten::_local_scalar_dense": 1.0}


def test_a_stretch_of_kernels_is_no_kernel(script: Any) -> None:
    """torch marks an optimizer's step on the device's time line; its kernels are there by themselves."""
    kinds = torch.autograd.DeviceType
    cuda, cpu = kinds(kinds.CUDA.value), kinds(kinds.CPU.value)  # an event has its own, equal and not the same
    lines = [
        ("gemm", cuda, False),
        ("Optimizer.step#SGD.step", cuda, True),
        ("the steps", cuda, True),
        ("mm", cpu, False),
    ]
    averages = [SimpleNamespace(key=key, device_type=kind, is_user_annotation=named) for key, kind, named in lines]
    assert [average.key for average in averages if script.counts(average, True)] == ["gemm"]


def test_every_test_for_a_gpu_is_run_also_without_the_other_tests_plugins(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collected as the session does it, on a machine that has pytest alone: its own settings are for plugins."""
    monkeypatch.chdir(SCRIPT.parents[1])
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*script.gpu_tests(), "--collect-only"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_no_step_waits_for_the_device" in done.stdout and "test_one_gpu_by_the_same_path" in done.stdout
    assert "test_a_gpu_augments_alike_and_never_waits" in done.stdout


def test_what_is_started_elsewhere_finds_this_checkout(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests work in a directory of their own, and so do the workers they start."""
    root = SCRIPT.parents[1]
    monkeypatch.chdir(root)
    assert script.search_path(os.pathsep.join([".", "wheels", ""])) == os.pathsep.join([str(root), f"{root}/wheels"])


def test_a_command_that_takes_too_long_is_ended(script: Any) -> None:
    said, code = script.run(["sh", "-c", "echo begun; sleep 600"], 1.0)
    assert code == 124 and "begun" in said and "took too long" in said
    assert script.run(["sh", "-c", "echo ill >&2; exit 3"], 60.0) == ("ill\n", 3)
