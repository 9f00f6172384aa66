"""Files that another process reads while we write them: atomic replace, whole-line append, and a tail.

Used by the trainer (writing) and by every watcher (reading).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether a file is there, as far as can be told: `Path.is_file` raises where the directory may not be searched."""
    return os.path.isfile(path)  # noqa: PTH113


def replace_bytes(path: Path, data: bytes, durable: bool = False) -> None:
    """Replace a file's content in one step: a reader sees the old content or the new, never a part.

    `durable` also waits until it has reached the disk. Raises OSError and leaves the old content alone
    when the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_directory(path.parent)


def replace_if_other(path: Path, data: bytes) -> None:
    """Have a file hold this, on the disk; one that does is left alone, as is a missing one that is to be empty.

    A full disk has no room for another of the same. Raises OSError.
    """
    there = path.read_bytes() if path.exists() else b""
    if data != there:
        replace_bytes(path, data, durable=True)


def write_output(path: Path, data: bytes) -> None:
    """Write what a user wants in a file of this name: in one step, and through a link into the file that it names.

    What is no file (a device, a pipe) is written to: replacing it would take it away from everybody.
    """
    if path.exists() and not is_there(path):
        path.write_bytes(data)
    else:
        replace_bytes(path.resolve(), data)


def remove_temporaries(path: Path) -> None:
    """Remove what writers of this file that were killed left beside it; for its only writer, before it writes."""
    with contextlib.suppress(OSError):
        for temporary in path.parent.glob(f".{path.name}.*.tmp"):
            temporary.unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """Give a file a second name in one step, replacing what had it; a copy where there are no hard links."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory durable (POSIX; a no-op where directories can't be opened)."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class LineWriter:
    """Appends whole lines to a file; one writer a file.

    A line torn by an earlier crash is cut off when the file is opened. A line that could not be written
    whole (disk full) is taken back, so the file always ends in a newline; the OSError is the caller's.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._end = _end_of_last_line(self._fd)
        os.ftruncate(self._fd, self._end)

    def write(self, lines: str) -> None:
        """Append text that ends in a newline (one or many lines); raises OSError where it does not fit."""
        assert lines.endswith("\n"), lines
        data = lines.encode()
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], self._end + written)
        except BaseException:  # a second Ctrl-C raises in the middle of this, too
            os.ftruncate(self._fd, self._end)
            raise
        self._end += len(data)

    def sync(self) -> None:
        """Wait until everything written has reached the disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def with_unwritten(path: Path, unwritten: Iterable[str]) -> list[bytes]:
    """The lines of a file, without newlines, and those of the `unwritten` ones that never came into it."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    there = set(lines)
    return lines + [line for text in unwritten if (line := text.rstrip("\n").encode()) not in there]


def _end_of_last_line(fd: int) -> int:
    """Offset after the last newline of an open file (0 where it has none)."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - 65536)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


class Tail:
    """Reads what was added to a file of lines since the last call; never yields half a line.

    Survives a missing file (no lines), a replaced one and a shortened one (`restarted` turns True for that
    read, which begins at the file's start again). A line longer than a read's limit is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restarted = False
        self._offset = 0
        self._inode: int | None = None
        self._passing_over = False

    def read(self, limit: int = 1 << 24) -> list[bytes]:
        """The new whole lines, without their newlines, from at most `limit` bytes."""
        self.restarted = False
        try:
            with self.path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if self._inode is not None and (stat.st_ino != self._inode or stat.st_size < self._offset):
                    self._offset, self._passing_over, self.restarted = 0, False, True
                self._inode = stat.st_ino
                file.seek(self._offset)
                data = file.read(limit)
        except FileNotFoundError:
            if self._inode is not None:
                self._inode = _NO_INODE  # what comes back under this name is another file
            return []
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        if end == 0:
            if len(data) == limit:  # no line of ours is that long
                self._offset += limit
                self._passing_over = True
            return []
        self._offset += end
        lines = data[: end - 1].split(b"\n")  # not splitlines: a carriage return ends no line
        if self._passing_over:
            self._passing_over = False
            del lines[0]
        return lines


_NO_INODE = -1
