"""A run that has ended made ready to go on, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from fmnist_tui.cli import main
from fmnist_tui.config import RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.runs.launch import LaunchRequest, last_launch
from fmnist_tui.runs.process import process_started
from fmnist_tui.runs.starting import create_run, limit_note, prepare_resume
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import delete_run, load_run, mark_failed, mark_stopped
from tests.unit.cli_runs import finished_run
from tests.unit.stored_runs import finish, me, refused, tree, write_status


def test_a_stopped_run_is_made_ready(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config, device="cpu")
    created = finish(run, State.STOPPED, epoch=3, step=333, pid=1, pid_started=1.0, error="x", exit_code=130).created
    run.control.write_text('{"requests": []}')
    run.checkpoint("best").write_bytes(b"x")
    prepare_resume(load_run(run), "cuda:1", Path("/data"), "best", epochs=12)
    loaded = load_run(run)
    status = loaded.status
    assert status is not None
    assert (loaded.state, status.pid, status.error, status.exit_code, status.ended) == (
        State.STARTING, None, None, None, None
    )  # fmt: skip
    assert (status.step, status.created, status.device) == (333, created, "cuda:1"), "the run's history stays"
    launch = LaunchRequest.model_validate_json(run.launch.read_bytes())
    assert (launch.device, launch.data_dir, launch.checkpoint, launch.epochs) == ("cuda:1", "/data", "best", 12)
    assert not run.control.exists(), "a stop asked of the last worker does not stop the next"
    assert load_run(run).config == config


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED])
def test_what_ended_can_go_on(state: State, runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    finish(run, state)
    prepare_resume(load_run(run))
    assert load_run(run).state is State.STARTING


def test_a_lost_run_can_go_on(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    child = subprocess.Popen([sys.executable, "-c", ""])
    write_status(run, state=State.RUNNING, pid=child.pid, pid_started=process_started(child.pid) or 1.0)
    child.wait(20)
    assert load_run(run).state is State.LOST
    prepare_resume(load_run(run))
    assert load_run(run).state is State.STARTING


@pytest.mark.parametrize(
    ("status", "options", "message"),
    [
        ({"state": State.RUNNING, **me()}, {}, "is running; stop it first: fmnist-tui runs stop"),
        ({"state": State.STARTING}, {}, "is starting; stop it first"),
        ({"state": State.QUEUED}, {}, "is queued"),
        ({"state": State.STOPPED}, {"checkpoint": "best"}, "--from best: "),
        ({"state": State.STOPPED}, {"checkpoint": "previous"}, "has no checkpoint of this name"),
        ({"state": State.STOPPED, "epoch": 5}, {"epochs": 4}, "--epochs 4: "),
        ({"state": State.STOPPED}, {"epochs": 0}, "training.epochs = 0: must be at least 1"),
        ({"state": State.STOPPED}, {"epochs": 100_001}, "must be at most 100000"),
        ({"state": State.STOPPED}, {"epochs": 2}, "schedule.warmup_epochs = 2.0: must be below training.epochs = 2"),
        ({"state": State.FINISHED, "epochs": 8, "epoch": 8}, {}, "is finished after 8 epochs; to go on, give more"),
        ({"state": State.FINISHED, "epochs": 8, "epoch": 8}, {"epochs": 8}, "is finished after 8 epochs"),
        ({"state": State.FINISHED, "epochs": 8, "epoch": 3}, {}, "after epoch 3 of 8; to go on, give more than 8"),
    ],
)
def test_what_cannot_go_on(
    status: dict[str, Any], options: dict[str, Any], message: str, runs_dir: Path, config: RunConfig
) -> None:
    config = with_changes(config, {"schedule.warmup_epochs": 2.0})
    run = create_run(runs_dir, config)
    write_status(run, **status)
    before = tree(runs_dir)
    assert message in refused(prepare_resume, load_run(run), **options)
    assert tree(runs_dir) == before


def test_a_run_at_its_step_limit_cannot_go_on(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, with_changes(config, {"training.max_steps": 800}))
    finish(run, epochs=8)
    before = tree(runs_dir)
    for epochs in (9, None):
        assert "is finished after training.max_steps = 800; a resumed run keeps" in refused(
            prepare_resume, load_run(run), epochs=epochs
        )
    assert tree(runs_dir) == before


def test_a_run_that_its_accuracy_limit_ended(runs_dir: Path, config: RunConfig) -> None:
    """It says so, with more epochs as without, and goes on once the limit is taken back, or raised."""
    run = create_run(runs_dir, config)
    write_status(run, state=State.FINISHED, epochs=8, epoch=3, test_accuracy=84.25, stop_at_accuracy=80.0)
    run.checkpoint("last").write_bytes(b"x")
    before = tree(runs_dir)
    for epochs in (None, 9):
        message = refused(prepare_resume, load_run(run), epochs=epochs)
        assert "after epoch 3 of 8: 84.25 % reached training.stop_at_accuracy = 80" in message
        assert message.endswith("to go on, raise it or take it back: --stop-at-accuracy none")
    message = refused(prepare_resume, load_run(run), stop_at_accuracy=84.0)
    assert message == f"--stop-at-accuracy 84: {run.id} has reached 84.25 % already; give more, or none"
    assert "after epoch 3 of 8; to go on, give more than 3" in refused(
        prepare_resume, load_run(run), epochs=3, stop_at_accuracy=0.0
    )
    assert tree(runs_dir) == before
    enough: list[dict[str, Any]] = [{"stop_at_accuracy": 0.0}, {"stop_at_accuracy": 90.0, "epochs": 5}]
    for options in enough:
        write_status(run, state=State.FINISHED)
        prepare_resume(load_run(run), **options)
        launch = LaunchRequest.model_validate_json(run.launch.read_bytes())
        assert (launch.stop_at_accuracy, launch.epochs) == (options.get("stop_at_accuracy"), options.get("epochs"))


def test_a_run_that_reached_its_limit_in_its_last_epoch(runs_dir: Path, config: RunConfig) -> None:
    """More epochs alone would train one, and end by the limit again."""
    run = create_run(runs_dir, config)
    reached = {"test_accuracy": 84.25, "best_accuracy": 85.0, "stop_at_accuracy": 84.5}
    write_status(run, state=State.FINISHED, epochs=8, epoch=8, **reached)
    for which in ("last", "best"):
        run.checkpoint(which).write_bytes(b"x")
    before = tree(runs_dir)
    from_best = refused(prepare_resume, load_run(run), checkpoint="best", epochs=9)
    assert "is finished after 8 epochs: 85.00 % reached training.stop_at_accuracy = 84.5; " in from_best
    assert from_best.endswith("--stop-at-accuracy none")
    message = refused(prepare_resume, load_run(run), epochs=9, stop_at_accuracy=84.25)
    assert message == f"--stop-at-accuracy 84.25: {run.id} has reached 84.25 % already; give more, or none"
    assert tree(runs_dir) == before
    write_status(run, stop_at_accuracy=84.0)
    message = refused(prepare_resume, load_run(run))
    assert message.endswith("take it back: --stop-at-accuracy none, and give more epochs: --epochs N")
    prepare_resume(load_run(run), epochs=9, stop_at_accuracy=0.0)


def test_what_is_said_of_a_limit_that_stays(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    assert limit_note(write_status(run, state=State.FINISHED)) == ""
    holds = "training.stop_at_accuracy = 80 still holds"
    remedy = "; --stop-at-accuracy none takes it back"
    assert limit_note(write_status(run, stop_at_accuracy=80.0, test_accuracy=70.0)) == holds + remedy


def test_the_command_line_says_that_the_limit_stays(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fmnist_tui.console.launch._run", lambda *_: 0)
    run = finished_run(runs_dir)
    run.checkpoint("last").write_bytes(b"x")
    for options, said in ((["--epochs", "9"], True), (["--epochs", "9", "--stop-at-accuracy", "none"], False)):
        write_status(run, state=State.FINISHED, epochs=8, epoch=8, stop_at_accuracy=90.0)
        assert main(["run", "resume", run.id, "--device", "cpu", *options]) == 0
        assert ("note: training.stop_at_accuracy = 90 still holds" in capsys.readouterr().err) is said
    assert LaunchRequest.model_validate_json(run.launch.read_bytes()).stop_at_accuracy == 0.0


@pytest.mark.parametrize("text", ["0", "101", "-5", "nan", "much", ""])
def test_no_accuracy_to_stop_at(text: str, runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(runs_dir)
    assert main(["run", "resume", run.id, f"--stop-at-accuracy={text}"]) == 2
    assert f"'--stop-at-accuracy': {text!r} is not a percentage above 0" in capsys.readouterr().err


@pytest.mark.parametrize("left", ["stopped", "lost"])
def test_the_length_that_a_start_asked_for_stays_where_its_worker_never_began(
    runs_dir: Path, config: RunConfig, left: str
) -> None:
    """Taken out of the queue or killed in it; a later start may ask for another, and one that began has been told."""
    run = create_run(runs_dir, config)
    finish(run, State.STOPPED, epoch=3)
    prepare_resume(load_run(run), epochs=12, stop_at_accuracy=90.0)
    if left == "stopped":
        mark_stopped(run, "taken out of the queue")
    else:
        write_status(run, pid=2**22 + 1, pid_started=1.0)  # above what Linux gives
    prepare_resume(load_run(run))
    assert last_launch(run).length(write_status(run, state=State.STOPPED)) == (12, 90.0)
    prepare_resume(load_run(run), stop_at_accuracy=0.0)
    assert last_launch(run).length(write_status(run, state=State.STOPPED)) == (12, None)
    write_status(run, epochs=20, stop_at_accuracy=80.0, launched=last_launch(run).time)  # it began, and was edited
    prepare_resume(load_run(run))
    assert last_launch(run).length(write_status(run)) == (20, 80.0)


def test_a_finished_run_goes_on_to_more_epochs(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    finish(run, epochs=8)
    prepare_resume(load_run(run), epochs=9)
    assert load_run(run).state is State.STARTING


@pytest.mark.parametrize("left", ["failed", "stopped", "lost"])
def test_a_finished_run_whose_worker_never_began_is_finished_still(runs_dir: Path, left: str) -> None:
    """Its result.json is there: training would have taken it away."""
    run = finished_run(runs_dir)
    prepare_resume(load_run(run), epochs=9)
    if left == "failed":
        mark_failed(run, "killed by signal 9", 4)
    elif left == "stopped":
        mark_stopped(run, "taken out of the queue")
    else:
        write_status(run, pid=2**22 + 1, pid_started=1.0)  # above what Linux gives
    found = load_run(run)
    assert found.state is State.FINISHED and found.result is not None and found.status is not None
    why = "did not go on, and is as it was: killed by signal 9"
    assert found.status.error == (why if left == "failed" else None)


def test_a_held_run_does_not_go_on(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    finish(run, State.STOPPED)
    with FileLock(run.lock):
        assert "its worker is still there" in refused(prepare_resume, load_run(run))
        assert "its worker is still there" in refused(delete_run, load_run(run))
    prepare_resume(load_run(run))


def test_a_resume_that_cannot_be_written_down(
    runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(runs_dir, config)
    finish(run, State.STOPPED)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fmnist_tui.runs.starting.replace_bytes", fail)
        assert "cannot be resumed: No space left" in refused(prepare_resume, load_run(run))
    assert load_run(run).state is State.STOPPED


def test_retries_reach_the_worker_and_begin_again_with_a_resume(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config, retries=3)
    launch = LaunchRequest.model_validate_json(run.launch.read_bytes())
    assert launch.retries == 3
    status = Status.model_validate_json(run.status.read_bytes())
    ended = status.model_copy(update={"state": State.FAILED, "retries_used": 3, "exit_code": 4})
    run.status.write_text(ended.to_json())
    prepare_resume(load_run(run), retries=2)
    assert Status.model_validate_json(run.status.read_bytes()).retries_used == 0
    assert LaunchRequest.model_validate_json(run.launch.read_bytes()).retries == 2
