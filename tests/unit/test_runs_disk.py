"""What runs take on disk, and which checkpoints of finished ones may go."""

from __future__ import annotations

import os
import shutil
import socket
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

from fmnist_tui.runs import disk
from fmnist_tui.runs.disk import Keep
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import load_run
from tests.checkpoints import write_all, write_checkpoint
from tests.unit.cli_runs import finished_run, make_run


def names(run: RunDirectory) -> list[str]:
    return sorted(path.stem for path in run.checkpoints.iterdir())


@pytest.mark.parametrize(
    ("keep", "best_is_last", "left", "freed"),
    [
        ("last", False, ["last"], 2),
        ("best", False, ["best"], 2),
        ("none", False, [], 3),
        ("last", True, ["best", "last"], 1),  # the best one costs nothing
        ("best", True, ["best", "last"], 1),
        ("none", True, [], 2),
    ],
)
def test_what_is_kept(runs_dir: Path, keep: Keep, best_is_last: bool, left: list[str], freed: int) -> None:
    run = finished_run(runs_dir)
    size = write_all(run, best_is_last)
    everything = disk.bytes_on_disk(run.path)
    assert disk.spare_checkpoints(run, keep).bytes == freed * size
    assert disk.prune(load_run(run), keep).bytes == freed * size
    assert names(run) == left
    assert disk.bytes_on_disk(run.path) == everything - freed * size
    assert run.result.is_file() and run.status.is_file() and run.config.is_file()
    assert disk.spare_checkpoints(run, keep) == disk.NOTHING_SPARE


@pytest.mark.parametrize(
    ("keep", "damaged", "left"),
    [
        ("last", ["last"], ["previous"]),
        ("best", ["best"], ["last"]),
        ("last", ["last", "previous"], ["best", "last", "previous"]),
        ("none", ["last", "previous", "best"], []),
    ],
)
def test_a_checkpoint_that_is_cut_short_is_not_the_one_that_stays(
    runs_dir: Path, keep: Keep, damaged: list[str], left: list[str]
) -> None:
    run = finished_run(runs_dir)
    write_all(run)
    for which in damaged:
        content = run.checkpoint(which).read_bytes()
        run.checkpoint(which).write_bytes(content[: len(content) // 2])
    disk.prune(load_run(run), keep)
    assert names(run) == left


def test_a_checkpoint_with_changed_bytes_is_not_the_one_that_stays(runs_dir: Path) -> None:
    run = finished_run(runs_dir)
    write_all(run)
    content = bytearray(run.checkpoint("last").read_bytes())
    content[len(content) // 2] ^= 0xFF
    run.checkpoint("last").write_bytes(content)
    disk.prune(load_run(run))
    assert names(run) == ["previous"]


def test_what_torch_writes_is_whole(tmp_path: Path) -> None:
    """A checkpoint is taken for whole by its archive's end, which torch's own function writes."""
    import torch

    torch.save({"model": {"weight": torch.zeros(3)}}, tmp_path / "last.pt")
    assert zipfile.is_zipfile(tmp_path / "last.pt")


def test_a_copy_of_hard_links_keeps_its_bytes(runs_dir: Path, tmp_path: Path) -> None:
    run = finished_run(runs_dir)
    size = write_all(run)
    os.link(run.checkpoint("previous"), tmp_path / "a copy.pt")
    assert disk.spare_checkpoints(run).bytes == size, "the best one's; the other has a further name"
    assert disk.prune(load_run(run)).bytes == size
    assert (tmp_path / "a copy.pt").is_file() and names(run) == ["last"]


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.LOST, State.QUEUED, State.RUNNING])
def test_a_run_that_has_not_finished_keeps_everything(runs_dir: Path, state: State) -> None:
    if state is State.LOST:
        run = make_run(runs_dir, state=State.RUNNING, host=socket.gethostname(), pid=2**22 + 1, pid_started=1.0)
        assert load_run(run).state is State.LOST
    else:
        run = make_run(runs_dir, state=state, host="elsewhere", heartbeat=utc_now())
    write_all(run)
    before = names(run)
    with pytest.raises(RunError) as refused:
        disk.prune(load_run(run), "none")
    assert run.id in str(refused.value) and "fmnist-tui runs" in str(refused.value)
    assert names(run) == before


def test_a_run_whose_worker_is_just_beginning_keeps_everything(runs_dir: Path) -> None:
    run = finished_run(runs_dir)
    write_all(run)
    found = load_run(run)
    with FileLock(run.lock), pytest.raises(RunError, match="still there; try again in a moment"):
        disk.prune(found)
    assert names(run) == ["best", "last", "previous"]
    assert disk.prune(found).bytes > 0


def test_bytes_on_disk_count_a_file_once(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    size = write_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    os.link(tmp_path / "run" / "checkpoints" / "last.pt", tmp_path / "run" / "checkpoints" / "best.pt")
    (tmp_path / "run" / "worker.log").write_bytes(b"12345")
    (tmp_path / "run" / "link").symlink_to(tmp_path / "nowhere")
    assert disk.bytes_on_disk(tmp_path / "run") == size + 5
    shutil.rmtree(tmp_path / "run")
    assert disk.bytes_on_disk(tmp_path / "run") == 0
