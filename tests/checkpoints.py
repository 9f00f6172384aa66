"""Files that look like checkpoints to who does not load them: whole ones, and the names a run gives them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from fmnist_tui.runs.layout import RunDirectory


def write_checkpoint(path: Path, size: int = 5_000) -> int:
    """A whole archive with so many bytes of content, as `torch.save` writes one; returns its size."""
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data", bytes(size))
    return path.stat().st_size


def write_all(run: RunDirectory, best_is_last: bool = False) -> int:
    """The three of a run, the best one the last by another name if so; returns the bytes of one."""
    for which in ("last", "previous", "best"):
        size = write_checkpoint(run.checkpoint(which))
    if best_is_last:
        run.checkpoint("best").unlink()
        os.link(run.checkpoint("last"), run.checkpoint("best"))
    return size
