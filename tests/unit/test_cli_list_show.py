"""`runs list` and `runs show` on made-up runs, through `main` in this process, as text and as JSON."""

from __future__ import annotations

import json
import sys
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from rich.console import Console

from fmnist_tui.cli import main
from fmnist_tui.config import parse_config
from fmnist_tui.console.tables import runs_table
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import store
from fmnist_tui.runs.metrics import EventRecord
from fmnist_tui.runs.status import State
from tests.printed import json_lines
from tests.unit.cli_runs import finished_run, make_run

# --- runs


def test_the_list_has_the_actual_states_and_whole_ids(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = finished_run(runs_dir)
    lost = make_run(runs_dir, state=State.RUNNING, pid=2**22 + 1, pid_started=1.0, epoch=3, epochs=8)
    assert main(["runs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    assert set(rows) == {done.id, lost.id}
    assert "✓ finished" in rows[done.id] and "84.25" in rows[done.id] and "84.50" in rows[done.id]
    assert "? lost" in rows[lost.id] and "3/8" in rows[lost.id]


def test_the_list_as_json_is_one_strict_object_a_run(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(runs_dir, state=State.RUNNING, pid=2**22 + 1, pid_started=1.0, loss=float("nan"))
    finished_run(runs_dir)
    assert main(["runs", "list", "--json"]) == 0
    newest, oldest = json_lines(capsys.readouterr().out)
    assert (newest["state"], newest["test_accuracy"], newest["preset"]) == ("finished", 84.25, "quick")
    assert (oldest["state"], oldest["loss"]) == ("lost", "NaN")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_whole_in_any_encoding_of_stdout(
    runs_dir: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_config(load_preset("quick").model_dump() | {"name": "naïve ☂ 🙂"})
    run = make_run(runs_dir, config, state=State.FAILED, error="ü", exit_code=4)
    run.metrics.write_text(EventRecord(event="start", message="naïve ☂ 🙂").to_json() + "\n")
    for command in (["list"], ["watch", "last"]):
        stdout = BytesIO()
        monkeypatch.setattr(sys, "stdout", TextIOWrapper(stdout, encoding=encoding))
        main(["runs", *command, "--json"])
        sys.stdout.flush()
        lines = json_lines(stdout.getvalue().decode())
        assert {line[key] for line in lines for key in ("name", "message") if key in line} == {"naïve ☂ 🙂"}


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_list_fits_the_terminal_and_never_cuts_an_id(runs_dir: Path, width: int) -> None:
    config = parse_config(load_preset("shake-shake-96").model_dump() | {"preset": None, "name": "shake-shake-96"})
    run = make_run(runs_dir, config, state=State.STOPPED, epoch=1799, epochs=1800)
    output = StringIO()
    Console(file=output, width=width).print(runs_table(store.list_runs(runs_dir)))
    header, row = [line.rstrip() for line in output.getvalue().splitlines()]
    assert max(len(header), len(row)) <= width
    assert run.id in row and "■ stopped" in row and "1799/1800" in row
    assert ("device" in header) == (width > 80)


def test_the_list_in_a_pipe_of_a_known_width_cuts_no_id(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # as watch(1) says it
    run = make_run(runs_dir, parse_config(load_preset("quick").model_dump() | {"name": "x" * 40, "group": "g" * 40}))
    assert main(["runs", "list"]) == 0
    printed = capsys.readouterr()
    header, row = printed.out.splitlines()
    assert run.id in row and "starting" in row and "group" not in header and "…" not in header + row
    assert printed.err == (
        "Left out for want of room: test %, best %, time, device, img/s, group. "
        "A wider terminal shows more, --json all.\n"
    )


@pytest.mark.parametrize("columns", ["0", "-3", "wide", ""])
def test_a_width_that_is_none_counts_as_not_told(
    runs_dir: Path, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    run = make_run(runs_dir)
    assert main(["runs", "list"]) == 0
    printed = capsys.readouterr()
    assert run.id in printed.out and "img/s" in printed.out and printed.err == ""


def test_a_wide_cell_is_cut_and_makes_no_column_vanish(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    changes = {"name": "x" * 20, "group": "g" * 60}
    ids = [
        make_run(runs_dir, parse_config(load_preset("quick").model_dump() | changes), **values).id
        for values in ({"test_accuracy": 84.25}, {"epoch": 2**53, "epochs": 2**53, "device": "cuda:" + "1" * 40})
    ]
    assert main(["runs", "list"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert max(map(len, lines)) <= 130 and printed.err == ""
    assert all(title in lines[0] for title in ("test %", "best %", "time", "device", "img/s", "group"))
    assert [line.split()[0] for line in lines[1:]] == ids[::-1]
    assert "84.25" in lines[2] and "…" in lines[1]


def test_an_empty_list_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "fmnist-tui run preset quick" in captured.err


def test_a_damaged_run_is_listed_and_named(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir, state=State.STOPPED)
    run.status.write_text("{")
    assert main(["runs", "list"]) == 0
    captured = capsys.readouterr()
    assert run.id in captured.out and "status.json is damaged" in captured.err
    assert main(["runs", "show", "last"]) == 0
    assert "status.json is damaged" in capsys.readouterr().out
    assert main(["runs", "watch", "last"]) == 2
    run.config.write_text("{")
    assert main(["run", "resume", "last"]) == 2


def test_as_json_a_run_has_every_key_also_where_its_status_cannot_be_read(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """null, never missing: a script must not fail at the one damaged run among many."""
    run = make_run(runs_dir, state=State.STOPPED)
    finished_run(runs_dir)
    run.status.write_text("{")
    assert main(["runs", "list", "--json"]) == 0
    whole, damaged = json_lines(capsys.readouterr().out)
    assert list(damaged) == list(whole)
    assert (damaged["id"], damaged["state"], damaged["name"]) == (run.id, "lost", "quick")
    assert all(damaged[key] is None for key in ("pid", "epoch", "test_accuracy", "error", "schema_version"))


def test_show_tells_everything_and_what_was_changed(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(runs_dir)
    assert main(["runs", "show", "last"]) == 0
    shown = capsys.readouterr().out
    for part in (run.id, "✓ finished", "84.25 %", "84.50 % (epoch 7)", "303,418", "6,000 / 2,000", "960 img/s"):
        assert part in shown, part
    assert "0.05   (preset: 0.1)" in shown
    assert shown.count("(preset:") == 1
    assert "2.14.1" in shown
    assert str(run.path) in "".join(shown.split()), "folded where it is longer than the line"


def test_show_has_the_configuration_as_the_run_trained_with_it(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_preset("quick")
    make_run(runs_dir, config, state=State.STOPPED, epoch=2, epochs=config.training.epochs + 3, stop_at_accuracy=94.5)
    assert main(["runs", "show", "last"]) == 0
    lines = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    own = config.training.epochs
    assert f"training.epochs {own + 3} (preset: {own}, when made: {own})" in lines
    assert "training.stop_at_accuracy 94.5 (preset: none, when made: none)" in lines


def test_show_as_json_holds_all_records(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(runs_dir)
    run.checkpoint("best").write_bytes(b"x")
    assert main(["runs", "show", run.id[-4:], "--json"]) == 0
    (shown,) = json_lines(capsys.readouterr().out)
    assert shown["result"] == json.loads(run.result.read_text())
    assert shown["config"]["optimizer"]["lr"] == 0.05
    assert shown["launch"]["device"] == "cpu" and shown["checkpoints"] == ["last", "best"]
    run.launch.unlink()
    assert main(["runs", "show", "last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["launch"] is None, "nobody knows any more"


def test_runs_are_filtered_in_the_words_of_the_app(
    tmp_path: Path, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done, stopped = finished_run(runs_dir), make_run(runs_dir, state=State.STOPPED, test_accuracy=71.5)
    for words, found in (
        (["state:finished"], [done.id]),
        (["preset:quick", "acc<80"], [stopped.id]),
        (["--", "-state:finished"], [stopped.id]),
        ([done.id[-4:]], [done.id]),
        ([], [stopped.id, done.id]),
    ):
        assert main(["runs", "list", "--json", *words]) == 0
        assert {record["id"] for record in json_lines(capsys.readouterr().out)} == set(found), words
    assert main(["runs", "list", "acc>99"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and f"None of 2 runs in {runs_dir} passes the filter." in captured.err
    for wrong, said in (
        ("colour:red", "no such qualifier"),
        ("acc>", "a number is missing"),
        ("state:odd", "the states"),
    ):
        assert main(["runs", "list", wrong]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and said in captured.err and "FILTER = " in captured.err
    nowhere = tmp_path / "else where"
    assert main(["runs", "list", "preset:wrn", "--runs-dir", str(nowhere)]) == 0
    assert capsys.readouterr().err.endswith(f"Start one with: fmnist-tui run preset quick --runs-dir '{nowhere}'\n")
