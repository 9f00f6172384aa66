"""What is said of runs that no view shows because of their names: by `runs list`, `doctor` and the app's list."""

from __future__ import annotations

import os
import shlex
import string
from pathlib import Path

from fmnist_tui.runs.store import unprintable_names


def left_out_runs(runs_dir: Path) -> str:
    """That runs are in no list because of their names, and how to rename the first of them; '' where none is.

    Raises RunError where the directory can't be read.
    """
    names = unprintable_names(runs_dir)
    if not names:
        return ""
    first = "".join(chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(names[0]))
    count = len(names)
    which, it = ("a run whose name is", "it") if count == 1 else (f"{count} runs whose names are", "the first")
    place = shlex.quote(str(runs_dir))
    return f"Left out: {which} no line of printable text. Rename {it}, in bash: mv {place}/$'{first}' {place}/NEW-NAME"


_PLAIN = string.ascii_letters + string.digits + " ._-"
