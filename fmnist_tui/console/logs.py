"""`runs logs`: a worker's own output, whole or its end, and as it grows. Called by `commands_runs`.

A file or a pipe gets it as it is; on a terminal colours and other control sequences are left out, as in the app.
"""

from __future__ import annotations

import sys
import time

from fmnist_tui.console.output import say
from fmnist_tui.console.watch import LOOK_SECONDS, under_way
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.store import Run, load_run
from fmnist_tui.wording import without_controls


def print_log(run: Run, lines: int | None, follow: bool) -> None:
    """worker.log on stdout, its last `lines` lines only where given; with `follow` until the run has ended.

    Raises RunError where it can't be read.
    """
    log = run.directory.worker_log
    if not log.is_file():
        say(f"{run.id}: has no worker.log yet")
        if not follow:
            return
    offset = 0
    if log.is_file():
        content = _content(run)
        offset = len(content)
        _write(content if lines is None else last_lines(content, lines))
    while follow:
        at_work = under_way(load_run(run.directory))  # asked first: what was written before the end is printed
        if log.is_file():
            content = _content(run, offset)
            offset += len(content)
            _write(content)
        if not at_work:
            return
        time.sleep(LOOK_SECONDS)


def _content(run: Run, offset: int = 0) -> bytes:
    try:
        with run.directory.worker_log.open("rb") as file:
            file.seek(offset)
            return file.read()
    except OSError as error:
        text = f"{run.id}: {run.directory.worker_log.name} cannot be read: {error.strerror}"
        raise RunError(text) from None


def last_lines(content: bytes, lines: int) -> bytes:
    """The last `lines` lines, with their line ends; none for 0 or less."""
    return b"".join(content.splitlines(keepends=True)[-lines:]) if lines > 0 else b""


def _write(content: bytes) -> None:
    text = content.decode(errors="replace")
    if sys.stdout.isatty():  # a carriage return stays: progress bars are drawn with it
        text = "\r".join(map(without_controls, text.split("\r")))
    sys.stdout.write(text)
    sys.stdout.flush()
