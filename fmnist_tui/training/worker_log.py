"""What a worker prints, into worker.log: a line that does not fit on a full disk is lost, and never ends the training.

Used by `__main__`, before anything is printed.
"""

from __future__ import annotations

import sys
from typing import Any, TextIO


class Forgiving:
    """A stream that passes over what it can't write; else the one it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        try:
            self._stream.flush()
        except OSError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def forgive_full_disks() -> None:
    """From here on no print, traceback or warning of this process raises because it can't be written."""
    sys.stdout, sys.stderr = Forgiving(sys.stdout), Forgiving(sys.stderr)
