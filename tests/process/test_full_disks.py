"""Workers whose disk, run directory or state directory is full or read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fmnist_tui.runs import process, queue, requests, starting, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.status import State
from fmnist_tui.runs.tickets import Device
from tests.events import messages
from tests.process.workers import MANY, Start, Worker, config, status_of, steps_of, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


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


def fill(disk: Path) -> Path:
    """Write until nothing fits any more; the file to remove."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def at_work_until_full(disk: Path, start: Start) -> tuple[RunDirectory, Worker, Path]:
    """A run with two checkpoints whose disk has just become full, its worker, and the file that fills the disk."""
    run = starting.create_run(disk, config(epochs=MANY, checkpoint_seconds=0.2), device="cpu")
    worker = start(run)
    wait_until(lambda: run.checkpoint("previous").exists(), "two checkpoints")
    return run, worker, fill(disk)


def test_a_full_disk_does_not_end_training(small_disk: Path, start: Start) -> None:
    """It trains on, keeps its older checkpoint whole, and writes again when there is room."""
    run, worker, ballast = at_work_until_full(small_disk, start)
    full_at, used = status_of(run).step, sum(psutil.Process(worker.pid).cpu_times()[:2])
    # Its status and log can't be written now: its processor time tells that it trains on, through ten checkpoints.
    wait_until(lambda: sum(psutil.Process(worker.pid).cpu_times()[:2]) > used + 3.0, "training goes on unseen")
    assert worker.poll() is None
    ballast.unlink()
    wait_until(lambda: status_of(run).step > full_at + 3, "training goes on")
    wait_until(
        lambda: any("files can be written again" in text for text in messages(run, "warning")), "the word after it"
    )
    said = [text for text in messages(run, "warning") if "the run's files" in text]
    assert len(said) == 2 and "No space left" in said[0], "one warning, and one word when it is over"
    before = run.checkpoint("last").stat().st_mtime_ns
    wait_until(lambda: run.checkpoint("last").stat().st_mtime_ns > before, "a new checkpoint")
    requests.send_request(run, "stop")
    assert worker.wait(timeout=30) == 130
    lines = [line["step"] for line in steps_of(run) if line["kind"] == "train"]
    assert lines == list(range(1, lines[-1] + 1)), "no metric line was lost"
    assert {path.name for path in run.checkpoints.iterdir()} <= {"best.pt", "last.pt", "previous.pt"}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "fmnist_tui", *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def test_a_run_on_a_full_disk_can_be_stopped(small_disk: Path, start: Start) -> None:
    """By a signal; what else is asked is refused in a sentence. Afterwards it resumes from its last checkpoint."""
    run, worker, ballast = at_work_until_full(small_disk, start)
    where = ("--runs-dir", str(small_disk))
    refused = command("runs", "stop", run.id, "--after-epoch", *where)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "No space left on device" in refused.stderr and "or stop it at once, by a signal" in refused.stderr
    assert worker.poll() is None
    stopped = command("runs", "stop", run.id, *where)
    assert "so its worker was told by a signal to stop with a checkpoint" in stopped.stderr
    assert "Traceback" not in stopped.stderr and worker.wait(60) in (4, 130), "130 where the checkpoint had room"
    assert stopped.returncode in (0, 4), stopped.stderr
    ballast.unlink()
    loaded = store.load_run(run)
    assert not loaded.state.alive and loaded.status is not None
    starting.prepare_resume(loaded, device="cpu", epochs=max(1, loaded.status.epoch))
    assert start(run).wait(120) == 0


@pytest.fixture
def read_only(small_disk: Path) -> Iterator[Callable[[], None]]:
    """Makes the small disk read-only."""

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    yield lambda: remount("ro")
    remount("rw")


def test_a_read_only_run_is_refused_in_words(small_disk: Path, read_only: Callable[[], None]) -> None:
    """Listed and shown; resumed, asked, deleted, trained it is not, and nobody meets a traceback."""
    run = starting.create_run(small_disk, config(), device="cpu")
    me = {"pid": os.getpid(), "pid_started": process.process_started(os.getpid())}
    run.status.write_text(status_of(run).model_copy(update={"state": State.STOPPED, **me}).to_json())
    before = sorted(small_disk.rglob("*"))
    read_only()
    loaded = store.load_run(run)
    assert (loaded.state, loaded.problem) == (State.STOPPED, "")
    with pytest.raises(RunError, match="Read-only file system; make room"):
        starting.prepare_resume(loaded)
    with pytest.raises(RunError, match="cannot be deleted: Read-only"):
        store.delete_run(loaded)
    with pytest.raises(ValueError, match="cannot be asked: Read-only"):
        requests.send_request(run, "stop")
    command = [sys.executable, "-m", "fmnist_tui.training", str(run.path)]
    worker = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert worker.returncode == 2
    assert "cannot be written to (Read-only file system)" in worker.stderr and "Traceback" not in worker.stderr
    assert sorted(small_disk.rglob("*")) == before


def test_a_read_only_state_directory(
    small_disk: Path, read_only: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker learns it by an OSError and starts without the queue (test_queue_processes); views only read."""
    monkeypatch.setenv("FMNIST_TUI_STATE_DIR", str(small_disk))
    cpu = Device(key="cpu", name="cpu")
    first = Place(RunDirectory(Path("/nowhere/first")), [cpu])
    assert first.take() == cpu
    first.leave()
    read_only()
    with pytest.raises(OSError, match="Read-only"):
        Place(RunDirectory(Path("/nowhere/second")), [cpu]).take()
    queue.snapshot()
    with pytest.raises(RunError, match=r"is not queued|was not moved"):
        queue.move("second", 1)


def test_a_full_state_directory_keeps_the_device_single(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMNIST_TUI_STATE_DIR", str(small_disk))
    cpu = Device(key="cpu", name="cpu")
    first, second = (Place(RunDirectory(Path("/nowhere") / name), [cpu]) for name in ("first", "second"))
    assert first.take() == cpu
    ballast = fill(small_disk)
    assert second.take() is None
    assert "No space left" in second.problem
    first.leave()
    ballast.unlink()
    assert second.take() == cpu
    second.leave()
