"""The device queue with real workers: they wait, follow one another, leave, are moved and told to start."""

from __future__ import annotations

import signal
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from fmnist_tui.runs import queue, requests, starting, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EventRecord, parse_metric, read_metrics
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.tickets import Device
from tests.events import messages
from tests.process import cli_helpers
from tests.process.crowd import CPU
from tests.process.holders import is_queued, waiting
from tests.process.workers import Start, config, status_of, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


def quick(runs_dir: Path, steps: int = 2, **options: Any) -> RunDirectory:
    return starting.create_run(runs_dir, config(max_steps=steps), "cpu", **options)


def has_steps(run: RunDirectory) -> bool:
    return status_of(run).step > 0


def test_a_queued_run_waits_cheaply_and_starts_by_itself(
    runs_dir: Path, tmp_path: Path, start_whole: Start, hold: Any
) -> None:
    holder = hold(eta_seconds=600.0, where=tmp_path / "elsewhere")
    run = quick(runs_dir)
    worker = start_whole(run)
    wait_until(lambda: is_queued(run), "its place")
    status = status_of(run)
    assert (status.queue_behind, status.device, status.pid) == (holder.run.id, "cpu", worker.pid)
    assert status.starts_in_seconds == pytest.approx(600, abs=60)
    wait_until(run.metrics.exists, "the event")
    assert store.load_run(run).state is State.QUEUED
    assert "next on cpu, behind " + holder.run.id in messages(run, "queue")[0]
    said = next(event for event in read_metrics(run).event if event.event == "queue")
    assert f"'fmnist-tui runs move {run.id} --now' starts it at once" in said.told()
    assert "--now" not in said.message + run.worker_log.read_text(), "the app shows both"
    maps = Path(f"/proc/{worker.pid}/maps")
    if maps.exists():
        assert "libtorch" not in maps.read_text() and "numpy" not in maps.read_text()
    before, heartbeat = psutil.Process(worker.pid).cpu_times(), status.heartbeat
    began = time.monotonic()
    wait_until(lambda: status_of(run).heartbeat > heartbeat, "the next heartbeat")
    wait_until(lambda: time.monotonic() - began > 2.0, "two seconds")
    after = psutil.Process(worker.pid).cpu_times()
    share = (after.user + after.system - before.user - before.system) / (time.monotonic() - began)
    assert share < 0.1, "a few looks a second"
    assert psutil.Process(worker.pid).memory_info().rss < 100e6
    holder.end()
    assert worker.wait(60) == 0
    done = status_of(run)
    assert (done.state, done.queue_place, done.queue_behind, done.starts_in_seconds) == (
        State.FINISHED,
        None,
        None,
        None,
    )
    assert messages(run, "queue")[-1].startswith("its turn on cpu, after ")
    assert queue.snapshot() == []


def test_real_runs_follow_one_another_also_after_a_kill(runs_dir: Path, tmp_path: Path, start: Start) -> None:
    first = starting.create_run(runs_dir, config(epochs=500), "cpu")
    runs = [first, quick(runs_dir), quick(tmp_path / "elsewhere"), quick(runs_dir)]
    workers = []
    for at, run in enumerate(runs):
        workers.append(start(run))
        wait_until(partial(is_queued, run, at) if at else partial(has_steps, run), run.id)
    workers[1].kill()
    workers[1].wait(20)
    assert store.load_run(runs[1]).state is State.LOST, "a queued run without a process"
    wait_until(lambda: is_queued(runs[2], 1) and is_queued(runs[3], 2), "the others to move up")
    assert status_of(runs[2]).queue_behind == first.id
    assert status_of(first).step > 0 and workers[0].poll() is None
    workers[0].kill()
    assert (workers[2].wait(60), workers[3].wait(60)) == (0, 0)
    began = [status_of(run).started or "" for run in (runs[2], runs[3])]
    ended = status_of(runs[2]).ended
    assert ended is not None and ended <= began[1], "one after the other"
    starting.prepare_resume(store.load_run(runs[1]), "cpu")
    assert start(runs[1]).wait(60) == 0


@pytest.mark.parametrize("how", ["stop", "stop_after_epoch", "SIGTERM", "SIGINT"])
def test_a_queued_run_can_leave(runs_dir: Path, start: Start, hold: Any, how: Any) -> None:
    holder = hold()
    run = quick(runs_dir)
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    if how.startswith("SIG"):
        worker.send_signal(signal.Signals[how])
    else:
        requests.send_request(run, how)
    assert worker.wait(20) == 130
    status = status_of(run)
    assert (status.state, status.exit_code, status.queue_place, status.step) == (State.STOPPED, 130, None, 0)
    assert "taken out of the queue by" in messages(run, "stop")[0]
    assert not run.checkpoint("last").exists() and waiting() == []
    starting.prepare_resume(store.load_run(run), "cpu")
    again = start(run)
    wait_until(lambda: is_queued(run), "its place")
    assert again.poll() is None, "the earlier request is forgotten"
    if how == "stop":
        holder.end()
        assert again.wait(60) == 0


def test_edits_wait_with_the_run(runs_dir: Path, start: Start, hold: Any) -> None:
    holder = hold()
    run = starting.create_run(runs_dir, config(epochs=2), "cpu")
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    requests.send_request(run, "edit", epochs=1)
    holder.end()
    assert worker.wait(60) == 0
    assert status_of(run).epoch == 1 and messages(run, "edit")


def test_now_runs_beside_and_says_so(runs_dir: Path, start: Start, hold: Any) -> None:
    holder = hold()
    run = quick(runs_dir, now=True)
    assert LaunchRequest.model_validate_json(run.launch.read_bytes()).now
    assert start(run).wait(60) == 0
    status = status_of(run)
    assert (status.state, status.beside) == (State.FINISHED, holder.run.id)
    assert f"runs beside {holder.run.id} on cpu" in messages(run, "warning")[0]
    assert not messages(run, "queue")
    starting.prepare_resume(store.load_run(run), "cpu", checkpoint="best", epochs=4)
    assert not LaunchRequest.model_validate_json(run.launch.read_bytes()).now, "it holds for one start"


def test_a_queued_run_can_be_told_to_start_now(runs_dir: Path, tmp_path: Path, start: Start, hold: Any) -> None:
    """From the command line, whatever runs directory it lies in; an edit that waited with it is not lost."""
    holder = hold()
    run = starting.create_run(tmp_path / "elsewhere", config(epochs=3, max_steps=30), "cpu")
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    requests.send_request(run, "edit", epochs=1)
    told = cli_helpers.run("runs", "move", run.id[-4:], "--now", "--runs-dir", str(runs_dir))
    assert (told.returncode, told.stdout) == (0, "") and f"{run.id} was told to start now." in told.stderr
    assert worker.wait(60) == 0
    status = status_of(run)
    assert (status.state, status.beside, status.epochs) == (State.FINISHED, holder.run.id, 1)
    assert requests.read_control(run).requests == [], "what was answered is forgotten at the end"
    assert messages(run, "queue")[-1].startswith("told to start now on cpu, after ")
    assert f"runs beside {holder.run.id} on cpu" in messages(run, "warning")[0]
    again = cli_helpers.run("runs", "move", run.id, "--now", "--runs-dir", str(run.path.parent))
    assert again.returncode == 2 and "is finished; only a queued run can be told to start now" in again.stderr


def test_a_waiting_worker_starts_within_a_second_of_being_told(runs_dir: Path, start: Start, hold: Any) -> None:
    """By the clock of the worker's own events, so that a loaded machine's slow start of torch does not count."""
    hold()
    run = quick(runs_dir)
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    asked = requests.send_request(run, "start_now")
    assert worker.wait(60) == 0
    records = [parse_metric(line) for line in run.metrics.read_bytes().splitlines()]
    told = [r for r in records if isinstance(r, EventRecord) and r.message.startswith("told to start now")]
    between = (datetime.fromisoformat(told[0].time) - datetime.fromisoformat(asked.time)).total_seconds()
    assert between < 5.0, "it looks twice a second; the rest is for a loaded machine"


def test_a_second_worker_of_a_queued_run_refuses(runs_dir: Path, start: Start, hold: Any) -> None:
    hold()
    run = quick(runs_dir)
    first = start(run)
    wait_until(lambda: is_queued(run), "its place")
    assert start(run).wait(30) == 2
    assert "another worker trains this run" in run.worker_log.read_text()
    assert first.poll() is None and waiting() == [run.id]
    with pytest.raises(RunError, match="is queued"):
        starting.prepare_resume(store.load_run(run))
    with pytest.raises(RunError, match="is queued; stop it first"):
        store.delete_run(store.load_run(run))


def test_a_run_deleted_by_force_leaves_the_queue(runs_dir: Path, start: Start, hold: Any) -> None:
    import shutil

    hold()
    run = quick(runs_dir)
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    run.path.rename(run.path.with_name(".gone"))
    assert worker.wait(20) != 0
    assert waiting() == [] and not run.path.exists()
    shutil.rmtree(runs_dir / ".gone")


def test_without_a_state_directory_a_run_starts_with_a_warning(
    runs_dir: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FMNIST_TUI_STATE_DIR", str(tmp_path / "file"))
    run = quick(runs_dir)
    assert start(run).wait(60) == 0
    assert "the device queue can't be used" in messages(run, "warning")[0]


def test_a_status_of_before_the_queue_is_read() -> None:
    assert Status.model_validate_json('{"state": "running"}').queue_place is None
    assert LaunchRequest.model_validate_json("{}").now is False


def test_auto_queues_for_what_torch_can_use(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver shows a GPU and torch has no use for it: the GPU's queue is left, the CPU's is kept to."""
    from fmnist_tui.training import turn
    from fmnist_tui.training.__main__ import work
    from fmnist_tui.training.control import StopSignal

    gpu = Device(key="GPU-1", name="cuda:0")
    waited_for = []

    def devices_for(option: str, count: int = 1) -> list[Device]:
        waited_for.append(option)
        return [gpu] if option == "auto" else [CPU]

    monkeypatch.setattr(turn, "devices_for", devices_for)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = starting.create_run(runs_dir, config(max_steps=1), "auto")
    assert work(run, config(max_steps=1), status_of(run), LaunchRequest(), StopSignal()) == 0
    assert waited_for == ["auto", "cpu"]
    result = store.load_run(run).result
    assert result is not None and result.device == "cpu"
    assert queue.snapshot() == []
