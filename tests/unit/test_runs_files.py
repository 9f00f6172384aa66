"""Files that are read while they are written: atomic replace."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fmnist_tui.runs import files
from fmnist_tui.runs.files import replace_bytes, write_output

on_disk = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def fail(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("durable", [False, True])
def test_replace_writes_and_overwrites(durable: bool, tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    replace_bytes(path, b"one", durable)
    assert path.read_bytes() == b"one"
    replace_bytes(path, b"two" * 100_000, durable)
    assert path.read_bytes() == b"two" * 100_000
    replace_bytes(path, b"", durable)
    assert path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == [path]


class TornFile:
    """A file that takes half of what it is given and is then full."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> TornFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        return int(fail())


@pytest.mark.parametrize("at", ["open", "write", "fsync", "replace"])
def test_a_failed_replace_leaves_the_old_content_and_no_litter(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(b"old")
    real_open = Path.open
    stand_ins: dict[str, tuple[str, Callable[..., Any]]] = {
        "open": ("pathlib.Path.open", fail),
        "write": ("pathlib.Path.open", lambda self, mode: TornFile(real_open(self, mode))),
        "fsync": ("os.fsync", fail),
        "replace": ("pathlib.Path.replace", fail),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*stand_ins[at])
        with pytest.raises(OSError, match="No space left"):
            replace_bytes(path, b"the new content", durable=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_no_litter_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    path = tmp_path / "status.json"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            replace_bytes(path, b"new")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


def test_durable_syncs_the_content_before_the_rename_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    order: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        order.append("directory" if Path(f"/proc/self/fd/{handle}").resolve() == tmp_path.resolve() else "content")
        real_fsync(handle)

    def replace(self: Path, target: Path) -> Path:
        order.append("rename")
        assert self.parent == target.parent, "a rename over file systems would not be atomic"
        return real_replace(self, target)

    monkeypatch.setattr("os.fsync", fsync)
    monkeypatch.setattr("pathlib.Path.replace", replace)
    replace_bytes(path, b"x", durable=True)
    assert order in (["content", "rename", "directory"], ["content", "rename", "content"])  # the latter without /proc
    order.clear()
    replace_bytes(path, b"x")
    assert order == ["rename"]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    contents = [bytes([65 + i]) * size for i, size in enumerate((10, 50_000, 200_000))]
    replace_bytes(path, contents[0])
    done = threading.Event()
    torn: list[int] = []

    def read() -> None:
        while not done.is_set():
            data = path.read_bytes()
            if data not in contents:
                torn.append(len(data))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(200):
        replace_bytes(path, contents[i % 3])
    done.set()
    reader.join(10)
    assert torn == []


def test_sync_directory_of_no_directory_is_nothing(tmp_path: Path) -> None:
    files.sync_directory(tmp_path / "none")


def test_an_output_goes_into_the_file_that_a_link_names(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.md").symlink_to("there/table.md")
    for text in (b"old", b"new"):  # first where it names a file that is not there yet
        write_output(tmp_path / "link.md", text)
        assert (tmp_path / "link.md").is_symlink() and (tmp_path / "there/table.md").read_bytes() == text
    assert {path.name for path in tmp_path.rglob("*")} == {"there", "link.md", "table.md"}


def test_an_output_that_is_no_file_is_written_to_and_stays_what_it_is(tmp_path: Path) -> None:
    """A pipe here; root, who may replace a device by a file, would take /dev/null from everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_output(pipe, b"table")
    reader.join(timeout=10)
    assert read == [b"table"] and pipe.is_fifo() and [path.name for path in tmp_path.iterdir()] == ["pipe"]
