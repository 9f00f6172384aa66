"""Faults injected for real into real workers: a full disk, a read-only or moved directory, a lost parent."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from fmnist_tui.config import parse_config
from fmnist_tui.runs import process, store
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import EventRecord, State, parse_metric
from tests.process.test_worker import NOISY, Start, config, one_thread, start, status_of, steps_of, wait_until

__all__ = ["one_thread", "start"]  # fixtures

LONG = 10_000


def events(run: RunDirectory, kind: str) -> list[str]:
    if not run.metrics.exists():
        return []
    records = [parse_metric(line) for line in run.metrics.read_bytes().splitlines()]
    return [r.message for r in records if isinstance(r, EventRecord) and r.event == kind]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB; needs root and the right to mount."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_does_not_end_training(small_disk: Path, start: Start) -> None:
    """It trains on, keeps its older checkpoint whole, and writes again when there is room."""
    run = store.create_run(small_disk, config(epochs=LONG, checkpoint_seconds=0.2), device="cpu")
    worker = start(run)
    wait_until(lambda: run.checkpoint("previous").exists(), "two checkpoints")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    full_at, used = status_of(run).step, sum(psutil.Process(worker.pid).cpu_times()[:2])
    # Its status and log can't be written now: its processor time tells that it trains on, through ten checkpoints.
    wait_until(lambda: sum(psutil.Process(worker.pid).cpu_times()[:2]) > used + 3.0, "training goes on unseen")
    assert worker.poll() is None
    ballast.unlink()
    wait_until(lambda: status_of(run).step > full_at + 3, "training goes on")
    wait_until(lambda: any("No space left" in text for text in events(run, "warning")), "the warning")
    before = run.checkpoint("last").stat().st_mtime_ns
    wait_until(lambda: run.checkpoint("last").stat().st_mtime_ns > before, "a new checkpoint")
    process.send_request(run, "stop")
    assert worker.wait(timeout=30) == 130
    lines = [line["step"] for line in steps_of(run) if line["kind"] == "train"]
    assert lines == list(range(1, lines[-1] + 1)), "no metric line was lost"
    assert {path.name for path in run.checkpoints.iterdir()} <= {"best.pt", "last.pt", "previous.pt"}


def test_a_directory_removed_under_a_worker_ends_it(runs_dir: Path, start: Start) -> None:
    run = store.create_run(runs_dir, config(epochs=LONG, checkpoint_seconds=0.2), device="cpu")
    worker = start(run)
    wait_until(lambda: run.checkpoint("last").exists(), "a checkpoint")
    shutil.rmtree(run.path)
    wait_until(lambda: worker.poll() is not None, "the worker ends", 60)
    assert worker.poll() not in (0, 130)
    assert not run.path.exists(), "it did not make the directory again"


def test_a_moved_run_resumes_where_it_lies_now(runs_dir: Path, tmp_path: Path, start: Start) -> None:
    """Stopped, its runs directory renamed, resumed there."""
    run = store.create_run(runs_dir, config(max_steps=8, checkpoint_seconds=0.0), device="cpu")
    worker = start(run)
    wait_until(lambda: status_of(run).step >= 2, "two steps")
    worker.send_signal(signal.SIGTERM)
    code = worker.wait(timeout=60)
    moved = RunDirectory(shutil.move(runs_dir, tmp_path / "elsewhere") / run.id)
    if code == 130:
        store.prepare_resume(store.load_run(moved), device="cpu")
        assert start(moved).wait(timeout=120) == 0, moved.worker_log.read_text()
    assert store.load_run(moved).state is State.FINISHED
    assert [line["step"] for line in steps_of(moved) if line["kind"] == "train"] == list(range(1, 9))


@pytest.mark.parametrize("damage", ["cut", "zeroed", "missing"])
def test_power_lost_while_saving(runs_dir: Path, start: Start, damage: str) -> None:
    """last.pt not whole and a torn last line: the checkpoint before it is used, and the result is the same."""
    plain = store.create_run(runs_dir, config(max_steps=6), device="cpu")
    assert start(plain).wait(timeout=120) == 0
    run = store.create_run(runs_dir, config(max_steps=6, checkpoint_seconds=0.0), device="cpu")
    worker = start(run)
    wait_until(lambda: status_of(run).step >= 4 or worker.poll() is not None, "four steps")
    worker.kill()
    worker.wait()
    last = run.checkpoint("last")
    content = last.read_bytes()
    if damage == "missing":
        last.unlink()
    else:
        last.write_bytes(content[: len(content) // 2] if damage == "cut" else bytes(len(content)))
    with run.metrics.open("ab") as file:
        file.write(b'{"kind":"train","time":"2026-11-2')
    loaded = store.load_run(run)
    if loaded.state is State.LOST:
        store.prepare_resume(loaded, device="cpu")
        assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
        if damage != "missing":
            assert any("last.pt" in text for text in events(run, "warning"))
        assert steps_of(run) == steps_of(plain)
    assert all(isinstance(parse_metric(line), object) for line in run.metrics.read_bytes().splitlines())


def test_it_outlives_its_parent_and_its_terminal(runs_dir: Path) -> None:
    """A launcher in a terminal session of its own is killed with SIGHUP and SIGKILL; the run goes on."""
    run = store.create_run(runs_dir, config(epochs=LONG), device="cpu")
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
        process.send_request(run, "stop")
        wait_until(lambda: status_of(run).state is State.STOPPED, "it stops when asked")
    finally:
        process.kill_worker(status_of(run))


@pytest.mark.parametrize("phase", ["starting", "loading torch", "loading data", "training", "evaluating", "saving"])
def test_sigterm_in_every_phase(runs_dir: Path, start: Start, phase: str) -> None:
    """Stopped with a checkpoint within seconds, and what it resumes to is whole."""
    run = store.create_run(runs_dir, config(epochs=2, checkpoint_seconds=0.05), device="cpu")
    worker = start(run)
    deadline = time.monotonic() + 60
    while (
        phase != "starting" and status_of(run).phase != phase and worker.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.002)
    worker.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code = worker.wait(timeout=60)
    assert time.monotonic() - began < 20
    assert code in (130, 0)
    if code == 130:
        assert store.load_run(run).state is State.STOPPED
        assert run.checkpoint("last").exists() or "before its first step" in events(run, "stop")[0]
        store.prepare_resume(store.load_run(run), device="cpu")
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
    slow = parse_config({**NOISY, "model": wide, "training": {**NOISY["training"], **training}})
    run = store.create_run(runs_dir, slow, device="cpu")
    worker = start(run)
    wait_until(lambda: status_of(run).phase == phase and status_of(run).state is State.RUNNING, phase)
    family = psutil.Process(worker.pid)
    entered = sum(family.cpu_times()[:2])
    wait_until(lambda: sum(family.cpu_times()[:2]) > entered + 1.5, "it is well inside")
    worker.send_signal(signal.SIGTERM)
    signalled = used = sum(family.cpu_times()[:2])
    with contextlib.suppress(psutil.Error):
        while worker.poll() is None:
            used = max(used, sum(family.cpu_times()[:2]))
            time.sleep(0.01)
    assert worker.wait(timeout=60) == 130, run.worker_log.read_text()
    assert used - signalled < 10.0
    assert store.load_run(run).state is State.STOPPED
    assert torch.load(run.checkpoint("last"), weights_only=True)["progress"]["step"] == (phase == "evaluating")
    assert not steps_of(run) if phase == "training" else [line["kind"] for line in steps_of(run)] == ["train"]


def test_what_killed_writers_left_is_removed(runs_dir: Path, start: Start) -> None:
    """Half a checkpoint of each kill would fill the disk; a request somebody else is writing stays."""
    run = store.create_run(runs_dir, config(max_steps=1), device="cpu")
    names = [".status.json.77.ab12.tmp", ".metrics.jsonl.77.ab12.tmp", ".control.json.77.ab12.tmp"]
    left = [run.path / name for name in names] + [run.checkpoints / ".last.pt.77.tmp"]
    for path in left:
        path.write_bytes(b"half")
    assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
    assert [path.exists() for path in left] == [False, False, True, False]
