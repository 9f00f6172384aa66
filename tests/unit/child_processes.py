"""What tests with real processes share: code that waits, and waiting for what they do. `conftest` starts them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

HERE, ELSEWHERE = socket.gethostname(), "another-host"


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The condition's value once it is true; fails after a bound."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)
    return value


WAITING = "print('ready', flush=True); input()"
HOLD = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire(timeout=0)
print("ready", flush=True)
input()
"""
"""Holds the lock of a file until it is told to go on."""
