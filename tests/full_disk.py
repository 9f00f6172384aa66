"""A disk that takes no requests, as the tests of `stopping` and of the app want it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fmnist_tui.runs import requests


def disk_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests; everything else is written as ever."""

    def full(path: Path, data: bytes, durable: bool = False) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(requests, "replace_bytes", full)
