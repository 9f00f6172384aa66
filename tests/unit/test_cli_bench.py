"""`fmnist-tui bench`: refused input, what the measuring process is given, what is printed, and what fails."""

from __future__ import annotations

import json
import signal
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from fmnist_tui.cli import main
from fmnist_tui.console import bench_child
from fmnist_tui.console.bench_child import MeasuringFailed, measured
from fmnist_tui.presets import load_preset
from tests.unit.bench_records import bench_record, comparison

SAMPLE = ("--data", "sample", "--device", "cpu")


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A measuring process that says what it was given in `seen` and gives the record for its preset at once.

    `wrn` runs out of memory and `dpn` dies.
    """
    records = {preset: bench_record(preset, comparison=comparison(2.0, 2.5, 2.1)) for preset in ("quick", "densenet")}
    program = tmp_path / "child.py"
    program.write_text(
        textwrap.dedent(f"""
        import json, os, sys
        config = json.loads(sys.stdin.read())
        with open({str(tmp_path / "seen")!r}, "a") as seen:
            print(json.dumps([config["preset"], config["training"]["batch_size"], sys.argv[1:]]), file=seen)
        print(json.dumps({{"phase": "training"}}), flush=True)
        if config["preset"] == "wrn":
            print(json.dumps({{"error": "out of memory: 80 GB asked for"}}))
            sys.exit(4)
        if config["preset"] == "dpn":
            sys.exit("no such module: torch")
        print(json.dumps({{"record": json.loads({ {k: v.to_json() for k, v in records.items()}!r}[config["preset"]])}}))
        """)
    )
    monkeypatch.setattr(bench_child, "COMMAND", (sys.executable, str(program)))
    return tmp_path / "seen"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["wrnn"], "preset = 'wrnn': no preset of this name; did you mean wrn?"),
        (["quick", "--compare", "--rounds", "2"], "'2' is not from 3 to 100"),
        (["quick", "--compare", "--rounds", "many"], "'many' is not a whole number"),
        (["quick", "--rounds", "5"], "--rounds 5: is of the comparison; add --compare"),
        (["quick", "--device", "gpu"], "--device gpu: must be auto"),
        (["quick", "--set", "training.batch_siez=3"], "did you mean training.batch_size?"),
        (["quick", "--json", "--markdown"], "exclude each other"),
        (["quick", "--thorough", "--seconds", "9"], "--seconds 9"),
        (["quick", "--seconds", "0"], "'0' is under 1"),
        (["quick", "--from", "x.jsonl"], "--from: measures nothing"),
        (["--from", "x.jsonl"], "x.jsonl: no such file"),
        (["--from", "x.jsonl", "--gpus", "2"], "--from: measures nothing; leave --gpus out"),
        (["--from", "x.jsonl", "--batch", "2"], "--from: measures nothing; leave --batch out"),
        (["quick", "--batch", "0"], "'0' is not 1 or more"),
        (["quick", "--device", "cpu", "--gpus", "1,0"], "--gpus 0: with --device cpu it is a number of processes"),
        (["quick", "--device", "cpu", "--gpus", "2,"], "--gpus 2,: a number is missing"),
        (["quick", "--device", "mps", "--gpus", "2"], "--device mps: this machine has no Apple GPU"),
        (["quick", "--output", "nowhere/x.md"], "--output nowhere/x.md: there is no directory nowhere"),
    ],
)
def test_refused_before_anything_is_measured(
    line: list[str], said: str, child: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *line]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err and "Traceback" not in captured.err
    assert not child.exists()


def test_missing_data_is_exit_code_3(tmp_path: Path, child: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["bench", "wrn", "--data-dir", str(tmp_path / "empty")]) == 3
    assert "--data sample" in capsys.readouterr().err
    assert not child.exists()


def test_one_json_object_a_line_and_what_the_process_is_given(child: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["bench", "quick", "densenet", "quick", "--compare", "--json", "--set", "training.batch_size=32", *SAMPLE]
    assert main(line) == 0
    captured = capsys.readouterr()
    records = [json.loads(text) for text in captured.out.splitlines()]
    assert [record["preset"] for record in records] == ["quick", "densenet"], "one named twice is measured once"
    assert "measuring densenet (2 of 2)" in captured.err
    seen = [json.loads(text) for text in child.read_text().splitlines()]
    assert [(preset, batch) for preset, batch, _ in seen] == [("quick", 32), ("densenet", 32)]
    options = seen[0][2]
    assert options[:6] == ["--device", "cpu", "--rounds", "3", "--source", "sample"]
    assert 0 < float(options[options.index("--seconds") + 1]) <= 60


def test_numbers_of_ranks_reach_the_process(child: Path) -> None:
    assert main(["bench", "quick", "--json", "--gpus", "1,2, 2", *SAMPLE]) == 0
    options = json.loads(child.read_text())[2]
    assert options[options.index("--ranks") + 1 :][:3] == ["1", "2", "--seconds"]


@pytest.mark.parametrize(
    ("line", "batch", "own"),
    [
        (["--batch", "48"], "48", 128),
        (["--set", "training.batch_size=24"], "24", 24),
        (["--batch", "48", "--set", "training.batch_size=24"], "48", 24),
        ([], None, 128),
    ],
)
def test_the_batch_to_measure_with_and_the_presets_own(
    line: list[str], batch: str | None, own: int, child: Path
) -> None:
    """--batch leaves the configuration alone, so the data path keeps its batch."""
    assert main(["bench", "quick", "--json", *line, *SAMPLE]) == 0
    _, given, options = json.loads(child.read_text())
    assert given == own
    assert (options[options.index("--batch") + 1] if "--batch" in options else None) == batch


def test_without_names_every_preset_shares_five_minutes(child: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json", *SAMPLE]) == 4
    seen = [json.loads(text) for text in child.read_text().splitlines()]
    assert {"wrn", "densenet", "dpn", "shake-shake-96", "shake-shake-64", "turbo", "quick"} <= {one[0] for one in seen}
    first = seen[0][2]
    assert float(first[first.index("--seconds") + 1]) * len(seen) <= 270
    assert main(["bench", "quick", "--thorough", *SAMPLE]) == 0
    assert "--seconds 120.0" in " ".join(json.loads(child.read_text().splitlines()[-1])[2])


def test_one_that_fails_stops_none_of_the_others(child: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "wrn", "dpn", "quick", "--json", *SAMPLE]) == 4
    captured = capsys.readouterr()
    assert [json.loads(text)["preset"] for text in captured.out.splitlines()] == ["quick"]
    assert "error: wrn: out of memory: 80 GB asked for" in captured.err
    assert "error: dpn: the measuring process ended without a result (exit code 1): no such module" in captured.err


def test_tables_as_text_as_markdown_and_from_a_file(
    child: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    file = tmp_path / "b.jsonl"
    assert main(["bench", "quick", "--json", "--output", str(file), *SAMPLE]) == 0
    assert capsys.readouterr().out == ""
    assert main(["bench", "--from", str(file)]) == 0
    text = capsys.readouterr().out
    assert "quick" in text and "50 %" in text and "2.10" in text
    assert main(["bench", "--from", str(tmp_path), "--markdown"]) == 0
    shown = capsys.readouterr().out
    assert main(["bench", "--from", str(tmp_path), "--markdown", "-o", "-"]) == 0
    assert capsys.readouterr().out == shown and not Path("-").exists()
    assert main(["bench", "--from", str(tmp_path), "--markdown", "--output", "b.md"]) == 0
    assert "| quick " in Path("b.md").read_text()


HANGING = """
import json, os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("pids", "w").write(f"{os.getpid()} {worker.pid}")
print(json.dumps({"phase": "training"}), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_process_and_its_workers(
    sent: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The signal comes while the first line is looked at."""
    (tmp_path / "hanging.py").write_text(HANGING)
    monkeypatch.setattr(bench_child.json, "loads", lambda line: signal.raise_signal(sent))
    before = signal.getsignal(signal.SIGTERM)
    given = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs have it ignored
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, given))
    with pytest.raises(KeyboardInterrupt):
        measured(load_preset("quick"), [], "quick", (sys.executable, str(tmp_path / "hanging.py")))
    assert signal.getsignal(signal.SIGTERM) is before
    pids = list(map(int, (tmp_path / "pids").read_text().split()))
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def test_a_process_killed_from_outside_is_an_error_with_its_signal(tmp_path: Path) -> None:
    program = tmp_path / "killed.py"
    program.write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(MeasuringFailed, match="exit code -9") as caught:
        measured(load_preset("quick"), [], "quick", (sys.executable, str(program)))
    assert caught.value.code == 4
