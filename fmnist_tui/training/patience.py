"""Waiting for room on a full disk where nothing is written later: the last word, a stop, the result. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable

WAITS = tuple(0.1 * number for number in range(1, 21))
"""Seconds before each further try, 21 in all: somebody may be deleting, or a writer beside be rotating its log."""
STOP_WAITS = WAITS[:9]
"""The same of a stop, 4.5 s in all: a cluster kills whoever has not left after some."""
LOOK_SECONDS = 0.1


def keep_trying(
    write: Callable[[], bool], give_up: Callable[[], bool] = lambda: False, waits: tuple[float, ...] = WAITS
) -> bool:
    """Whether `write` has returned True, called again after each wait; where `give_up` does, no further try."""
    for seconds in waits:
        if write():
            return True
        until = time.monotonic() + seconds
        while not give_up() and time.monotonic() < until:
            time.sleep(min(seconds, LOOK_SECONDS))
        if give_up():
            return False
    return write()
