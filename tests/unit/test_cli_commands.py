"""The commands on made-up runs, through `main` in this process: what they print, as text and as JSON."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fmnist_tui.cli import main
from fmnist_tui.console import stop as stopping
from fmnist_tui.console.summary import print_summary
from fmnist_tui.runs import requests, store
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import State
from tests.printed import json_lines
from tests.unit.cli_runs import finished_run, make_run


def test_logs(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir, state=State.STOPPED)
    assert main(["runs", "logs", "last"]) == 0
    assert "no worker.log yet" in capsys.readouterr().err
    run.worker_log.write_bytes(b"one\ntwo\nthree \xff\n")
    assert main(["runs", "logs", "last"]) == 0
    assert capsys.readouterr().out == "one\ntwo\nthree �\n"
    assert main(["runs", "logs", "last", "-n", "2"]) == 0
    assert capsys.readouterr().out == "two\nthree �\n"
    assert main(["runs", "logs", "last", "--lines=-1"]) == 2
    assert "'-1' is not 0 or more" in capsys.readouterr().err
    assert main(["runs", "logs", "last", "-n", "0"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["runs", "logs", "last", "--follow"]) == 0, "a run that has ended is not waited for"


@pytest.mark.usefixtures("permissions_bind")
def test_a_log_that_may_not_be_read(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another user's run: no training failed, so not exit code 4."""
    run = make_run(runs_dir, state=State.STOPPED)
    run.worker_log.touch(mode=0)
    for command in (["runs", "logs", "last"], ["runs", "logs", "last", "--follow"]):
        assert main(command) == 2
        assert capsys.readouterr().err == f"error: {run.id}: worker.log cannot be read: Permission denied\n"


def test_stop_waits_no_longer_than_it_was_told(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir)  # starting, so taken for alive, but nobody will answer
    assert main(["runs", "stop", "last", "--timeout", "0.3"]) == 4
    error = capsys.readouterr().err
    assert "is still starting" in error and "--now" in error
    assert [request.request for request in requests.read_control(run).requests] == ["stop"]
    assert main(["runs", "stop", "last", "--no-wait"]) == 0
    assert main(["runs", "stop", "last", "--after-epoch"]) == 0
    assert [request.request for request in requests.read_control(run).requests] == ["stop", "stop", "stop_after_epoch"]


def test_of_two_wishes_to_stop_the_sooner_is_told(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is what the worker does."""
    sooner = "was asked to stop at once before, which holds; it will soon, with a checkpoint"
    run = make_run(runs_dir, state=State.RUNNING, epoch=3)
    assert main(["runs", "stop", run.id, "--after-epoch"]) == main(["runs", "stop", run.id, "--after-epoch"]) == 0
    assert capsys.readouterr().err.count("was asked to stop; it will after epoch 3, with a checkpoint") == 2
    assert main(["runs", "stop", run.id, "--no-wait"]) == main(["runs", "stop", run.id, "--after-epoch"]) == 0
    assert sooner in capsys.readouterr().err
    signalled = make_run(runs_dir, state=State.STOPPING, epoch=3)
    assert main(["runs", "stop", signalled.id, "--after-epoch"]) == 0
    assert sooner in capsys.readouterr().err


def test_stop_tells_what_became_of_the_run(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(runs_dir)
    found = store.load_run(run)
    for state, code, words in (
        (State.STOPPED, 0, f"fmnist-tui run resume {run.id}"),
        (State.FINISHED, 0, "has finished"),
        (State.FAILED, 4, "has failed: no memory"),
    ):
        ended = found.status.model_copy(update={"state": state, "error": "no memory"}) if found.status else None
        after = store.Run(run, found.config, ended, None, state)
        monkeypatch.setattr(stopping.store, "load_run", lambda directory, after=after: after)
        assert stopping.stop(found, after_epoch=False, timeout=30.0) == code
        assert words in capsys.readouterr().err


def test_a_run_on_another_machine_is_not_killed(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(runs_dir, state=State.RUNNING, host="elsewhere", pid=1, pid_started=1.0, heartbeat=utc_now())
    assert main(["runs", "stop", "last", "--now"]) == 2
    assert "runs on elsewhere" in capsys.readouterr().err


def test_delete_asks_and_takes_no_for_an_answer(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make_run(runs_dir, state=State.STOPPED), make_run(runs_dir, state=State.FAILED)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda question, err: next(answers))
    names = ["runs", "delete", first.id, second.id, first.id[-4:]]
    assert main(names) == 0
    assert first.path.is_dir() and second.path.is_dir()
    assert "Nothing was deleted" in capsys.readouterr().err
    assert main(names) == 0
    assert list(runs_dir.iterdir()) == []


def test_what_is_to_be_stopped_before_it_is_deleted_is_named(
    tmp_path: Path, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(runs_dir, state=State.RUNNING, host="elsewhere") for _ in range(2)]
    assert main(["runs", "delete", "--yes", runs[0].id]) == 2
    assert capsys.readouterr().err.endswith(f"Stop first: fmnist-tui runs stop {runs[0].id}\n")
    assert main(["runs", "delete", "--yes", *(run.id for run in runs)]) == 2
    both = " && ".join(f"fmnist-tui runs stop {run.id}" for run in runs)
    assert capsys.readouterr().err.endswith(f"Stop first: {both}\n")
    there = make_run(tmp_path / "else where", state=State.RUNNING, host="elsewhere")
    assert main(["runs", "delete", "--yes", "last", "--runs-dir", str(tmp_path / "else where")]) == 2
    stop = f"fmnist-tui runs stop {there.id} --runs-dir '{tmp_path}/else where'"
    assert capsys.readouterr().err.endswith(f"Stop first: {stop}\n")


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.LOST])
def test_a_run_whose_configuration_is_damaged_is_not_said_to_go_on(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], state: State
) -> None:
    written = State.RUNNING if state is State.LOST else state
    run = make_run(runs_dir, state=written, host="elsewhere", heartbeat="2020-01-01T00:00:00Z", epoch=1, step=21)
    run.checkpoint("last").write_bytes(b"x")
    run.config.write_text("{")
    assert store.load_run(run).state is state
    assert main(["run", "resume", run.id]) == 2
    why = capsys.readouterr().err.split("cannot be resumed: ")[1].strip()
    assert why.startswith("config.json is damaged")
    main(["runs", "watch", run.id])
    captured = capsys.readouterr()
    said = " ".join((captured.out + captured.err).split())
    assert why in said and "run resume" not in said
    if state is State.STOPPED:
        assert f"It can't go on: {why}" in said
    main(["runs", "stop", run.id])
    assert "run resume" not in capsys.readouterr().err


def test_the_summary_of_a_failed_and_of_a_finished_run(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = make_run(runs_dir, state=State.FAILED, error="out of memory: [1, 2]", exit_code=4)
    print_summary(store.load_run(failed))
    captured = capsys.readouterr()
    assert "out of memory: [1, 2]" in captured.err and "resume" not in captured.out
    failed.checkpoint("last").write_bytes(b"x")
    print_summary(store.load_run(failed))
    assert "run resume" in capsys.readouterr().out
    refused = make_run(runs_dir, state=State.FAILED, error="last.pt is of another model", exit_code=2)
    refused.checkpoint("last").write_bytes(b"x")
    print_summary(store.load_run(refused))
    assert "run resume" not in capsys.readouterr().out
    assert main(["runs", "watch", failed.id, "--json"]) == 4
    captured = capsys.readouterr()
    assert captured.err == f"error: {failed.id}: failed: out of memory: [1, 2]\n"
    assert [line["kind"] for line in json_lines(captured.out)] == ["run", "status"]
    print_summary(store.load_run(finished_run(runs_dir)))
    shown = capsys.readouterr().out
    assert "| Model Name" in shown and "84.25" in shown and "303,418" in shown


# --- presets


@pytest.mark.parametrize(
    ("option", "kept"), [("--seed", "seed"), ("--data", "data"), ("--name", "name"), ("--sweep", "configuration")]
)
def test_a_resumed_or_repeated_run_keeps_what_it_was_made_with(
    option: str, kept: str, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(runs_dir, state=State.STOPPED)
    assert main(["run", "resume", run.id, option, "5"]) == 2
    assert capsys.readouterr().err == (
        f"error: {option}: a resumed run keeps its {kept}; 'fmnist-tui run repeat {run.id}' trains it from the start, "
        f"as it was; {option} is for a new run: fmnist-tui run preset NAME {option} ...\n"
    )
    assert main(["run", "repeat", f"{option}=5", run.id]) == 2
    assert capsys.readouterr().err.startswith(
        f"error: {option}: a repeated run keeps its {kept}; {option} is for a new"
    )
    assert main(["run", "resume", run.id, "--devise", "cpu"]) == 2
    assert "no such option: --devise; did you mean --device" in capsys.readouterr().err


# --- report, and options before the command


def test_report_in_every_format_and_into_a_file(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(runs_dir)
    for form, part in (("markdown", "| Model Name"), ("csv", run.id), ("json", run.id), ("html", "<table")):
        assert main(["report", "--format", form]) == 0
        printed = capsys.readouterr().out
        assert part in printed
        assert main(["report", "--format", form, "--output", "table"]) == 0
        assert Path("table").read_text() == printed
        assert capsys.readouterr().out == ""
        assert main(["report", "--format", form, "-o", "-"]) == 0
        assert capsys.readouterr() == (printed, "") and not Path("-").exists()
    assert [path.name for path in Path().iterdir() if path.name.startswith(".table")] == []
    Path("folder").mkdir()
    assert main(["report", "--output", "folder"]) == 2


def test_report_on_a_run_that_has_not_finished_says_so(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir, state=State.STOPPED)
    assert main(["report", "--run", "last"]) == 0
    assert capsys.readouterr().err == f"note: {run.id} is stopped; the tables hold finished runs only\n"


@pytest.mark.parametrize("command", [[], ["run", "preset"], ["runs", "stop"], ["bench"], ["evaluate"]])
def test_the_help_names_no_types_of_python_and_repeats_no_dots(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--help" in text and "...}..." not in text and "]...]" not in text
    assert not re.search(r"<(bool|str|Path|path|list)\b", text)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from fmnist_tui import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fmnist-tui {__version__}\n"


def test_an_error_of_our_own_is_one_message_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(runs_dir: Path) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("fmnist_tui.runs.store.list_runs", fail)
    assert main(["runs", "list"]) == 1
    error = capsys.readouterr().err
    assert "KeyError: 'surprise'" in error and "--debug" in error and "Traceback" not in error
    assert main(["runs", "list", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_the_app_is_not_opened_in_a_terminal_that_cannot_place_text(
    term: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("fmnist_tui.tui.app.run_app", lambda *_: pytest.fail("the app was opened"))
    assert main([]) == 2
    assert f"TERM = {term}: such a terminal can't show the app; name yours" in capsys.readouterr().err
