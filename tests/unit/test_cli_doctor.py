"""`doctor`: it answers whatever is broken, and says so in words."""

from __future__ import annotations

import json
import os
import stat
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fmnist_tui import paths
from fmnist_tui.cli import main
from fmnist_tui.console import doctor
from fmnist_tui.console.doctor_text import doctor_text
from fmnist_tui.monitor import Gpu, GpuList
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.status import State, Status

TORCH_SEES: dict[str, Any] = {
    "cuda_version": "13.0",
    "cudnn_version": 92400,
    "cuda_devices": [],
    "mps": False,
    "cpu_threads": 2,
    "auto": {
        "device": "cpu",
        "precision": "fp32",
        "memory_format": "contiguous",
        "compile": "off",
        "reasons": {"precision": "this CPU has no bf16 instructions"},
    },
}


@pytest.fixture
def torch_sees(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What torch is made to see, without starting it."""
    answer = json.loads(json.dumps(TORCH_SEES))
    monkeypatch.setattr(doctor, "probe_torch", lambda: (answer, ""))
    return answer


def text_of(report: dict[str, Any]) -> str:
    output = StringIO()
    Console(file=output, width=100, markup=False).print(doctor_text(report))
    return output.getvalue()


def fake_python(path: Path, script: str) -> str:
    """An executable that takes the place of Python."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_json_is_one_object_and_text_has_the_same(torch_sees: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["versions"]["torch"] and report["directories"]["runs"] == str(Path("runs").absolute())
    assert report["devices"]["torch"] == torch_sees and report["data"]["sample"] is True
    assert report["presets"][0] == "quick"
    text = text_of(report)
    assert f"torch           {report['versions']['torch']}" in text
    assert "precision fp32: this CPU has no bf16 instructions" in text
    assert main(["doctor"]) == 0
    assert "Versions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -SEGV $$", "torch crashed (SIGSEGV)"),
        ("sleep 60", "did not answer within 1 s"),
        ("echo 'ImportError: no libcudart' >&2; exit 1", "torch can't be used: ImportError: no libcudart"),
    ],
)
def test_a_broken_torch_does_not_take_doctor_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(doctor.sys, "executable", fake_python(tmp_path / "python", script))
    answer, problem = doctor.probe_torch(seconds=1.0)
    assert answer == {} and words in problem
    monkeypatch.setattr(doctor, "probe_torch", lambda: (answer, problem))
    report = doctor.examine(None, None)
    assert words in report["problems"][0]
    assert words in text_of(report)


def test_gpus_that_torch_cannot_use_and_one_that_miscalculates(
    torch_sees: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [Gpu(ordinal=n, index=n, name="NVIDIA H200", uuid="", memory_total=150_000_000_000) for n in range(2)]
    monkeypatch.setattr("fmnist_tui.monitor.list_gpus", lambda: GpuList(gpus, ""))
    torch_sees["cuda_devices"] = [
        {"device": "cuda:0", "name": "NVIDIA H200", "memory_bytes": 1, "capability": "9.0", "works": False}
    ]
    report = doctor.examine(None, None)
    problems = "\n".join(report["problems"])
    assert "shows 2 GPUs, but torch can use 1" in problems
    assert "cuda:0 (NVIDIA H200) calculates wrongly" in problems
    assert "cuda:1          NVIDIA H200, 150 GB" in text_of(report)


@pytest.mark.parametrize(("cores", "threads", "said"), [(1, 1, "1 core, 1 thread, "), (None, 4, "4 threads, ")])
def test_what_of_the_processor_is_known_is_told(
    torch_sees: Any, cores: int | None, threads: int, said: str, tmp_path: Path
) -> None:
    report = doctor.examine(None, tmp_path)
    report["machine"] |= {"cores": cores, "threads": threads}
    report["devices"]["torch"]["cpu_threads"] = 1
    assert f"processor       {said}" in text_of(report) and "cpu (1 thread)" in text_of(report)


def test_a_cpu_without_the_layers_made_for_it_is_a_problem(torch_sees: dict[str, Any]) -> None:
    torch_sees["auto"] |= {"cpu_kernels": "on"}
    assert not any("as slow" in problem for problem in doctor.examine(None, None)["problems"])
    torch_sees["auto"] |= {"cpu_kernels": "off", "reasons": {"cpu_kernels": "there is no C compiler (cc); install one"}}
    said = "Networks train up to twice as slow on this CPU as they could: there is no C compiler (cc); install one."
    assert said in doctor.examine(None, None)["problems"]
    torch_sees["auto"] |= {"device": "cuda:0"}
    assert said not in doctor.examine(None, None)["problems"]


def test_data_that_is_missing(torch_sees: Any, tmp_path: Path) -> None:
    report = doctor.examine(None, tmp_path / "nothing")
    assert report["data"]["full"] is None
    assert any("apt-get install" in problem for problem in report["problems"])
    assert "not found, or damaged" in text_of(report)


def test_runs_and_presets_that_are_broken(torch_sees: Any, tmp_path: Path) -> None:
    run = starting.create_run(tmp_path / "runs", load_preset("quick"))
    status = Status.model_validate_json(run.status.read_bytes())
    lost = status.model_copy(update={"state": State.RUNNING, "pid": 2**22 + 1, "pid_started": 1.0})
    replace_bytes(run.status, lost.to_json().encode())
    starting.create_run(tmp_path / "runs", load_preset("quick")).path.rename(tmp_path / "runs" / "a\x1bb")
    own = paths.user_presets_dir()
    own.mkdir(parents=True)
    (own / "bad.toml").write_text("seed = 1\n")
    problems = "\n".join(doctor.examine(None, None)["problems"])
    assert f"Runs whose process is gone: {run.id}. Go on with: fmnist-tui run resume {run.id}" in problems
    assert "Left out: a run whose name is no line of printable text. Rename it" in problems
    assert "The preset bad is not valid" in problems and "model" in problems
    newer = starting.create_run(tmp_path / "runs", load_preset("quick"))
    replace_bytes(newer.status, lost.to_json().encode())
    newer.config.write_text("{")
    (tmp_path / "runs").rename(tmp_path / "else where")
    problems = "\n".join(doctor.examine(tmp_path / "else where", None)["problems"])
    assert f"gone: {newer.id}, {run.id}. Go on with one of them: fmnist-tui run resume {run.id} --runs-dir" in problems
    assert f"fmnist-tui run resume {run.id} --runs-dir '{tmp_path}/else where'" in problems
    (tmp_path / "else where" / run.id / "config.json").unlink()
    problems = "\n".join(doctor.examine(tmp_path / "else where", None)["problems"])
    assert "run resume" not in problems and f"{run.id}. It can't go on: config.json is damaged" in problems
    (tmp_path / "afile").write_text("")
    assert any("is a file" in problem for problem in doctor.examine(tmp_path / "afile", None)["problems"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_runs_directory_that_is_not_writable(torch_sees: Any, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert any("not writable" in problem for problem in doctor.examine(closed, None)["problems"])


def test_places_that_all_runs_share_and_that_take_no_files(
    torch_sees: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any("FMNIST_TUI_" in problem for problem in doctor.examine(None, None)["problems"])
    (tmp_path / "afile").write_text("")
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"FMNIST_TUI_{name}_DIR", str(tmp_path / "afile" / name))
    report = doctor.examine(None, None)
    problems = "\n".join(report["problems"])
    assert f"{tmp_path}/afile/STATE can't be written, so runs do not wait for one another; choose another" in problems
    assert f"{tmp_path}/afile/CACHE can't be written" in problems and "FMNIST_TUI_CACHE_DIR." in problems
    assert f"queue,theme{tmp_path}/afile/STATE" in "".join(text_of(report).split()), "folded where it is long"


def test_little_disk(torch_sees: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 500_000_000}))
    assert any("Only 0.5 GB are free" in problem for problem in doctor.examine(None, None)["problems"])
