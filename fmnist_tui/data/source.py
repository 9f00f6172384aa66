"""The Fashion-MNIST files: where they are searched for, what they must contain, how they are read.

Owns the names, sizes and SHA-256 sums of the four IDX files and the text of every error about them.
Called by the `data` commands and `doctor` (`status`, `verify`), by launchers before a run starts (`find`)
and by the trainer (`load`). NumPy only: torch comes in with `download.fetch`, and only when it is called.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_tui import paths
from fmnist_tui.config import IMAGE_SIZE, DataConfig

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes received and the bytes expected (0 where the server doesn't say)."""

SIZES: dict[str, tuple[int, int]] = {"full": (60_000, 10_000), "sample": (6_000, 2_000)}
"""Training and test images of each source."""

SAMPLE_DIR = Path(__file__).parent / "sample"
SAMPLE_CONTENTS = "contents.json"
REMEDY = (
    "Get the full data set with `apt-get install dataset-fashion-mnist` or `fmnist-tui data fetch`, name the "
    "directory that holds it with --data-dir, or use the small sample with --data sample."
)


class FileSpec(NamedTuple):
    """An IDX file: its name without .gz, and the size in bytes and SHA-256 of its uncompressed content."""

    name: str
    bytes: int
    sha256: str


FULL_FILES: tuple[FileSpec, ...] = (
    FileSpec(
        "train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    FileSpec("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    FileSpec("t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    FileSpec("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)
"""The full data set in the order train images, train labels, test images, test labels."""


class DataError(ValueError):
    """The data set can't be had: what is wrong, with which file, what was tried, how to get it (exit code 3)."""

    def __init__(self, problem: str, tried: Sequence[str] = (), remedy: str = REMEDY) -> None:
        self.problem = problem
        self.tried = tuple(tried)
        self.remedy = remedy
        places = [f"  tried {line}" for line in self.tried]
        super().__init__("\n".join([problem, *places, remedy]))


class FileStatus(NamedTuple):
    """What was found of one file in one directory; `bytes` and `sha256` are of the uncompressed content."""

    directory: Path
    name: str
    path: Path | None
    state: Literal["present", "missing", "damaged"]
    bytes: int | None = None
    sha256: str | None = None
    problem: str = ""


@dataclass(frozen=True)
class Images:
    """The official training and test images of the full data set or of the sample, read-only."""

    train_images: NDArray[np.uint8]
    """(N, 28, 28) uint8, file order."""
    train_labels: NDArray[np.uint8]
    """(N,) uint8, class numbers 0-9."""
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    source: Literal["full", "sample"]
    directory: Path
    sha256: dict[str, str]
    """SHA-256 of each file's uncompressed content, by file name."""


def search_dirs(data_dir: Path | None = None) -> list[Path]:
    """Where the full data set is searched for, first match wins.

    A directory the user named (`data_dir` or ``FMNIST_TUI_DATA_DIR``) is the only one searched: data from
    another place than the one asked for would be a silent surprise.
    """
    named = paths.data_dir_override(data_dir)
    return [named] if named else [paths.cache_data_dir(), paths.DEBIAN_DATA_DIR]


def find(data_dir: Path | None = None) -> Path:
    """The first searched directory that has all four files, plain or .gz, contents not yet looked at.

    Raises DataError that says for every place searched which files are missing.
    """
    tried = []
    for directory in search_dirs(data_dir):
        missing = [spec.name for spec in FULL_FILES if locate(directory, spec.name) is None]
        if not missing:
            return directory
        tried.append(f"{directory}: {_absence(directory, missing)}")
    named = paths.data_dir_override(data_dir)
    problem = "The Fashion-MNIST data set was not found" + (f" in the directory named, {named}." if named else ".")
    raise DataError(problem, tried)


def locate(directory: Path, name: str) -> Path | None:
    """A file of the set in `directory` or in torchvision's layout below it; the plain form before the .gz."""
    for place in (directory, directory / "FashionMNIST" / "raw", directory / "raw"):
        for path in (place / name, place / f"{name}.gz"):
            if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where the directory may not be searched
                return path
    return None


def _absence(directory: Path, missing: Sequence[str]) -> str:
    if not os.path.exists(directory):  # noqa: PTH110 - as in locate
        return "no such directory"
    if not os.path.isdir(directory):  # noqa: PTH112
        return "not a directory"
    if not os.access(directory, os.R_OK | os.X_OK):
        return "no permission to read it"
    return "has none of the four files" if len(missing) == len(FULL_FILES) else f"lacks {', '.join(missing)}"


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


def status(data_dir: Path | None = None) -> list[FileStatus]:
    """Every file in every searched directory, contents checked (about half a second for each whole set)."""
    return [inspect(directory, spec)[0] for directory in search_dirs(data_dir) for spec in FULL_FILES]


def verify(data_dir: Path | None = None) -> list[FileStatus]:
    """The four files a run would use, contents checked. Raises DataError naming every damaged one."""
    directory = find(data_dir)
    records = [inspect(directory, spec)[0] for spec in FULL_FILES]
    _refuse_damaged(directory, records)
    return records


def _refuse_damaged(directory: Path, records: Sequence[FileStatus], remedy: str = "") -> None:
    bad = [record for record in records if record.state != "present"]
    if bad:
        lines = [f"  {record.path or directory / record.name} {record.problem}" for record in bad]
        replace = f"`fmnist-tui data fetch --data-dir {directory}` replaces damaged files, or delete them. "
        raise DataError(
            "\n".join([f"The Fashion-MNIST data in {directory} is damaged:", *lines]),
            remedy=remedy or replace + REMEDY,
        )


def load_full(data_dir: Path | None = None, *, download: bool = False, progress: Progress | None = None) -> Images:
    """The full data set, contents verified by SHA-256.

    With `download`, a set that is in none of the default places is fetched into the user's cache; a
    directory the user named is never filled unasked. Raises DataError (missing, damaged, no network).
    """
    try:
        directory = find(data_dir)
    except DataError as missing:
        if not download or paths.data_dir_override(data_dir):
            raise
        from fmnist_tui.data.download import fetch

        try:
            directory = fetch(paths.cache_data_dir(), progress)
        except DataError as failure:
            raise DataError(f"{missing.problem} {failure.problem}", [*missing.tried, *failure.tried]) from None
    return _read_images(directory, FULL_FILES, "full")


def load_sample() -> Images:
    """The class-balanced sample shipped in the package: 6,000 training and 2,000 test images, verified."""
    remedy = "The sample is part of the installed program: reinstall fmnist-tui."
    try:
        contents = json.loads((SAMPLE_DIR / SAMPLE_CONTENTS).read_text(encoding="utf-8"))
        specs = [FileSpec(spec.name, **contents[spec.name]) for spec in FULL_FILES]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The shipped sample's {SAMPLE_DIR / SAMPLE_CONTENTS} cannot be read: {error}", remedy=remedy
        ) from None
    return _read_images(SAMPLE_DIR, specs, "sample", remedy)


def load(
    config: DataConfig, data_dir: Path | None = None, *, download: bool = False, progress: Progress | None = None
) -> Images:
    """The images `config.source` names; the sample only when it was asked for. Raises DataError."""
    return load_sample() if config.source == "sample" else load_full(data_dir, download=download, progress=progress)


def _read_images(
    directory: Path, specs: Sequence[FileSpec], source: Literal["full", "sample"], remedy: str = ""
) -> Images:
    found = [inspect(directory, spec) for spec in specs]
    _refuse_damaged(directory, [record for record, _ in found], remedy)
    train_images, train_labels, test_images, test_labels = (parse_idx(content) for _, content in found)
    return Images(
        train_images,
        train_labels,
        test_images,
        test_labels,
        source=source,
        directory=directory,
        sha256={spec.name: spec.sha256 for spec in specs},
    )


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes as a read-only array: (N, 28, 28) images or (N,) labels.

    The content was verified by its hash, so a wrong header can't happen here.
    """
    dimensions = content[3]
    assert content[:3] == b"\x00\x00\x08" and dimensions in (1, 3), "not an IDX file of unsigned bytes"
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=dimensions, offset=4))
    assert shape[1:] in ((), (IMAGE_SIZE, IMAGE_SIZE))
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
