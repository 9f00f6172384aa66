"""Faults injected for real into real workers: a removed, moved or copied directory, a lost parent, power, signals."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from fmnist_tui.config import parse_config
from fmnist_tui.runs import process, requests, starting, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.lost import why_lost
from fmnist_tui.runs.metrics import parse_metric
from fmnist_tui.runs.status import State
from tests.events import messages
from tests.process.workers import MANY, NOISY, Start, config, seconds_to_the_end, status_of, steps_of, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_log_that_takes_nothing_ends_nothing(runs_dir: Path) -> None:
    """Every print to /dev/full fails as on a full disk."""
    run = starting.create_run(runs_dir, config(max_steps=2), device="cpu")
    worker = [sys.executable, "-m", "fmnist_tui.training", str(run.path)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(worker, stdout=full, stderr=full, timeout=120, env=process.worker_environment())
    assert (done.returncode, status_of(run).state) == (0, State.FINISHED)


def removed(directory: Path) -> bool:
    """Remove a directory that a worker writes to; a file that came meanwhile leaves some of it, for the next call."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def test_a_directory_removed_under_a_worker_ends_it(runs_dir: Path, start: Start) -> None:
    run = starting.create_run(runs_dir, config(epochs=MANY, checkpoint_seconds=0.2), device="cpu")
    worker = start(run)
    wait_until(lambda: run.checkpoint("last").exists(), "a checkpoint")
    wait_until(lambda: removed(run.path), "the directory goes")
    wait_until(lambda: worker.poll() is not None, "the worker ends", 60)
    assert worker.poll() not in (0, 130)
    assert not run.path.exists(), "it did not make the directory again"


def test_a_moved_run_resumes_where_it_lies_now(runs_dir: Path, tmp_path: Path, start: Start) -> None:
    """Stopped, its runs directory renamed, resumed there."""
    run = starting.create_run(runs_dir, config(max_steps=8, checkpoint_seconds=0.0), device="cpu")
    worker = start(run)
    wait_until(lambda: status_of(run).step >= 2, "two steps")
    worker.send_signal(signal.SIGTERM)
    code = worker.wait(timeout=60)
    shutil.move(runs_dir, tmp_path / "elsewhere")
    moved = RunDirectory(tmp_path / "elsewhere" / run.id)
    if code == 130:
        starting.prepare_resume(store.load_run(moved), device="cpu")
        assert start(moved).wait(timeout=120) == 0, moved.worker_log.read_text()
    assert store.load_run(moved).state is State.FINISHED
    assert [line["step"] for line in steps_of(moved) if line["kind"] == "train"] == list(range(1, 9))


@pytest.mark.parametrize("damage", ["cut", "zeroed", "missing"])
def test_power_lost_while_saving(runs_dir: Path, start: Start, damage: str) -> None:
    """last.pt not whole and a torn last line: the checkpoint before it is used, and the result is the same."""
    plain = starting.create_run(runs_dir, config(max_steps=6), device="cpu")
    assert start(plain).wait(timeout=120) == 0
    run = starting.create_run(runs_dir, config(max_steps=6, checkpoint_seconds=0.0), device="cpu")
    worker = start(run)
    wait_until(lambda: status_of(run).step >= 4 or worker.poll() is not None, "four steps")
    worker.kill()
    worker.wait()
    last = run.checkpoint("last")
    content = last.read_bytes()
    last.unlink()  # killed at the right moment it had two names, and previous.pt was the other
    if damage != "missing":
        last.write_bytes(content[: len(content) // 2] if damage == "cut" else bytes(len(content)))
    with run.metrics.open("ab") as file:
        file.write(b'{"kind":"train","time":"2026-11-2')
    loaded = store.load_run(run)
    if loaded.state is State.LOST:
        starting.prepare_resume(loaded, device="cpu")
        assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
        if damage != "missing":
            assert any("last.pt" in text for text in messages(run, "warning"))
        assert steps_of(run) == steps_of(plain)
    assert all(isinstance(parse_metric(line), object) for line in run.metrics.read_bytes().splitlines())


def test_it_outlives_its_parent_and_its_terminal(runs_dir: Path) -> None:
    """A launcher in a terminal session of its own is killed with SIGHUP and SIGKILL; the run goes on."""
    run = starting.create_run(runs_dir, config(epochs=MANY), device="cpu")
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from fmnist_tui.runs.layout import RunDirectory\n"
        "from fmnist_tui.runs.process import start_worker\n"
        "start_worker(RunDirectory(Path(sys.argv[1])))\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], start_new_session=True, stdout=subprocess.PIPE
    )
    assert launcher.stdout is not None and launcher.stdout.readline() == b"started\n"
    os.killpg(launcher.pid, signal.SIGHUP)
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()
    try:
        wait_until(lambda: status_of(run).step >= 2, "training goes on")
        assert store.load_run(run).state is State.RUNNING
        requests.send_request(run, "stop")
        wait_until(lambda: status_of(run).state is State.STOPPED, "it stops when asked")
    finally:
        process.kill_worker(status_of(run))


@pytest.mark.parametrize("phase", ["starting", "loading torch", "loading data", "training", "evaluating", "saving"])
def test_sigterm_in_every_phase(runs_dir: Path, start: Start, start_whole: Start, phase: str) -> None:
    """Stopped with a checkpoint within seconds, and what it resumes to is whole."""
    run = starting.create_run(runs_dir, config(epochs=2, checkpoint_seconds=0.05), device="cpu")
    worker = start_whole(run) if phase in ("starting", "loading torch") else start(run)
    deadline = time.monotonic() + 60
    while (
        phase != "starting" and status_of(run).phase != phase and worker.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.002)
    worker.send_signal(signal.SIGTERM)
    elapsed, used = seconds_to_the_end(worker)
    code = worker.wait(timeout=60)
    assert used < 20.0
    assert elapsed < max(20.0, 10 * used), "it waits for something else than the processor"
    assert code in (130, 0)
    if code == 130:
        assert store.load_run(run).state is State.STOPPED
        assert run.checkpoint("last").exists() or "before its first step" in messages(run, "stop")[0]
        starting.prepare_resume(store.load_run(run), device="cpu")
        assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
    lines = [line["step"] for line in steps_of(run) if line["kind"] == "train"]
    assert lines == list(range(1, 25))


@pytest.mark.parametrize("phase", ["training", "evaluating"])
def test_sigterm_with_a_deadline(runs_dir: Path, start: Start, phase: str) -> None:
    """A step, or an evaluation, that takes minutes on this CPU: a checkpoint and exit within seconds of the signal.

    WideResNet-28-10 evaluates 27 and trains 9 images a second on one core (README): 2,000 images are 74 s, 1,000
    are 116 s. The bound is in the worker's processor time, which does not depend on who else computes.
    """
    wide = {"kind": "wide_resnet", "depth": 28, "widen_factor": 10}
    batch = 1000 if phase == "training" else 1
    training = {"batch_size": batch, "max_steps": 1, "precision": "auto", "checkpoint_seconds": 600.0}
    full_size = {"low_resolution": 28}
    slow = parse_config({**NOISY, "model": wide, "augment": full_size, "training": {**NOISY["training"], **training}})
    run = starting.create_run(runs_dir, slow, device="cpu")
    worker = start(run)
    wait_until(lambda: status_of(run).phase == phase and status_of(run).state is State.RUNNING, phase)
    family = psutil.Process(worker.pid)
    entered = sum(family.cpu_times()[:2])
    wait_until(lambda: sum(family.cpu_times()[:2]) > entered + 1.5, "it is well inside")
    worker.send_signal(signal.SIGTERM)
    _, used = seconds_to_the_end(worker)
    assert worker.wait(timeout=60) == 130, run.worker_log.read_text()
    assert used < 10.0
    assert store.load_run(run).state is State.STOPPED
    assert torch.load(run.checkpoint("last"), weights_only=True)["progress"]["step"] == (phase == "evaluating")
    assert not steps_of(run) if phase == "training" else [line["kind"] for line in steps_of(run)] == ["train"]


def test_what_killed_writers_left_is_removed(runs_dir: Path, start: Start) -> None:
    """Half a checkpoint of each kill would fill the disk; a request somebody else is writing stays."""
    run = starting.create_run(runs_dir, config(max_steps=1), device="cpu")
    names = [".status.json.77.ab12.tmp", ".metrics.jsonl.77.ab12.tmp", ".control.json.77.ab12.tmp"]
    left = [run.path / name for name in names] + [run.checkpoints / ".last.pt.77.tmp"]
    for path in left:
        path.write_bytes(b"half")
    assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
    assert [path.exists() for path in left] == [False, False, True, False]


def test_a_run_moved_under_its_worker_goes_on_where_it_lies_now(runs_dir: Path, start: Start) -> None:
    """The worker ends; in the new place the run shows as lost at once, and resumes to the same result."""
    plain = starting.create_run(runs_dir, config(max_steps=14, checkpoint_seconds=0.0), device="cpu")
    assert start(plain).wait(timeout=120) == 0
    run = starting.create_run(runs_dir, config(max_steps=14, checkpoint_seconds=0.0), device="cpu")
    worker = start(run)
    wait_until(lambda: status_of(run).step >= 2, "two steps")
    (runs_dir.parent / "elsewhere").mkdir()
    moved = RunDirectory(runs_dir.parent / "elsewhere" / run.id)
    shutil.move(run.path, moved.path)
    assert worker.wait(timeout=60) not in (0, 130)
    assert not run.path.exists(), "it did not make the directory again"
    loaded = store.load_run(moved)
    assert loaded.state is State.LOST
    assert why_lost(loaded) == (
        f"its worker ended by itself: {run.path} is gone: it was moved or deleted while it trained; training ends"
    )
    assert store.load_run(run).problem == "its directory is gone: it was moved or deleted"
    starting.prepare_resume(loaded, device="cpu")
    assert start(moved).wait(timeout=120) == 0, moved.worker_log.read_text()
    assert steps_of(moved) == steps_of(plain)


def test_a_run_copied_from_another_machine(runs_dir: Path, start: Start) -> None:
    """At work there, by its heartbeat, then not heard of: lost after the limit, and it resumes here."""
    there = starting.create_run(runs_dir, config(max_steps=2), device="cpu")
    shutil.copytree(there.path, runs_dir.parent / "copies" / there.id)
    copy = RunDirectory(runs_dir.parent / "copies" / there.id)
    told = status_of(copy).model_copy(update={"state": State.RUNNING, "host": "node-17", "pid": 1, "pid_started": 1.0})
    copy.status.write_text(told.to_json())
    assert store.load_run(copy).state is State.RUNNING, "it may still be at work there"
    assert not process.kill_worker(told), "pid 1 of this machine is another process"
    with pytest.raises(RunError, match="is running"):
        starting.prepare_resume(store.load_run(copy), device="cpu")
    copy.status.write_text(told.model_copy(update={"heartbeat": "2026-01-01T00:00:00Z"}).to_json())
    assert store.load_run(copy).state is State.LOST
    starting.prepare_resume(store.load_run(copy), device="cpu")
    assert start(copy).wait(timeout=120) == 0, copy.worker_log.read_text()
    assert status_of(copy).host == socket.gethostname() and not there.result.exists()


@pytest.mark.parametrize("version", [0, 2])
def test_runs_of_other_schema_versions(runs_dir: Path, start: Start, version: int) -> None:
    """An older one trains on; a newer one is listed with its problem and left alone by everybody."""
    run = starting.create_run(runs_dir, config(max_steps=1), device="cpu")
    told = status_of(run).model_copy(update={"schema_version": version, "state": State.STOPPED})
    run.status.write_text(told.to_json()[:-1] + ',"a_field_of_its_own":[1]}')
    before = run.status.read_bytes()
    loaded = store.load_run(run)
    assert [each.id for each in store.list_runs(runs_dir)] == [run.id]
    if version == 0:
        starting.prepare_resume(loaded, device="cpu")
        assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
        return
    assert "newer fmnist-tui (schema 2)" in loaded.problem
    with pytest.raises(RunError, match="update this one"):
        starting.prepare_resume(loaded)
    command = [sys.executable, "-m", "fmnist_tui.training", str(run.path)]
    worker = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert worker.returncode == 2 and "update this one" in worker.stderr
    assert run.status.read_bytes() == before
    store.delete_run(loaded)


def test_files_of_a_run_are_sane_on_a_shared_machine(runs_dir: Path, start: Start) -> None:
    """As the umask says: nothing others could write to, and no file that could be executed."""
    before = os.umask(0o027)
    try:
        run = starting.create_run(runs_dir, config(max_steps=2), device="cpu")
        requests.send_request(run, "checkpoint")
        assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
    finally:
        os.umask(before)
    modes = {path.relative_to(runs_dir): path.stat().st_mode & 0o777 for path in runs_dir.rglob("*")}
    assert len(modes) > 10
    for path, mode in modes.items():
        assert mode & 0o007 == 0 and mode & 0o020 == 0, f"{path}: {mode:o}"
        assert (runs_dir / path).is_dir() or mode & 0o111 == 0, f"{path}: {mode:o}"
        if path.suffix in (".json", ".jsonl", ".npz", ".pt", ".log", ".md"):
            assert mode & 0o040, f"{path}: {mode:o}: the group may read, as the umask says"
