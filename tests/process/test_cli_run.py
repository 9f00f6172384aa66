"""`run preset|resume` with real workers and real signals: to the end, stopped, killed, detached, resumed.

Whole programs, or forked ones where the start is not what a test is about.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fmnist_tui.runs import process, store
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import State
from tests.printed import json_lines
from tests.process import cli_helpers as h
from tests.process import forked_commands as forked


@pytest.fixture(autouse=True)
def no_worker_left(runs_dir: Path) -> Iterator[None]:
    """Whatever a test started is gone after it."""
    yield
    for run in store.list_runs(runs_dir):
        if run.status is not None:
            process.kill_worker(run.status)


def long_run(runs_dir: Path, *more: str) -> list[str]:
    """Arguments of a run that would go on for minutes."""
    return ["run", "preset", "quick", "--runs-dir", str(runs_dir), "--epochs=1000", *h.TINY, *more]


def test_run_to_the_end_prints_a_table_row_and_no_control_codes(runs_dir: Path) -> None:
    done = h.run(
        "run",
        "preset",
        "quick",
        "--runs-dir",
        str(runs_dir),
        *h.TINY,
        "--epochs=2",
        "--set=training.max_steps=20",
        "--name=Mine",
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    directory = h.only_run(runs_dir)
    result = Result.model_validate_json(directory.result.read_bytes())
    assert (result.name, result.data_source, result.epochs, result.steps) == ("Mine", "sample", 1, 20)
    assert f"epoch 1/2  test {result.test_accuracy:.2f} %" in done.stdout
    assert "| Model Name" in done.stdout and f"{result.parameters:,}" in done.stdout
    assert str(directory.path) in done.stdout
    assert "data.source = sample" in done.stderr
    assert (runs_dir / "BENCHMARKS.md").is_file()


def test_json_is_one_object_a_line_from_the_run_to_the_result(runs_dir: Path) -> None:
    done = forked.run(
        "run", "preset", "quick", "--runs-dir", str(runs_dir), *h.TINY, "--set=training.max_steps=20", "--json"
    )
    assert done.returncode == 0, done.stderr
    directory = h.only_run(runs_dir)
    lines = json_lines(done.stdout)
    assert lines[0] == {"kind": "run", "id": directory.id, "directory": str(directory.path)}
    assert lines[1:-2] == json_lines(directory.metrics.read_text())
    assert {"train", "eval", "event"} <= {line["kind"] for line in lines[1:-2]}
    assert (lines[-2]["kind"], lines[-2]["state"], lines[-2]["exit_code"]) == ("status", "finished", 0)
    assert lines[-1] == {"kind": "result", **json.loads(directory.result.read_text())}


def test_ctrl_c_stops_with_a_checkpoint_and_resume_finishes(runs_dir: Path) -> None:
    watcher = h.start(*long_run(runs_dir))
    directory = h.only_run(runs_dir)
    h.wait_for_step(directory, 5)
    watcher.send_signal(signal.SIGINT)
    code, stdout, stderr = h.finish(watcher)
    assert code == 130, stderr
    assert "a checkpoint is being written" in stdout
    assert f"fmnist-tui run resume {directory.id}" in stdout
    stopped = h.status(directory)
    assert stopped.state is State.STOPPED and stopped.step >= 5
    assert directory.checkpoint("last").is_file() and not directory.result.exists()

    done = h.run("run", "resume", directory.id, f"--epochs={stopped.epoch}", "--json")
    assert done.returncode == 0, done.stderr
    lines = json_lines(done.stdout)
    assert any(line["kind"] == "event" and line["event"] == "resume" for line in lines)
    assert all(line["step"] > stopped.step for line in lines if line["kind"] == "train"), "earlier lines again"
    result = Result.model_validate_json(directory.result.read_bytes())
    assert (result.epochs, result.starts) == (stopped.epoch, 2)
    assert result.steps == stopped.epoch * stopped.steps_per_epoch
    launch = json.loads(directory.launch.read_text())
    assert launch["device"] == "cpu", "a resumed run stays on the device it was on"


def test_sigterm_stops_as_ctrl_c_does(runs_dir: Path) -> None:
    watcher = forked.start(*long_run(runs_dir, "--json"))
    directory = h.only_run(runs_dir)
    h.wait_for_step(directory, 1)
    watcher.terminate()
    code, stdout, _ = h.finish(watcher)
    assert code == 130
    assert json_lines(stdout)[-1]["state"] == "stopped"
    assert directory.checkpoint("last").is_file()


def test_ctrl_c_twice_kills(runs_dir: Path) -> None:
    watcher = h.start(*long_run(runs_dir))
    directory = h.only_run(runs_dir)
    pid = h.wait_for("the worker's pid", lambda: h.status(directory).pid)
    worker = psutil.Process(pid)
    os.kill(worker.pid, signal.SIGSTOP)  # so that it can't stop in time of itself
    watcher.send_signal(signal.SIGINT)
    h.wait_for("the request", directory.control.exists)
    assert worker.is_running()
    watcher.send_signal(signal.SIGINT)
    code, _, stderr = h.finish(watcher)
    assert code == 130
    assert "killed by the user" in stderr
    assert not process.is_process(pid, None)
    assert store.load_run(directory).state is State.FAILED


def test_a_worker_killed_by_others_is_written_down_with_its_log(runs_dir: Path) -> None:
    watcher = forked.start(*long_run(runs_dir))
    directory = h.only_run(runs_dir)
    h.wait_for_step(directory, 1)
    os.kill(h.status(directory).pid or 0, signal.SIGKILL)
    code, _, stderr = h.finish(watcher)
    assert code == 4
    assert "SIGKILL" in stderr and "worker.log" in stderr and "start:" in stderr
    failed = h.status(directory)
    assert failed.state is State.FAILED and failed.exit_code == 4 and "SIGKILL" in (failed.error or "")


def test_closing_the_terminal_leaves_the_run_at_work_until_it_is_stopped(runs_dir: Path) -> None:
    watcher = h.start(*long_run(runs_dir))
    directory = h.only_run(runs_dir)
    before = h.wait_for_step(directory, 1)
    watcher.send_signal(signal.SIGHUP)
    h.finish(watcher)
    after = h.wait_for_step(directory, before.step + 20)
    assert store.load_run(directory).state is State.RUNNING
    done = h.run("runs", "stop", "last", "--now", "--runs-dir", str(runs_dir))
    assert done.returncode == 0, done.stderr
    assert after.pid is not None and not process.is_process(after.pid, after.pid_started)
    assert "killed" in (h.status(directory).error or "")


def test_detached_then_watched_stopped_and_deleted(runs_dir: Path) -> None:
    where = ("--runs-dir", str(runs_dir))
    done = forked.run(*long_run(runs_dir, "--detach"))
    assert done.returncode == 0, done.stderr
    run_id = done.stdout.strip()
    directory = h.only_run(runs_dir)
    assert run_id == directory.id, "the id and nothing else on stdout"

    (listed,) = json_lines(forked.run("runs", "list", "--json", *where).stdout)
    assert listed["id"] == run_id and listed["state"] in ("starting", "running")
    refused = forked.run("runs", "delete", run_id, "--yes", *where)
    assert refused.returncode == 2 and "at work" in refused.stderr and directory.path.exists()

    leaver = forked.start("runs", "watch", "last", *where)
    h.wait_for_step(directory, 1)
    h.wait_for("the watcher's first line", lambda: leaver.stdout and leaver.stdout.readline())
    leaver.send_signal(signal.SIGINT)
    code, _, stderr = h.finish(leaver)
    assert code == 0 and "goes on" in stderr
    assert store.load_run(directory).state is State.RUNNING, "Ctrl-C of a watcher only detaches"

    watcher = forked.start("runs", "watch", run_id[-4:], "--json", *where)
    stopped = forked.run("runs", "stop", run_id, *where)
    assert stopped.returncode == 0 and "stopped in epoch" in stopped.stderr
    code, stdout, _ = h.finish(watcher)
    assert code == 130
    assert [line["kind"] for line in json_lines(stdout)][0 :: len(stdout.splitlines()) - 1] == ["run", "status"]

    again = forked.run("runs", "stop", run_id, *where)
    assert again.returncode == 0 and "nothing to stop" in again.stderr
    assert "start:" in forked.run("runs", "logs", run_id, *where).stdout
    unasked = forked.run("runs", "delete", run_id, *where)
    assert unasked.returncode == 2 and "--yes" in unasked.stderr and directory.path.exists()
    assert forked.run("runs", "delete", run_id, "--yes", *where).returncode == 0
    assert not directory.path.exists()


def test_stop_after_the_epoch_and_logs_that_follow(runs_dir: Path) -> None:
    where = ("--runs-dir", str(runs_dir))
    forked.run(*long_run(runs_dir, "--detach"))
    directory = h.only_run(runs_dir)
    h.wait_for_step(directory, 1)
    logs = forked.start("runs", "logs", "last", "--follow", *where)
    asked = forked.run("runs", "stop", "last", "--after-epoch", *where)
    assert asked.returncode == 0 and "after epoch" in asked.stderr
    code, stdout, _ = h.finish(logs)
    assert code == 0 and "start:" in stdout and "stop:" in stdout
    stopped = h.status(directory)
    assert stopped.state is State.STOPPED and stopped.step % stopped.steps_per_epoch == 0
