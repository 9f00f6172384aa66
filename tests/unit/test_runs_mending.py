"""A status.json that can't be read costs nothing: it is made anew from the rest of the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fmnist_tui.config import RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.report.rows import collect
from fmnist_tui.runs.filter import parse_filter
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.mending import MADE_ANEW
from fmnist_tui.runs.metrics import END_BYTES, EventRecord, HostSample, SystemRecord, TrainRecord, last_train
from fmnist_tui.runs.records import SCHEMA_VERSION
from fmnist_tui.runs.starting import create_run, prepare_resume
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import load_run
from tests.events import messages
from tests.unit.cli_runs import finished_run
from tests.unit.stored_runs import finish, refused, tree, write_status

_SPEED = {"lr": 0.1, "images_per_second": 900.0}
FIFTH_EPOCH = TrainRecord(step=470, epoch=5, loss=0.5, loss_min=0.4, loss_max=0.6, **_SPEED).to_json() + "\n"


def spoil(run: RunDirectory, how: str) -> None:
    if how == "missing":
        run.status.unlink()
    else:
        content = run.status.read_bytes()
        run.status.write_bytes({"empty": b"", "zeroed": b"\0" * len(content), "truncated": content[:40]}[how])


HOW = ("missing", "empty", "zeroed", "truncated")


@pytest.mark.parametrize("how", HOW)
def test_a_finished_run_keeps_its_row_and_goes_on(runs_dir: Path, how: str) -> None:
    run = finished_run(runs_dir)
    spoil(run, how)
    found = load_run(run)
    assert found.state is State.FINISHED and "status.json is" in found.problem
    assert found.status is not None, "told from the result until then, for lists"
    assert (found.status.epoch, found.status.test_accuracy, found.status.state) == (8, 84.25, State.FINISHED)
    assert [row.first.id for row in collect(runs_dir).rows] == [run.id] and not collect(runs_dir).skipped
    assert "is finished after 8 epochs; to go on, give more" in refused(prepare_resume, found)
    again = load_run(run)
    assert again.status is not None and again.problem == "" and again.state is State.FINISHED
    assert (again.status.epoch, again.status.step, again.status.test_accuracy) == (8, 376, 84.25)
    assert messages(run, "warning") == [MADE_ANEW]
    prepare_resume(again, epochs=9)
    assert load_run(run).state is State.STARTING


def test_a_finished_run_keeps_the_loss_of_its_newest_line(runs_dir: Path) -> None:
    run = finished_run(runs_dir)
    sample = SystemRecord(host=HostSample(cpu_percent=50.0)).to_json() + "\n"
    run.metrics.write_text(FIFTH_EPOCH.replace('"loss":0.5', '"loss":0.9') + FIFTH_EPOCH + sample + FIFTH_EPOCH[:40])
    spoil(run, "empty")
    found = load_run(run)
    assert found.status is not None and found.status.loss == 0.5
    assert parse_filter("loss<0.6").matches(found) and not parse_filter("loss<0.5").matches(found)
    run.metrics.unlink()
    status = load_run(run).status
    assert status is not None and status.loss is None


def test_the_newest_training_line_is_found_at_the_end_of_a_long_file(runs_dir: Path) -> None:
    run = finished_run(runs_dir)
    assert last_train(run) is None
    earlier = FIFTH_EPOCH.replace('"step":470', '"step":469')
    run.metrics.write_text(earlier * (2 * END_BYTES // len(earlier)) + FIFTH_EPOCH)
    newest = last_train(run)
    assert newest is not None and newest.step == 470


@pytest.mark.parametrize("how", HOW)
def test_a_run_at_work_goes_on_from_its_checkpoint(runs_dir: Path, config: RunConfig, how: str) -> None:
    run = create_run(runs_dir, config)
    write_status(run, state=State.RUNNING, pid=2**22 + 1, pid_started=1.0, epoch=5)
    run.checkpoint("last").write_bytes(b"a checkpoint")
    run.metrics.write_text(FIFTH_EPOCH)
    spoil(run, how)
    assert load_run(run).state is State.LOST and load_run(run).problem.endswith("; a resume makes it anew")
    prepare_resume(load_run(run))
    status = load_run(run).status
    assert status is not None and status.state is State.STARTING and status.epochs == config.training.epochs
    assert (status.epoch, status.step) == (5, 470), "where its metric lines end"


def test_the_epochs_and_the_limit_of_an_edit_stay(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    finish(run, State.STOPPED, epoch=5)
    edits: list[dict[str, float]] = [{"epochs": 12}, {"stop_at_accuracy": 90.0}, {"epochs": 20}]
    lines = [EventRecord(event="edit", data=data).to_json() + "\n" for data in edits]
    run.metrics.write_text(FIFTH_EPOCH + "".join(lines))
    spoil(run, "empty")
    prepare_resume(load_run(run))
    status = load_run(run).status
    assert status is not None and (status.epochs, status.stop_at_accuracy) == (20, 90.0)
    with run.metrics.open("a") as file:
        file.write(EventRecord(event="edit", data={"stop_at_accuracy": 0.0}).to_json() + "\n")
    spoil(run, "empty")
    prepare_resume(load_run(run))
    status = load_run(run).status
    assert status is not None and status.stop_at_accuracy is None


def test_the_epochs_of_a_run_that_its_accuracy_ended_early_stay(runs_dir: Path) -> None:
    """Its result has 8, its metric lines at most tell of edits."""
    run = finished_run(runs_dir)
    config = RunConfig.model_validate_json(run.config.read_bytes())
    of_20 = with_changes(config, {"training.epochs": 20, "training.stop_at_accuracy": 80.0}).model_dump_json()
    run.config.write_text(of_20)
    spoil(run, "empty")
    assert "is finished after epoch 8 of 20" in refused(prepare_resume, load_run(run))
    prepare_resume(load_run(run), stop_at_accuracy=0.0)
    status = load_run(run).status
    assert status is not None and status.epochs == 20
    run = finished_run(runs_dir)
    run.config.write_text(of_20)
    run.metrics.write_text(EventRecord(event="edit", data={"epochs": 12}).to_json() + "\n")
    spoil(run, "missing")
    assert "is finished after epoch 8 of 12" in refused(prepare_resume, load_run(run))


@pytest.mark.parametrize("began", [False, True])
def test_an_edit_after_a_longer_start_stays(runs_dir: Path, config: RunConfig, began: bool) -> None:
    """The start's own epochs do not come back over it; those of one that never began still hold."""
    run = create_run(runs_dir, config)
    finish(run, State.STOPPED, epoch=5)
    prepare_resume(load_run(run), epochs=12)
    write_status(run, state=State.STOPPED)
    beginning = EventRecord(event="resume", data={"provenance": {}}).to_json() + "\n" if began else ""
    run.metrics.write_text(beginning + EventRecord(event="edit", data={"epochs": 20}).to_json() + "\n")
    spoil(run, "empty")
    prepare_resume(load_run(run))
    assert last_launch(run).length(write_status(run)).epochs == (20 if began else 12)


def test_a_newer_program_s_status_is_left_alone(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    run.status.write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1, "state": "dreaming"}))
    before = tree(runs_dir)
    assert "written by a newer fmnist-tui" in refused(prepare_resume, load_run(run))
    assert tree(runs_dir) == before


def test_without_a_checkpoint_nothing_is_trained_over(runs_dir: Path, config: RunConfig) -> None:
    done = finished_run(runs_dir)
    done.checkpoint("last").unlink()
    before = tree(runs_dir)
    assert f"train it anew: fmnist-tui run repeat {done.id}" in refused(prepare_resume, load_run(done), epochs=9)
    assert tree(runs_dir) == before
    stopped = create_run(runs_dir, config)
    finish(stopped, State.STOPPED)
    stopped.checkpoint("last").unlink()
    stopped.checkpoint("best").write_bytes(b"a checkpoint")
    message = refused(prepare_resume, load_run(stopped))
    assert "has no checkpoint to go on from; --from best goes on from the best one, or train it anew" in message
    prepare_resume(load_run(stopped), checkpoint="best")
    spoil(stopped, "empty")
    stopped.metrics.write_text(FIFTH_EPOCH)
    assert "has no checkpoint to go on from" in refused(prepare_resume, load_run(stopped))
    early = create_run(runs_dir, config)
    finish(early, State.FAILED, epoch=2)
    early.checkpoint("last").unlink()
    prepare_resume(load_run(early))
