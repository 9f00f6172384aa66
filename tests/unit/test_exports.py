"""`runs export` of metrics: CSV read by csv, events read by TensorBoard itself; what can't be exported says why."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.cli import main
from fmnist_tui.console import exporting, torch_process
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import (
    EvalRecord,
    EventRecord,
    GpuSample,
    HostSample,
    SystemRecord,
    TrainRecord,
    read_metrics,
)
from fmnist_tui.runs.records import Record
from fmnist_tui.runs.status import State
from tests.unit.cli_runs import make_run

TIMES = [f"2026-11-23T14:25:{second:02d}.500Z" for second in range(6)]


def train(step: int, loss: float, time: str) -> TrainRecord:
    return TrainRecord(
        time=time, step=step, epoch=1, loss=loss, loss_min=loss, loss_max=loss, lr=0.1, images_per_second=1000.0
    )


RECORDS: list[Record] = [
    EventRecord(time=TIMES[0], event="start", message='a "quoted", text', data={"parameters": 3}),
    train(10, 2.5, TIMES[1]),
    SystemRecord(
        time=TIMES[2],
        gpus=[GpuSample(index=0, name="NVIDIA H200", power=512.5, pids=[7])],
        host=HostSample(cpu_percent=50.0),
    ),
    train(20, math.nan, TIMES[3]),
    EvalRecord(
        time=TIMES[4],
        epoch=1,
        step=20,
        test_loss=0.5,
        test_accuracy=81.25,
        train_loss=0.6,
        train_accuracy=80.0,
        seconds=1.5,
    ),
    SystemRecord(time=TIMES[5]),
]


@pytest.fixture
def run(runs_dir: Path) -> RunDirectory:
    """A stopped run with a few metric lines, one of them damaged and the last one torn."""
    made = make_run(runs_dir, state=State.STOPPED)
    lines = [record.to_json() for record in RECORDS]
    made.metrics.write_text("\n".join([*lines[:3], '{"kind": "train", "step": ', *lines[3:]]) + '\n{"kind": "tra')
    return made


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_are_read_by_kind_without_the_damaged_lines(run: RunDirectory) -> None:
    metrics = read_metrics(run)
    assert [len(part) for part in (metrics.train, metrics.eval, metrics.system, metrics.event)] == [2, 1, 2, 1]
    run.metrics.unlink()
    assert read_metrics(run).train == []


def test_csv_holds_every_record_by_kind(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "export", "last", "--to", "csv"]) == 0
    place = Path(capsys.readouterr().out.strip())
    assert place == Path(f"{run.id}-csv")
    assert [(row["step"], row["loss"]) for row in rows(place / "train.csv")] == [("10", "2.5"), ("20", "NaN")]
    (evaluated,) = rows(place / "eval.csv")
    assert evaluated["test_accuracy"] == "81.25" and evaluated["tta_accuracy"] == ""
    (event,) = rows(place / "event.csv")
    assert event["message"] == 'a "quoted", text' and json.loads(event["data"]) == {"parameters": 3}
    first, second = rows(place / "system.csv")
    assert (first["host.cpu_percent"], first["gpu0.power"], first["gpu0.pids"]) == ("50.0", "512.5", "[7]")
    assert second["gpu0.power"] == ""


def test_no_text_of_a_csv_is_a_formula_and_negative_numbers_stay(run: RunDirectory) -> None:
    said = [EventRecord(time=TIMES[0], event="warning", message=text) for text in ("=1+2", "\tx", "a=b\n=1")]
    run.metrics.write_text(
        "".join(r.to_json() + "\n" for r in [*said, train(10, -2.5, TIMES[1]), train(20, -math.inf, TIMES[1])])
    )
    assert main(["runs", "export", "last", "--to", "csv"]) == 0
    place = Path(f"{run.id}-csv")
    assert [row["message"] for row in rows(place / "event.csv")] == ["'=1+2", "'\tx", "a=b\n=1"]
    assert [row["loss"] for row in rows(place / "train.csv")] == ["-2.5", "-Infinity"]


def test_tensorboard_reads_the_events_back(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second export replaces the first
        assert main(["runs", "export", "last", "--to", "tensorboard", "--output", "board/mine"]) == 0
    assert capsys.readouterr().out.split() == ["board/mine", "board/mine"]
    events = EventAccumulator("board/mine").Reload()
    losses = events.Scalars("train/loss")
    assert [(item.step, item.value) for item in losses[:1]] == [(10, 2.5)]
    assert losses[1].step == 20 and math.isnan(losses[1].value)
    assert losses[0].wall_time == pytest.approx(1795443901.5)
    (accuracy,) = events.Scalars("eval/test_accuracy")
    assert (accuracy.step, accuracy.value) == (20, 81.25)
    assert [item.step for item in events.Scalars("gpu0/watt")] == [10]
    assert "eval/tta_accuracy" not in events.Tags()["scalars"]
    (text,) = events.Tensors("configuration")
    assert b'kind = "wide_resnet"' in text.tensor_proto.string_val[0]


def test_the_tensorboard_program_loads_them(run: RunDirectory) -> None:
    assert main(["runs", "export", "last", "--to", "tensorboard", "--output", "board/mine"]) == 0
    command = [sys.executable, "-m", "tensorboard.main", "--inspect", "--logdir", "board"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "train/loss" in done.stdout and "eval/test_accuracy" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "csv", "--checkpoint", "best"], ["--checkpoint best", "holds metrics"]),
        (["--to", "csv", "--output", "afile"], ["afile", "is a file"]),
        (["--to", "onnx", "--output", "."], ["--output .", "is a directory"]),
        (["--to", "onnx", "--output", "nowhere/x.onnx"], ["nowhere", "no directory"]),
        (["--to", "onnx", "--output", "apipe"], ["--output apipe", "a device or a pipe", "- for stdout"]),
        (["--to", "safetensors", "--checkpoint", "best"], ["has no best checkpoint"]),
        (["--to", "xml"], ["'xml'", "tensorboard"]),
        (["--to", "csv", "-o", "-"], ["--output -: the csv export is a directory", "name one"]),
        (["--to", "tensorboard", "-o", "-"], ["--output -: the tensorboard export is a directory"]),
    ],
)
def test_what_is_refused(
    run: RunDirectory, arguments: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("afile").write_text("here")
    os.mkfifo("apipe")
    assert main(["runs", "export", "last", *arguments]) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in said), error
    assert Path("afile").read_text() == "here"


NETWORK = bytes(range(256))
"""What the exporting process writes in these tests: bytes that are no text."""


@pytest.fixture
def exporter(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in place of torch's, which writes NETWORK."""
    run.checkpoint("last").write_bytes(b"x")

    def written(module: str, *arguments: str) -> bytes:
        Path(arguments[arguments.index("--output") + 1]).write_bytes(NETWORK)
        return b"what a library prints"

    monkeypatch.setattr(exporting, "run_module", written)


@pytest.mark.usefixtures("exporter")
def test_a_dash_is_stdout_and_a_file_of_that_name_has_its_directory(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    command = ["runs", "export", "last", "--to", "safetensors", "--output"]
    assert main([*command, "-"]) == 0
    assert capfdbinary.readouterr() == (NETWORK, b"")
    assert not Path("-").exists()
    assert main([*command, "./-"]) == 0
    assert Path("-").read_bytes() == NETWORK and capfdbinary.readouterr().out == b"-\n"


@pytest.mark.usefixtures("exporter")
def test_a_network_is_not_written_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["runs", "export", "last", "--to", "onnx", "--output", "-"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "--output -: onnx is no text, and stdout is a terminal; redirect it" in said.err


@pytest.mark.usefixtures("exporter")
def test_the_path_of_an_export_is_printed_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "export", "last", "--to", "onnx", "--output", "x\x1b[31m\x9by.onnx"]) == 0
    assert capsys.readouterr().out == "xy.onnx\n"


@pytest.mark.usefixtures("exporter")
def test_a_network_of_unknown_form_is_refused_in_our_words(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    run.config.write_text("{")
    assert main(["runs", "export", "last", "--to", "onnx"]) == 2
    said = capsys.readouterr().err
    assert f"{run.id}: its network cannot be exported: config.json is damaged" in said and "pydantic" not in said


def test_a_run_without_metrics(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(runs_dir)
    assert main(["runs", "export", "last", "--to", "csv"]) == 2
    assert "has no metrics yet" in capsys.readouterr().err


def test_damaged_metric_lines_are_said_to_be_left_out(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir)
    run.metrics.write_text("garbage\n")
    assert main(["runs", "export", "last", "--to", "csv", "--output", "x"]) == 2
    assert f"{run.id}: no line of metrics.jsonl can be read; they are damaged" in capsys.readouterr().err
    assert not Path("x").exists()
    with run.metrics.open("a") as file:
        file.write(EventRecord(event="start", step=0, epoch=0, message="begun").to_json() + "\n{\n")
    assert main(["runs", "export", "last", "--to", "csv", "--output", "x"]) == 0
    assert f"{run.id}: left out 2 lines of metrics.jsonl, damaged or of a newer" in capsys.readouterr().err
    assert "begun" in Path("x/event.csv").read_text()


@pytest.mark.parametrize("form", ["tensorboard", "onnx", "safetensors"])
def test_a_missing_extra_has_a_remedy_in_one_line(
    run: RunDirectory, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    assert main(["runs", "export", "last", "--to", form]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"pip install 'fmnist-tui[{form}]'" in line


class _Done:
    stdout, stderr = b"", b"Traceback\nRuntimeError: no luck\n"

    def __init__(self, returncode: int) -> None:
        self.returncode = returncode


@pytest.mark.parametrize(("code", "said"), [(4, "failed: RuntimeError: no luck"), (-11, "SIGSEGV")])
def test_a_crash_of_the_torch_process_is_a_failure(
    run: RunDirectory, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run.checkpoint("last").write_bytes(b"x")
    monkeypatch.setattr(torch_process.subprocess, "run", lambda *a, **k: _Done(code))
    assert main(["runs", "export", "last", "--to", "onnx"]) == 4
    assert said in capsys.readouterr().err


def test_the_command_line_starts_the_exporter(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    run.checkpoint("last").write_bytes(b"not a checkpoint")
    assert main(["runs", "export", "last", "--to", "safetensors", "--output", "x.safetensors"]) == 2
    error: Any = capsys.readouterr().err
    assert "last.pt: is damaged" in error and not Path("x.safetensors").exists()
