"""What the commands say of a finished run that went on: its row is its earlier result."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fmnist_tui.cli import main
from fmnist_tui.report import render
from fmnist_tui.report.rows import collect
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import process_started
from fmnist_tui.runs.starting import prepare_resume
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import load_run
from fmnist_tui.tui.format import UNICODE
from fmnist_tui.tui.outcome import outcome
from fmnist_tui.tui.widgets.run_detail import describe
from tests.unit.cli_runs import finished_run
from tests.unit.stored_runs import write_status


@pytest.fixture
def went_on(runs_dir: Path) -> RunDirectory:
    """A run that was finished after 8 epochs, went on to 20 and was stopped in the 12th."""
    run = finished_run(runs_dir)
    run.earlier.mkdir()
    run.result.rename(run.earlier_result)
    write_status(run, state=State.STOPPED, epoch=12, epochs=20, test_accuracy=90.0)
    return run


def test_the_report_has_its_row_and_says_so(went_on: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--run", went_on.id]) == 0
    said = capsys.readouterr()
    assert said.err == f"note: {went_on.id} is stopped; its row is what it had come to before, in epoch 8\n"
    (row,) = [line for line in said.out.splitlines() if "84.25" in line]
    assert "earlier result: resumed since; changed: optimizer.lr" in row and "90.00" not in said.out
    assert main(["report", "--format", "json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert (told["resumed"], told["epochs"], told["test_accuracy"]) == ("stopped", 8, 84.25)


def test_show_has_it_beside_the_state(went_on: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "show", went_on.id]) == 0
    shown = capsys.readouterr().out
    assert "\nEarlier result\n" in shown and "\nResult\n" not in shown and "earlier/result.json" in shown
    assert main(["runs", "show", went_on.id, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["result"] is None and told["earlier_result"]["test_accuracy"] == 84.25


def test_a_newer_result_takes_its_place(went_on: RunDirectory, runs_dir: Path) -> None:
    """The worker was killed between writing the one and removing the other."""
    result = json.loads(went_on.earlier_result.read_bytes()) | {"epochs": 20, "test_accuracy": 91.0}
    went_on.result.write_text(json.dumps(result))
    write_status(went_on, state=State.FINISHED, epoch=20)
    assert load_run(went_on).earlier is None
    (run,) = collect(runs_dir).runs
    assert (run.resumed, run.result.test_accuracy) == (None, 91.0)


def test_a_newer_result_is_the_row_while_it_waits_to_go_on(went_on: RunDirectory, runs_dir: Path) -> None:
    """Where that worker was killed before it removed the older one, and the run is resumed once more."""
    result = json.loads(went_on.earlier_result.read_bytes()) | {"epochs": 20, "test_accuracy": 91.0}
    went_on.result.write_text(json.dumps(result))
    write_status(went_on, state=State.RUNNING, pid=2**22 + 1, pid_started=1.0, epoch=20)  # above what Linux gives
    prepare_resume(load_run(went_on), epochs=30)
    found = load_run(went_on)
    assert found.state is State.STARTING and found.earlier == found.result
    (row,) = collect(runs_dir).runs
    assert (row.resumed, row.result.test_accuracy) == (State.STARTING, 91.0)


@pytest.mark.parametrize("state", [State.QUEUED, State.STARTING])
def test_until_its_training_begins_its_row_is_the_result_that_lies_there(
    runs_dir: Path, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(runs_dir)
    prepare_resume(load_run(run), "cpu", epochs=20)
    write_status(run, state=state)
    (found,) = collect(runs_dir).runs
    assert (found.resumed, found.result.test_accuracy) == (state, 84.25)
    assert main(["runs", "show", run.id]) == 0
    shown = capsys.readouterr().out
    assert "\nEarlier result\n" in shown and "\nResult\n" not in shown


def test_a_run_that_is_just_finishing_has_no_row_before_it_has(runs_dir: Path) -> None:
    run = finished_run(runs_dir)
    write_status(run, state=State.RUNNING, pid=os.getpid(), pid_started=process_started(os.getpid()))
    assert collect(runs_dir).runs == []


def test_one_that_cannot_be_read_is_named_as_other_damage_is(
    went_on: RunDirectory, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    went_on.earlier_result.write_bytes(went_on.earlier_result.read_bytes()[:100])
    run = load_run(went_on)
    assert run.earlier is None and run.problem == "", "the run itself can be shown, and resumed"
    assert run.earlier_problem.startswith("earlier/result.json is damaged or of another version (")
    assert run.earlier_problem.endswith("; it has no row until it is finished again")
    assert (collect(runs_dir).runs, collect(runs_dir).skipped) == ([], [(run.id, run.earlier_problem)])
    for command in (["runs", "list"], ["runs", "show", run.id], ["report", "--run", run.id]):
        assert main(command) == 0
        assert "earlier/result.json is damaged" in "".join(capsys.readouterr()).replace("\n", " ")
    assert "earlier/result.json is damaged" in render(runs_dir, "html", [run])
    now = datetime.now(UTC)
    assert (run.earlier_problem, "warning") in describe(run, now, UNICODE)
    assert [note.text for note in outcome(run, now)][-1].startswith("earlier/result.json is damaged")


def test_one_of_a_newer_program_has_no_row(went_on: RunDirectory, runs_dir: Path) -> None:
    went_on.earlier_result.write_text(json.dumps({"schema_version": 99}))
    assert load_run(went_on).state is State.STOPPED and collect(runs_dir).runs == []
