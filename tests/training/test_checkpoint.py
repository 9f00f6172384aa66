"""Checkpoints: last, previous and best, and what becomes of them when one is damaged."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from fmnist_tui.runs import starting
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training import checkpoint
from fmnist_tui.training.checkpoint_writer import Writer
from tests.training.tiny import reporter_for, tiny_config


def state(step: int) -> dict[str, Any]:
    return {"weights": torch.full((4,), float(step)), "step": step}


def test_last_previous_and_best(runs_dir: Path) -> None:
    run = starting.create_run(runs_dir, tiny_config())
    for step, best in ((1, True), (2, True), (3, False)):
        checkpoint.save(run, state(step))
        if best:
            checkpoint.mark_best(run)
    assert [checkpoint.read(run.checkpoint(name))["step"] for name in ("last", "previous", "best")] == [3, 2, 2]


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"PK\x03\x04 nothing", b"not a checkpoint"])
def test_a_damaged_last_falls_back_to_previous(runs_dir: Path, content: bytes) -> None:
    run = starting.create_run(runs_dir, tiny_config())
    checkpoint.save(run, state(1))
    checkpoint.save(run, state(2))
    run.checkpoint("last").write_bytes(content)
    loaded, which, problems = checkpoint.load_newest(run)
    assert loaded is not None and loaded["step"] == 1 and which == "previous"
    assert len(problems) == 1 and "last.pt" in problems[0] and "damaged" in problems[0]
    run.checkpoint("previous").write_bytes(content)
    with pytest.raises(
        checkpoint.CheckpointError, match="no other checkpoint can be read; train it anew: fm"
    ) as caught:
        checkpoint.load_newest(run)
    assert "--from best" not in str(caught.value)
    assert f"last.pt: is damaged: it is {'not whole' if content else 'empty'}" in str(caught.value)
    run.checkpoint("best").write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match="try --from best, or train it anew: fmnist-tui run "):
        checkpoint.load_newest(run)


def test_changed_weights_are_seen(runs_dir: Path) -> None:
    """A page of a disk that came back as zeros: torch loads that as weights."""
    run = starting.create_run(runs_dir, tiny_config())
    for step in (1, 2):
        checkpoint.save(run, {"weights": torch.ones(4096), "step": step})
    last = run.checkpoint("last")
    content = last.read_bytes()
    at = content.index(torch.ones(4096).numpy().tobytes())
    last.unlink()
    last.write_bytes(content[:at] + bytes(4096) + content[at + 4096 :])
    assert torch.load(last, weights_only=True)["weights"][0] == 0.0
    loaded, which, problems = checkpoint.load_newest(run)
    assert loaded is not None and loaded["step"] == 1 and which == "previous"
    assert problems == [f"{last}: is damaged: it is not whole"]
    at = content.index(b"PK\x01\x02") + 10  # how the first part is compressed, in the list at the end
    last.write_bytes(content[:at] + b"\x08" + content[at + 1 :])
    with pytest.raises(checkpoint.CheckpointError, match="is not whole"):
        checkpoint.read(last)


def test_a_missing_last_falls_back_to_previous(runs_dir: Path) -> None:
    run = starting.create_run(runs_dir, tiny_config())
    assert checkpoint.load_newest(run) == (None, "last", [])
    run.result.write_text("{}")
    with pytest.raises(checkpoint.CheckpointError, match="is finished, and has no checkpoint to go on from; train it"):
        checkpoint.load_newest(run)
    run.result.unlink()
    checkpoint.save(run, state(1))
    checkpoint.save(run, state(2))
    run.checkpoint("last").unlink()
    loaded, which, problems = checkpoint.load_newest(run)
    assert loaded is not None and loaded["step"] == 1 and which == "previous"
    assert len(problems) == 1 and problems[0].endswith("last.pt: is missing")


@pytest.mark.parametrize(("steps", "which"), [((1, 2), "best"), ((2, 1), "previous"), ((2, 2), "previous")])
def test_the_best_checkpoint_stands_in_where_it_is_later(runs_dir: Path, steps: tuple[int, int], which: str) -> None:
    """It was the last one until that came to harm. Without the previous one it is the user's choice: it may be old."""
    run = starting.create_run(runs_dir, tiny_config())
    for name, step in zip(("previous", "best"), steps, strict=True):
        checkpoint.save(run, {"progress": {"step": step}})
        run.checkpoint("last").rename(run.checkpoint(name))
    run.checkpoint("last").write_bytes(b"")
    newest = checkpoint.load_newest(run)
    assert newest.which == which and newest.content is not None
    assert newest.content["progress"]["step"] == 2 and len(newest.problems) == 1
    run.checkpoint("previous").write_bytes(b"")
    with pytest.raises(checkpoint.CheckpointError, match="try --from best"):
        checkpoint.load_newest(run)


def test_code_in_a_checkpoint_is_never_run(runs_dir: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    run = starting.create_run(runs_dir, tiny_config())
    torch.save({"format": 1, "evil": Evil()}, run.checkpoint("last"))
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.load_newest(run)
    assert not (tmp_path / "owned").exists()


def test_a_failed_write_leaves_the_older_checkpoints(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = starting.create_run(runs_dir, tiny_config())
    checkpoint.save(run, state(1))
    checkpoint.save(run, state(2))
    checkpoint.mark_best(run)

    def full(content: Any, file: Any) -> None:
        file.write(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="torch could not write it: PytorchStreamWriter failed"):
        checkpoint.save(run, state(3))
    assert [checkpoint.read(run.checkpoint(name))["step"] for name in ("last", "previous", "best")] == [2, 1, 2]
    assert len(list(run.checkpoints.iterdir())) == 3


def test_a_full_disk_is_told_as_one(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's zip writer makes an error of its own of it: 'enforce fail at inline_container.cc'."""
    run = starting.create_run(runs_dir, tiny_config())
    save = torch.save

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 500:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(torch, "save", lambda content, file: save(content, Full()))
    with pytest.raises(OSError, match="No space left on device") as caught:
        checkpoint.save(run, state(1))
    assert caught.value.strerror == "No space left on device"


def test_the_writers_thread_waits_on_the_runs_gpu(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch would open the first one in a new thread, beside the run that has it."""
    current: list[Any] = [torch.device("cuda", 0)]
    waited: list[Any] = []

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", on)
    event = SimpleNamespace(device=torch.device("cuda", 1), synchronize=lambda: waited.append(current[-1]))
    writer = Writer(reporter_for(runs_dir).run)
    writer.save({"a": 1}, False, cast("torch.cuda.Event", event))
    writer.wait()
    assert waited == [torch.device("cuda", 1)] and writer.problem == ""


def test_to_host_is_a_copy() -> None:
    weights = torch.ones(3)
    kept = checkpoint.to_host({"a": [weights], "b": 1})
    weights.zero_()
    assert kept["a"][0].tolist() == [1, 1, 1] and kept["b"] == 1


def test_run_directory_has_no_other_checkpoint_name(runs_dir: Path) -> None:
    with pytest.raises(AssertionError):
        RunDirectory(runs_dir).checkpoint("../../etc")
