"""What the user writes down about a run: why it was started, what came of it. One line a run, in `comment.txt`.

Written by `runs comment` and the app, at any time, also while the run is at work; the worker never touches it.
"""

from __future__ import annotations

from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.wording import without_controls

LONGEST = 500
"""Characters."""


def read_comment(run: RunDirectory) -> str:
    """A run's comment; '' where there is none, or it can't be read."""
    try:
        with run.comment.open("rb") as file:
            content = file.read(4 * LONGEST)  # UTF-8 has up to four bytes a character
    except OSError:
        return ""
    return _line(content.decode("utf-8", "replace"))[:LONGEST]


def write_comment(run: RunDirectory, text: str) -> str:
    """Replace a run's comment, or remove it where the text is empty; returns what was written: one line of it.

    Raises RunError for a text of more than LONGEST characters, and where it can't be written.
    """
    comment = _line(text.encode("utf-8", "replace").decode())  # an argument that is no Unicode has surrogates
    if len(comment) > LONGEST:
        raise RunError(f"{run.id}: its comment can't have {len(comment):,} characters; {LONGEST} at most")
    try:
        if comment:
            replace_bytes(run.comment, f"{comment}\n".encode())
        else:
            run.comment.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{run.id}: its comment can't be written: {error.strerror}") from None
    return comment


def _line(text: str) -> str:
    """On one line, without control characters."""
    return " ".join(without_controls(text).split())
