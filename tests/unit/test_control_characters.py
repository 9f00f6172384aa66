"""Control characters in a run's files, a directory's name or an option never reach the terminal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from fmnist_tui.cli import main
from fmnist_tui.console.harmless import HarmlessConsole
from fmnist_tui.data import source
from fmnist_tui.presets import load_preset, to_toml
from fmnist_tui.runs import store
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.left_out import left_out_runs
from fmnist_tui.runs.metrics import EventRecord, read_metrics
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import State
from fmnist_tui.wording import without_controls
from tests.unit.cli_runs import finished_run, make_run

EVIL = "x\x1b[31mRED\x1b]0;title\x07\x9b2J!"
CLEAN = "xRED2J!"


class Terminal(StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def reconfigure(self, **settings: str) -> None:
        """As `main` asks of it."""


@pytest.fixture
def failed(runs_dir: Path) -> Iterator[RunDirectory]:
    """A run whose status, metrics and log hold control characters."""
    run = make_run(runs_dir, state=State.FAILED, exit_code=4, error=EVIL, device_name=EVIL)
    run.metrics.write_text(json.dumps({"kind": "event", "event": "error", "message": EVIL}) + "\n")
    run.worker_log.write_text(f"one\r{EVIL}\ntwo\n")
    yield run


def test_records_are_clean_once_they_are_read(failed: RunDirectory, runs_dir: Path) -> None:
    assert "\\u001b" in failed.status.read_text() and "\\u001b" in failed.metrics.read_text()
    status = store.load_run(failed).status
    assert status is not None and (status.error, status.device_name) == (CLEAN, CLEAN)
    assert [event.message for event in read_metrics(failed).event] == [CLEAN]
    assert EventRecord(event="warning", message="two\nlines\tand a tab").message == "two\nlines\tand a tab"
    done = finished_run(runs_dir)
    raw = json.loads(done.result.read_bytes()) | {"device_name": EVIL, "choices": {EVIL: EVIL}}
    result = Result.model_validate(raw | {"provenance": raw["provenance"] | {"cpu": EVIL, "command": [EVIL]}})
    assert (result.device_name, result.choices, result.provenance.cpu) == (CLEAN, {CLEAN: CLEAN}, CLEAN)
    assert result.provenance.command == [CLEAN]


def test_what_is_wrong_with_a_file_quotes_it_harmlessly(runs_dir: Path) -> None:
    run = make_run(runs_dir)
    run.config.write_text(json.dumps(json.loads(run.config.read_bytes()) | {EVIL: 1}))
    problem = store.load_run(run).problem
    assert CLEAN in problem and problem.isprintable()


@pytest.mark.parametrize("name", ["20261123-142501-a\x1b[31m-k3f9", "20261123-142501-a\nb-k3f9", "a\x9bb"])
def test_a_directory_whose_name_is_no_line_of_text_is_no_run(runs_dir: Path, name: str) -> None:
    run = make_run(runs_dir)
    make_run(runs_dir).path.rename(runs_dir / name)
    assert [directory.id for directory in store.run_directories(runs_dir)] == [run.id]


@pytest.mark.parametrize("name", ["20261123-142501-a\x1b[31m-k3f9", "it's\na\\b", "a\u202eb", os.fsdecode(b"\xff")])
def test_such_a_directory_is_named_with_what_renames_it(
    runs_dir: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(runs_dir)
    assert main(["runs", "list", "--json"]) == 0
    listed, said = capsys.readouterr()
    assert said == "" and not left_out_runs(runs_dir), "nothing is left out"
    (runs_dir / "no\x07run").mkdir()
    (runs_dir / f".{name}").mkdir()
    shutil.copytree(run.path, runs_dir / name)
    for options in ([], ["--json"], ["--group", "none"]):
        assert main(["runs", "list", *options]) == 0
        out, said = capsys.readouterr()
        *_, line = said.splitlines()
        assert line.startswith("Left out: a run whose name is no line of printable text. Rename it, in bash: mv ")
        assert "--json" not in options or out == listed
    command = line.partition("in bash: ")[2].replace("NEW-NAME", "good")
    subprocess.run(["bash", "-c", command], check=True)
    assert {directory.id for directory in store.run_directories(runs_dir)} == {run.id, "good"}
    assert not (runs_dir / name).exists() and left_out_runs(runs_dir) == ""


def test_a_directory_renamed_to_what_a_name_may_hold_is_a_run(runs_dir: Path) -> None:
    make_run(runs_dir).path.rename(runs_dir / "👨‍👩‍👧 訓練")
    assert [directory.id for directory in store.run_directories(runs_dir)] == ["👨‍👩‍👧 訓練"]


@pytest.mark.parametrize(
    "command",
    [["list"], ["show", "last"], ["watch", "last"], ["logs", "last"], ["logs", "last", "-n", "2"]],
    ids=lambda command: " ".join(command),
)
def test_no_command_sends_them_to_a_terminal(
    failed: RunDirectory, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")  # no colours of our own: whatever escape there is came from the run
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    main(["runs", *command])
    assert out.getvalue() and not {"\x1b", "\x07", "\x9b"} & set(out.getvalue())


def test_a_pipe_gets_the_log_as_it_is(failed: RunDirectory, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "logs", "last"]) == 0
    assert "\x1b[31mRED" in capfd.readouterr().out


def test_an_error_echoes_an_option_without_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", "--data-dir", str(tmp_path / EVIL)]) == 3
    said = capsys.readouterr().err
    assert CLEAN in said and "\x1b" not in said and "\x07" not in said


def test_printed_paths_are_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`data fetch` and `verify`, `presets validate` and `path`; with --json they are escaped, and whole."""
    there = tmp_path / EVIL
    there.mkdir()
    preset = there / "mine.toml"
    preset.write_text(to_toml(load_preset("quick")))
    monkeypatch.chdir(there)
    record = source.FileStatus(there, "x", there / "x", "present", 1, "0")
    monkeypatch.setattr(source, "verify", lambda data_dir: [record])
    for command in (["data", "fetch"], ["data", "verify"], ["presets", "validate", str(preset)], ["presets", "path"]):
        assert main(command) == 0
        said = capsys.readouterr().out
        assert CLEAN in said and not {"\x1b", "\x07", "\x9b"} & set(said)
    assert main(["data", "fetch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(there / "x")


def test_our_own_colours_stay() -> None:
    out = StringIO()
    console = HarmlessConsole(file=out, force_terminal=True, color_system="standard", highlight=False)
    console.print("x\x1b[5mRED", style="red")
    assert out.getvalue() == "\x1b[31mxRED\x1b[0m\n"


@pytest.mark.parametrize(
    ("text", "clean"),
    [("plain", "plain"), (EVIL, CLEAN), ("\x1b]52;c;never ended", "52;c;never ended"), ("a\r\nb\t", "a\nb\t")],
)
def test_what_is_left_of_a_text(text: str, clean: str) -> None:
    assert without_controls(text) == clean
