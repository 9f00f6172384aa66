"""What is said of runs that no view shows, for their names or for want of permission: by `runs list`, `report`,
`doctor` and the app's list."""

from __future__ import annotations

import os
import shlex
import string
from pathlib import Path

from fmnist_tui.runs.store import closed_names, unprintable_names


def left_out_runs(runs_dir: Path) -> str:
    """That runs are in no list, why, and what to do about it; '' where none is.

    Raises RunError where the directory can't be read.
    """
    said = [_closed(closed_names(runs_dir)), _unprintable(runs_dir, unprintable_names(runs_dir))]
    return "\n".join(line for line in said if line)


def _closed(names: list[str]) -> str:
    if not names:
        return ""
    if len(names) == 1:
        return f"Left out: {names[0]}: permission denied; its owner can open it"
    return f"Left out: {len(names)} runs, {names[0]} and others: permission denied; their owners can open them"


def _unprintable(runs_dir: Path, names: list[str]) -> str:
    if not names:
        return ""
    first = "".join(chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(names[0]))
    count = len(names)
    which, it = ("a run whose name is", "it") if count == 1 else (f"{count} runs whose names are", "the first")
    place = shlex.quote(str(runs_dir))
    return f"Left out: {which} no line of printable text. Rename {it}, in bash: mv {place}/$'{first}' {place}/NEW-NAME"


_PLAIN = string.ascii_letters + string.digits + " ._-"
