"""The Fashion-MNIST data: where it is searched for, whether it is whole, and the images themselves.

Called by the `data` commands and `doctor` (`status`, `verify`, `fetch`), by launchers before a run starts
(`find`) and by the trainer (`load`). NumPy only: torch comes in where `fetch` has something to download.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_tui import paths
from fmnist_tui.config import DataConfig
from fmnist_tui.data import files
from fmnist_tui.data.download import Progress, fetch
from fmnist_tui.data.files import DataError, FileSpec, FileStatus
from fmnist_tui.remedies import Remedy, remedy

__all__ = [
    "DataError",
    "FileStatus",
    "Images",
    "Progress",
    "fetch",
    "find",
    "load",
    "load_full",
    "load_sample",
    "search_dirs",
    "status",
    "verify",
]

SAMPLE_DIR = Path(__file__).parent / "sample"
SAMPLE_CONTENTS = "contents.json"


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
        missing = [spec.name for spec in files.FULL_FILES if files.locate(directory, spec.name) is None]
        if not missing:
            return directory
        tried.append(f"{directory}: {_absence(directory, missing)}")
    named = paths.data_dir_override(data_dir)
    problem = "The Fashion-MNIST data set was not found" + (f" in the directory named, {named}." if named else ".")
    raise DataError(problem, tried)


def _absence(directory: Path, missing: Sequence[str]) -> str:
    if not os.path.exists(directory):  # noqa: PTH110 - as in files.locate
        return "no such directory"
    if not os.path.isdir(directory):  # noqa: PTH112
        return "not a directory"
    if not os.access(directory, os.R_OK | os.X_OK):
        return "no permission to read it"
    return "has none of the four files" if len(missing) == len(files.FULL_FILES) else f"lacks {', '.join(missing)}"


def status(data_dir: Path | None = None) -> list[FileStatus]:
    """Every file in every searched directory, contents checked (about half a second for each whole set)."""
    return [files.inspect(directory, spec)[0] for directory in search_dirs(data_dir) for spec in files.FULL_FILES]


def verify(data_dir: Path | None = None) -> list[FileStatus]:
    """The four files a run would use, contents checked. Raises DataError naming every damaged one."""
    directory = find(data_dir)
    records = [files.inspect(directory, spec)[0] for spec in files.FULL_FILES]
    _refuse_damaged(directory, records)
    return records


def _refuse_damaged(directory: Path, records: Sequence[FileStatus], instead: Remedy | str = "") -> None:
    bad = [record for record in records if record.state != "present"]
    if bad:
        lines = [f"  {record.path or directory / record.name} {record.problem}" for record in bad]
        raise DataError(
            "\n".join([f"The Fashion-MNIST data in {directory} is damaged:", *lines]),
            remedy=instead or remedy("data damaged", directory=directory),
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
        try:
            directory = fetch(paths.cache_data_dir(), progress)
        except DataError as failure:
            raise DataError(f"{missing.problem} {failure.problem}", [*missing.tried, *failure.tried]) from None
    return _read_images(directory, files.FULL_FILES, "full")


def load_sample() -> Images:
    """The class-balanced sample shipped in the package: 6,000 training and 2,000 test images, verified."""
    remedy = "The sample is part of the installed program: reinstall fmnist-tui."
    try:
        contents = json.loads((SAMPLE_DIR / SAMPLE_CONTENTS).read_text(encoding="utf-8"))
        specs = [FileSpec(spec.name, **contents[spec.name]) for spec in files.FULL_FILES]
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
    found = [files.inspect(directory, spec) for spec in specs]
    _refuse_damaged(directory, [record for record, _ in found], remedy)
    train_images, train_labels, test_images, test_labels = (files.parse_idx(content) for _, content in found)
    return Images(
        train_images,
        train_labels,
        test_images,
        test_labels,
        source=source,
        directory=directory,
        sha256={spec.name: spec.sha256 for spec in specs},
    )
