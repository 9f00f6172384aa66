"""The four IDX files: their names and sums, how one is found in a directory, checked and read.

Owns `DataError`, the one error of the data room. Called by `source` and `download`; everybody else asks `source`.
NumPy and the standard library only.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.config import IMAGE_SIZE
from fmnist_tui.remedies import Remedy, Told, remedy

GET_DATA = remedy("data")


class FileSpec(NamedTuple):
    """An IDX file: its name without .gz, and the size in bytes and SHA-256 of its uncompressed content."""

    name: str
    bytes: int
    sha256: str


FULL_FILES: tuple[FileSpec, ...] = (
    FileSpec("train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    FileSpec("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    FileSpec("t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    FileSpec("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)
"""The full data set in the order train images, train labels, test images, test labels."""


class DataError(Told, ValueError):
    """The data set can't be had: what is wrong, with which file, what was tried, how to get it (exit code 3)."""

    def __init__(self, problem: str, tried: Sequence[str] = (), remedy: Remedy | str = GET_DATA) -> None:
        self.tried = tuple(tried)
        super().__init__(problem, remedy)

    @property
    def wrong(self) -> str:
        """The problem and what was tried."""
        return "\n".join([self.problem, *(f"  tried {line}" for line in self.tried)])


class FileStatus(NamedTuple):
    """What was found of one file in one directory; `bytes` and `sha256` are of the uncompressed content."""

    directory: Path
    name: str
    path: Path | None
    state: Literal["present", "missing", "damaged"]
    bytes: int | None = None
    sha256: str | None = None
    problem: str = ""


def locate(directory: Path, name: str) -> Path | None:
    """A file of the set in `directory` or in torchvision's layout below it; the plain form before the .gz."""
    for place in (directory, directory / "FashionMNIST" / "raw", directory / "raw"):
        for path in (place / name, place / f"{name}.gz"):
            if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where the directory may not be searched
                return path
    return None


def inspect(directory: Path, spec: FileSpec) -> tuple[FileStatus, bytes]:
    """One file read whole and checked against its size and SHA-256: what was found, and the content if good."""
    path = locate(directory, spec.name)
    if path is None:
        return FileStatus(directory, spec.name, None, "missing", problem="is missing"), b""
    damaged = FileStatus(directory, spec.name, path, "damaged")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(spec.bytes + 1)  # one more than it should have: a wrong file may be huge
    except (OSError, EOFError, zlib.error) as error:
        return damaged._replace(problem=f"cannot be read: {error}"), b""
    if len(content) > spec.bytes:
        return damaged._replace(problem=f"has more than its {spec.bytes:,} bytes"), b""
    sha256 = hashlib.sha256(content).hexdigest()
    damaged = damaged._replace(bytes=len(content), sha256=sha256)
    if len(content) != spec.bytes:
        return damaged._replace(problem=f"has {len(content):,} bytes of content, not {spec.bytes:,}"), b""
    if sha256 != spec.sha256:
        return damaged._replace(problem=f"has content of SHA-256 {sha256}, not {spec.sha256}"), b""
    return damaged._replace(state="present"), content


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes as a read-only array: (N, 28, 28) images or (N,) labels.

    The content was verified by its hash, so a wrong header can't happen here.
    """
    dimensions = content[3]
    assert content[:3] == b"\x00\x00\x08" and dimensions in (1, 3), "not an IDX file of unsigned bytes"
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=dimensions, offset=4))
    assert shape[1:] in ((), (IMAGE_SIZE, IMAGE_SIZE))
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
