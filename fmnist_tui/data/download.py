"""The one way the data set comes over the network: from torchvision's mirrors into a directory.

Called through `source`: by `fmnist-tui data fetch`, and by `load_full` where no searched place has the set.
torchvision says which mirrors hold the files; the transfer is urllib's, because torchvision's own has no
timeout, prints a bar of its own to stderr and can't report progress to a caller.
"""

from __future__ import annotations

import http.client
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from fmnist_tui.data import files
from fmnist_tui.data.files import DataError, FileSpec
from fmnist_tui.remedies import remedy

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes received and the bytes expected (0 where the server doesn't say)."""

TIMEOUT = 30.0
"""Seconds a server may stay silent before the next mirror is tried."""

_CHUNK = 1 << 16
_REMEDY = remedy("data not fetched")


def fetch(directory: Path, progress: Progress | None = None) -> Path:
    """Download what `directory` lacks of the full data set, and return `directory`.

    Files arrive in a temporary directory inside it, are checked by SHA-256 and moved into place one by one
    (one rename each): an interrupted download leaves whole files or none, and the next call goes on from
    them. Damaged files are replaced. Processes that fetch into the same directory wait for one another.
    Raises DataError naming every mirror tried, or saying why the directory can't be written.
    """
    directory = directory.expanduser().absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".download.lock"):
            _fetch_missing(directory, progress)
    except OSError as error:  # mirrors' errors are handled where they arise: this is the local disk's
        problem = f"The data directory {directory} cannot be written: {error.strerror or error}."
        raise DataError(problem, remedy=remedy("other data directory")) from None
    return directory


def _fetch_missing(directory: Path, progress: Progress | None) -> None:
    for stale in directory.glob(".download-*"):  # of a process that was killed: nobody else holds the lock
        shutil.rmtree(stale, ignore_errors=True)
    for spec in files.FULL_FILES:
        if files.inspect(directory, spec)[0].state != "present":
            _fetch_file(directory, spec, progress)


def _fetch_file(directory: Path, spec: FileSpec, progress: Progress | None) -> None:
    """One file from the first mirror that has it whole, into `directory`, uncompressed."""
    from torchvision.datasets import FashionMNIST  # imports torch: only where something must be downloaded

    archive = next(name for name, _ in FashionMNIST.resources if name.removesuffix(".gz") == spec.name)
    tried = []
    for mirror in FashionMNIST.mirrors:
        url = f"{mirror}{archive}"
        with tempfile.TemporaryDirectory(prefix=".download-", dir=directory) as temporary:
            try:
                _transfer(url, Path(temporary) / archive, spec.name, progress)
            except (OSError, http.client.HTTPException) as error:
                tried.append(f"{url}: {_why(error)}")
                continue
            record, content = files.inspect(Path(temporary), spec)
            if record.state == "present":
                whole = Path(temporary) / spec.name
                whole.write_bytes(content)
                whole.replace(directory / spec.name)
                return
            tried.append(f"{url}: what arrived is damaged: {record.problem}")
    raise DataError(f"{spec.name} could not be downloaded.", tried, _REMEDY)


def _why(error: Exception) -> str:
    """What urllib says, without its name and the number of the system's error: 'Connection refused'."""
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return str(getattr(error.reason, "strerror", None) or error.reason)
    return str(error)


def _transfer(url: str, path: Path, name: str, progress: Progress | None) -> None:
    """The bytes at `url` into `path`. Raises OSError, also where the server closed before the end."""
    from torchvision.datasets.utils import USER_AGENT

    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response, path.open("wb") as file:
        expected = int(response.headers.get("Content-Length") or 0)
        received = 0
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            received += len(chunk)
            if progress:
                progress(name, received, expected)
    if received < expected:  # read() ends quietly when the connection closes early
        raise OSError(f"the connection closed after {received:,} of {expected:,} bytes")
