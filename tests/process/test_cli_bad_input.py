"""Bad input to the command line: which message, which exit code, and that nothing is left behind.

Through `main` in this process, which is quick; a few of them again as real processes, for exit code and streams.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fmnist_tui.cli import main
from fmnist_tui.monitor import Gpu, GpuList
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.status import State
from tests.process import cli_helpers as h

CASES: dict[str, tuple[list[str], int, list[str]]] = {
    "unknown preset": (["run", "preset", "wrnn"], 2, ["'wrnn'", "did you mean wrn?"]),
    "a file as preset": (["run", "preset", "mine.toml"], 2, ["fmnist-tui run config mine.toml"]),
    "directory as file": (["run", "config", "."], 2, ["is a directory"]),
    "missing file": (["run", "config", "nothing.toml"], 2, ["nothing.toml", "no such file"]),
    "broken TOML": (["run", "config", "broken.toml"], 2, ["broken.toml", "not valid TOML", "line 2"]),
    "unknown key in file": (["run", "config", "unknown.toml"], 2, ["model.deph", "did you mean model.depth?"]),
    "preset that is a directory": (["run", "preset", "folder"], 2, ["folder.toml", "is a directory"]),
    "unknown field": (["run", "preset", "quick", "--set=optimizer.lrr=1"], 2, ["optimizer.lrr", "optimizer.lr?"]),
    "field in no section": (["run", "preset", "quick", "--set=lr=1"], 2, ["did you mean optimizer.lr?"]),
    "out of range": (["run", "preset", "quick", "--set=optimizer.lr=1000"], 2, ["optimizer.lr = 1000", "100"]),
    "wrong type": (["run", "preset", "quick", "--set=optimizer.lr=abc"], 2, ["optimizer.lr = 'abc'", "number"]),
    "cross-field": (["run", "preset", "quick", "--set=model.depth=11"], 2, ["model.depth = 11", "6n + 4"]),
    "two wrong": (
        ["run", "preset", "quick", "--set=optimizer.lr=0", "--set=training.batch_size=0"],
        2,
        ["optimizer.lr = 0", "training.batch_size = 0"],
    ),
    "not KEY=VALUE": (["run", "preset", "quick", "--set", "optimizer.lr"], 2, ["KEY=VALUE", "'optimizer.lr'"]),
    "set twice": (["run", "preset", "quick", "--set=seed=1", "--set=seed=2"], 2, ["--set seed", "given twice"]),
    "option and set": (["run", "preset", "quick", "--epochs=2", "--set=training.epochs=3"], 2, ["--epochs 2"]),
    "epochs out of range": (["run", "preset", "quick", "--epochs=0"], 2, ["training.epochs = 0"]),
    "epochs no number": (["run", "preset", "quick", "--epochs=many"], 2, ["--epochs", "'many'"]),
    "seed out of range": (["run", "preset", "quick", "--seed=-1"], 2, ["seed = -1"]),
    "name of two lines": (["run", "preset", "quick", "--name=a\nb"], 2, ["name", "one line"]),
    "scale without epochs": (["run", "preset", "quick", "--scale-schedule"], 2, ["--scale-schedule", "--epochs"]),
    "unknown data": (["run", "preset", "quick", "--data=half"], 2, ["--data", "'half'", "sample"]),
    "unknown device": (["run", "preset", "quick", "--device=gpu"], 2, ["--device gpu", "did you mean cuda?"]),
    "device of no form": (["run", "preset", "quick", "--device=cuda:x"], 2, ["cuda:N"]),
    "several GPUs": (["run", "preset", "quick", "--gpus=99"], 2, ["--gpus 99", "--device cpu --gpus 2"]),
    "missing data": (["run", "preset", "wrn", "--data-dir=empty"], 3, ["empty", "apt-get install", "--data sample"]),
    "damaged data": (["run", "preset", "wrn", "--data-dir=damaged"], 3, ["train-labels-idx1-ubyte", "damaged"]),
    "data to verify": (["data", "verify", "--data-dir=damaged"], 3, ["train-labels-idx1-ubyte"]),
    "runs directory is a file": (["run", "preset", "quick", "--runs-dir=afile"], 2, ["afile", "is a file"]),
    "runs directory in a file": (["run", "preset", "quick", "--runs-dir=afile/runs"], 2, ["is a file"]),
    "listing a file": (["runs", "list", "--runs-dir=afile"], 2, ["afile", "is a file"]),
    "no runs": (["runs", "show", "last"], 2, ["there are no runs", "run preset quick"]),
    "resume of nothing": (["run", "resume", "last"], 2, ["there are no runs"]),
    "unknown command": (["runs", "lst"], 2, ["'lst'", "did you mean fmnist-tui runs list?"]),
    "unknown option": (["runs", "list", "--jsno"], 2, ["--jsno", "did you mean --json?"]),
    "unknown format": (["report", "--format=xml"], 2, ["'xml'", "csv"]),
    "missing option": (["runs", "export", "last"], 2, ["option '--to'. Choose from: csv, tensorboard, onnx, saf"]),
    "output that can't be": (["report", "--output=nowhere/x.md"], 2, ["nowhere/x.md"]),
    "invalid file": (["presets", "validate", "unknown.toml"], 2, ["model.deph"]),
    "stop both ways": (["runs", "stop", "x", "--now", "--after-epoch"], 2, ["exclude each other"]),
    "app without a terminal": ([], 2, ["needs a terminal"]),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """The bad files the cases name, in the current directory."""
    (tmp_path / "broken.toml").write_text('[model]\nkind = "wide\n')
    (tmp_path / "unknown.toml").write_text('[model]\nkind = "wide_resnet"\ndeph = 28\n')
    (tmp_path / "afile").write_text("here")
    (tmp_path / "presets" / "folder.toml").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "damaged" / f"{part}-ubyte").write_bytes(b"not the data")


@pytest.mark.parametrize("case", CASES)
def test_message_exit_code_and_nothing_left(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, code, words = CASES[case]
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    for word in words:
        assert word in captured.err
    assert "Traceback" not in captured.err
    assert captured.err.startswith("error: ")
    assert sorted(tmp_path.rglob("*")) == before, "something was left behind"


def test_a_group_without_a_command_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: fmnist-tui runs: which command? They are listed in its help\n"
    assert "compare" in captured.out


def test_as_a_process_the_message_is_on_stderr_and_the_traceback_only_with_debug() -> None:
    done = h.run("run", "preset", "wrnn")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: preset = 'wrnn': no preset of this name; did you mean wrn?\n"
    with_traceback = h.run("run", "preset", "wrnn", "--debug")
    assert with_traceback.returncode == 2
    assert "Traceback" in with_traceback.stderr and done.stderr in with_traceback.stderr


def test_a_cuda_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("fmnist_tui.monitor.list_gpus", lambda: GpuList([], "no GPU: nothing found"))
    assert main(["run", "preset", "quick", "--device=cuda"]) == 2
    assert "--device cuda: no GPU: nothing found; choose auto or cpu" in capsys.readouterr().err
    one = Gpu(ordinal=0, index=3, name="NVIDIA H200", uuid="GPU-1", memory_total=None)
    monkeypatch.setattr("fmnist_tui.monitor.list_gpus", lambda: GpuList([one], ""))
    assert main(["run", "preset", "quick", "--device=cuda:1"]) == 2
    assert "cuda:0 (NVIDIA H200)" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_runs_directory_that_is_not_writable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert main(["run", "preset", "quick", f"--runs-dir={closed}"]) == 2
    assert "not writable" in capsys.readouterr().err


def test_a_run_id_that_matches_several_or_is_misspelt(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_preset("quick")
    first, second = (starting.create_run(runs_dir, config, device="cpu") for _ in range(2))
    for command in ("show", "watch", "logs", "stop", "delete"):
        assert main(["runs", command, "quick"]) == 2
        error = capsys.readouterr().err
        assert "matches 2 runs" in error and first.id in error and second.id in error
    assert main(["run", "resume", first.id[:-1] + "0"]) == 2
    assert f"did you mean {first.id}?" in capsys.readouterr().err
    assert main(["runs", "delete", first.id, "nothing", "--yes"]) == 2
    assert first.path.is_dir(), "one bad name, and none is deleted"


def test_a_run_at_work_is_neither_resumed_nor_deleted(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = starting.create_run(runs_dir, load_preset("quick"), device="cpu")
    assert store.load_run(run).state is State.STARTING
    for arguments in (["run", "resume", "last"], ["runs", "delete", "last", "--yes"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert "fmnist-tui runs stop" in error
    assert run.path.is_dir()
