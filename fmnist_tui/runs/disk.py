"""What runs take on disk, and freeing what finished ones no longer need: their spare checkpoints.

A checkpoint of WideResNet-28-10 has 290 MB, and a run keeps three. Called by `console.removing`, `runs show`,
`doctor` and the app's launching.
"""

from __future__ import annotations

import contextlib
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout

from fmnist_tui.remedies import remedy
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.files import is_there
from fmnist_tui.runs.layout import CHECKPOINTS, RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run, load_run, refuse_at_work

Keep = Literal["last", "best", "none"]
_INSTEAD = {"last": "previous", "best": "last"}
"""What is kept where the checkpoint that is to stay is gone or cut short."""


class Spare(NamedTuple):
    """Checkpoints of a run that may go, and the bytes that this frees."""

    files: tuple[Path, ...]
    bytes: int


NOTHING_SPARE = Spare((), 0)


def bytes_on_disk(directory: Path) -> int:
    """Bytes of all files below a directory; one that has several names there counts once."""
    return sum(size for size, _, _ in _files(directory.rglob("*")).values())


def spare_checkpoints(run: RunDirectory, keep: Keep = "last", thorough: bool = False) -> Spare:
    """The checkpoints beside the one that is kept, and that are other files than it.

    Where that one is gone or cut short the next best is kept; where none is whole, all are. `thorough` looks at every
    byte of it (0.1 s for 300 MB).
    """
    there = {which: path for which in CHECKPOINTS if is_there(path := run.checkpoint(which))}
    if keep == "none":
        files = list(there.values())
    else:
        kept = next((there[which] for which in (keep, _INSTEAD[keep]) if _is_whole(there.get(which), thorough)), None)
        if kept is None:
            return NOTHING_SPARE
        stays = _files([kept]).keys()
        files = [path for path in there.values() if _files([path]).keys() != stays]
    found = _files(files)
    # a file with further names (a copy made of hard links) stays on the disk
    return Spare(tuple(files), sum(size for size, links, names in found.values() if links == names))


def refuse_unfinished(run: Run) -> None:
    """Raises RunError for a run that is at work, or may go on from its checkpoints."""
    refuse_at_work(run)
    if run.state is not State.FINISHED:
        raise RunError(f"{run.id}: is {run.state}, and goes on from its checkpoints", remedy("delete it", run=run.id))


def prune(run: Run, keep: Keep = "last") -> Spare:
    """Remove a finished run's spare checkpoints; returns what was removed.

    Raises RunError for a run that has not finished, or that is at work, and where a file can't be removed.
    """
    refuse_unfinished(load_run(run.directory))  # as it is now: a user may have thought for long
    try:
        with FileLock(run.directory.lock, timeout=0):  # no worker begins meanwhile
            if load_run(run.directory).state is not State.FINISHED:
                raise RunError(f"{run.id}: is just going on; nothing was removed")
            spare = spare_checkpoints(run.directory, keep, thorough=True)
            for path in spare.files:
                path.unlink(missing_ok=True)
    except Timeout:
        raise RunError(f"{run.id}: its worker is just starting, or still there; try again in a moment") from None
    except OSError as error:
        raise RunError(f"{run.id}: its checkpoints can't be removed: {error.strerror}") from None
    return spare


def why_no_checkpoint(run: RunDirectory) -> str:
    """What is to be said of a checkpoint that is not there."""
    if is_there(run.result):
        others = [which for which in CHECKPOINTS if is_there(run.checkpoint(which))]
        return "it was removed" + (f"; there is the {' and the '.join(others)} one" if others else "")
    return "a run writes one after its first epoch"


def _is_whole(path: Path | None, thorough: bool) -> bool:
    """Whether a checkpoint has its end: it is a ZIP archive, whose table of contents comes last. Or all of it."""
    if path is None or not zipfile.is_zipfile(path):
        return False
    if not thorough:
        return True
    try:
        with zipfile.ZipFile(path) as parts:
            return parts.testzip() is None
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile):
        return False


def _files(paths: Iterable[Path]) -> dict[tuple[int, int], tuple[int, int, int]]:
    """Of each file that these name: its bytes, its names on the disk, and how many of them these are."""
    sizes, names = dict[tuple[int, int], tuple[int, int]](), Counter[tuple[int, int]]()
    for path in paths:
        with contextlib.suppress(OSError):  # replaced or removed meanwhile, or not to be looked at
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                key = (status.st_dev, status.st_ino)
                sizes[key] = (status.st_size, status.st_nlink)
                names[key] += 1
    return {key: (size, links, names[key]) for key, (size, links) in sizes.items()}
