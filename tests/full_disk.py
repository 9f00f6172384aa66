"""A disk that takes no requests and no comments, as the tests of those and of the app want it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fmnist_tui.runs import comments, requests


def disk_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of these; everything else is written as ever."""

    def full(path: Path, data: bytes, durable: bool = False) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for module in (requests, comments):
        monkeypatch.setattr(module, "replace_bytes", full)
