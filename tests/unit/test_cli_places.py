"""Which runs directory is named, by whom and to whom; and a stdout that takes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_tui.cli import main
from fmnist_tui.console.summary import print_summary
from fmnist_tui.remedies import remedy
from fmnist_tui.runs import store
from fmnist_tui.runs.status import ExitCode, State
from tests.unit.cli_runs import finished_run, make_run


@pytest.mark.parametrize("command", [["runs", "list"], ["runs", "list", "--json"], ["report"]])
def test_an_output_that_is_full_or_closed_is_no_mistake_of_ours(runs_dir: Path, command: list[str]) -> None:
    finished_run(runs_dir)
    program = [sys.executable, "-m", "fmnist_tui", *command, f"--runs-dir={runs_dir}"]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == ExitCode.FAILED
    assert ended.stderr.splitlines()[-1] == "error: the output could not be written: No space left on device"
    closed = ["bash", "-c", '"$@" >&-', "bash", *program]
    ended = subprocess.run(closed, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 0 and "Traceback" not in ended.stderr and "error" not in ended.stderr


@pytest.mark.parametrize("command", [["runs", "list", "--json"], ["report"], ["presets", "show", "quick"], ["--help"]])
def test_a_reader_that_has_read_enough_is_no_mistake_of_ours(runs_dir: Path, command: list[str]) -> None:
    finished_run(runs_dir)
    program = [sys.executable, "-m", "fmnist_tui", *command]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        ended = subprocess.run(program, stdout=gone, stderr=subprocess.PIPE, text=True, env=buffered, check=False)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_a_run_started_into_a_full_output_is_named_all_the_same(runs_dir: Path) -> None:
    """And a sweep starts all its runs."""
    program = [sys.executable, "-m", "fmnist_tui", "run", "preset", "quick", f"--runs-dir={runs_dir}", "--detach"]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*program, "--set=training.max_steps=1", "--seeds=2", "--device=cpu"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    started = store.list_runs(runs_dir)
    assert len(started) == 2 and ended.returncode == ExitCode.FAILED
    for run in started:
        assert f"{run.id} was started, and goes on in the background." in ended.stderr
        assert main(["runs", "stop", run.id, f"--runs-dir={runs_dir}"]) == 0
    assert ended.stderr.splitlines()[-1] == "error: the output could not be written: No space left on device"


def test_the_summary_names_the_runs_directory_only_where_it_must(
    tmp_path: Path, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_run(runs_dir, state=State.STOPPED, epoch=2, epochs=8, step=60)
    print_summary(store.load_run(here))
    assert f"Go on with: fmnist-tui run resume {here.id}\n" in capsys.readouterr().out
    there = make_run(tmp_path / "else where", state=State.STOPPED)
    print_summary(store.load_run(there))
    command = f"fmnist-tui run resume {there.id} --runs-dir '{tmp_path}/else where'"
    assert f"Go on with: {command}\n" in capsys.readouterr().out


def test_directories_named_before_the_command_hold_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FMNIST_TUI_DATA_DIR", "")  # so that what `main` sets is taken back after the test
    run = make_run(tmp_path / "there", state=State.STOPPED)
    assert main(["--runs-dir", "there", "runs", "list"]) == 0
    assert run.id in capsys.readouterr().out
    assert main(["--runs-dir", "there", "runs", "list", "--runs-dir", "here"]) == 0
    assert run.id not in capsys.readouterr().out
    assert main(["runs", "list"]) == 0
    assert run.id not in capsys.readouterr().out
    assert main(["--data-dir", "nothing", "data", "verify"]) == 3
    assert str(tmp_path / "nothing") in capsys.readouterr().err


def test_an_error_names_what_named_the_runs_directory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path("file").absolute()
    file.touch()
    assert main(["runs", "list", "--runs-dir", "file"]) == 2
    assert f"--runs-dir {file}: is a file; name a directory" in capsys.readouterr().err
    monkeypatch.setenv("FMNIST_TUI_RUNS_DIR", "file")
    assert main(["runs", "list"]) == 2
    assert f"FMNIST_TUI_RUNS_DIR = {file}: is a file; name a directory" in capsys.readouterr().err
    assert main(["--runs-dir", "file", "runs", "list"]) == 2
    assert f"--runs-dir {file}: is a file" in capsys.readouterr().err


@pytest.mark.parametrize("before", [True, False])
def test_what_helps_names_the_runs_directory_that_was_named(
    before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "over {there}"
    run = finished_run(there)
    where = ["--runs-dir", str(there)]
    command = ["run", "resume", "last", "--epochs=20"]
    run.checkpoint("last").unlink(missing_ok=True)
    assert main([*where, *command] if before else [*command, *where]) == 2
    said = f"fmnist-tui run repeat {run.id}"
    assert capsys.readouterr().err.rstrip().endswith(f"{said} --runs-dir '{there}'")
    monkeypatch.setenv("FMNIST_TUI_RUNS_DIR", str(there))
    assert main(command) == 2
    assert capsys.readouterr().err.rstrip().endswith(said)
    failed = make_run(there, state=State.FAILED, error="last.pt: is damaged", remedy=remedy("train anew", run="x"))
    monkeypatch.delenv("FMNIST_TUI_RUNS_DIR")
    assert main(["runs", "show", failed.id, *where]) == 0
    assert f"fmnist-tui run repeat x --runs-dir '{there}'" in " ".join(capsys.readouterr().out.split())


def test_where_there_are_no_runs_the_first_one_is_made_where_they_were_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "show", "last", "--runs-dir", str(tmp_path / "new")]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "error: RUN = 'last': there are no runs in " in said
    assert said.endswith(f"; start one with: fmnist-tui run preset quick --runs-dir {tmp_path / 'new'}\n")


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.LOST])
def test_no_resume_is_offered_that_would_be_refused(
    runs_dir: Path, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"state": State.RUNNING, "pid": 2**22 + 1, "pid_started": 1.0} if state is State.LOST else {"state": state}
    run = make_run(runs_dir, epoch=2, epochs=8, step=60, **values)
    run.checkpoint("last").write_bytes(b"a checkpoint")
    main(["runs", "watch", run.id])
    assert f"Go on with: fmnist-tui run resume {run.id}\n" in capsys.readouterr().out
    run.config.write_text("{")
    main(["runs", "watch", run.id])
    said = "".join(capsys.readouterr())
    assert "Go on with" not in said and said.count("config.json is damaged or of another version") == 1
    assert main(["run", "resume", run.id]) == ExitCode.USAGE
    assert "cannot be resumed: config.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["runs", "list"], ["run", "preset", "quick"], ["presets", "list"], ["doctor"]])
def test_a_current_directory_that_was_deleted_is_no_mistake_of_ours(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after `git switch` in another terminal; what needs no current directory works."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(command) == ExitCode.USAGE
    assert capsys.readouterr().err == "error: the current directory is not there any more; change to one that is\n"
    assert main(["runs", "list", f"--runs-dir={tmp_path / 'runs'}"]) == ExitCode.DONE


@pytest.mark.usefixtures("runs_dir")
def test_ctrl_c_says_a_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(directory: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "list_runs", interrupted)
    assert main(["runs", "list"]) == ExitCode.STOPPED
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Interrupted.\n")
