"""The app as a process: how it ends when it is told to, how it keeps Python's garbage collector calm, and how it
outlives another version of the program that is installed under it.

Called by the app when it opens.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import pkgutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from textual.app import App

import fmnist_tui
from fmnist_tui import tui

LEAVE_SECONDS = 2.0
"""After a signal the app has this long to close; a terminal that is gone may block it for ever."""


def leave_on_signals(app: App[Any]) -> None:
    """End the app on SIGTERM, and on the SIGHUP of a terminal that went away.

    Runs have sessions of their own and get neither. Only a process's main thread may listen; an app in another
    is left alone. Not the event loop's own handlers: they wait for the loop, which waits for ever where Textual's
    thread that writes has died of a terminal that was gone first.
    """
    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()

        def leave(number: int, _: object) -> None:
            code = 128 + number
            watchdog = threading.Timer(LEAVE_SECONDS, os._exit, (code,))
            watchdog.daemon = True
            watchdog.start()
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(lambda: app.exit(return_code=code))

        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, leave)


def calm_the_collector() -> None:
    """Keep the collector off what is there until the end, and let it look less often.

    What is imported and mounted when the app stands is some 50,000 objects it would go through again and again:
    it took a third of the time of opening a run of 200,000 lines (1.74 s of processor time before, 1.17 s with
    this; CPython 3.11, 2 cores, 3 runs each).
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


IMPORTS_AFTER = 0.3
"""Seconds after the first list of runs: until then it is drawn."""
ELSEWHERE = ("fmnist_tui.report.run_page", "fmnist_tui.runs.submit")
"""What other rooms import when it is needed."""


async def import_the_rest() -> None:
    """Import what screens come to need: `pip install -U` under a running app gives them modules of another version.

    One by one between the keys, and NumPy in a thread: together 0.25 s of processor time and 18 MB (2 cores, Python
    3.11), of which all but NumPy's 0.1 s takes at most 0.04 s at a time.
    """
    await asyncio.sleep(IMPORTS_AFTER)
    await asyncio.to_thread(importlib.import_module, "numpy")
    names = [module.name for module in pkgutil.walk_packages(tui.__path__, f"{tui.__name__}.")]
    for name in (*names, *ELSEWHERE):
        if name not in sys.modules:
            importlib.import_module(name)
            await asyncio.sleep(0)


class Program:
    """The program's files as they are when the app starts."""

    def __init__(self) -> None:
        self._path = Path(fmnist_tui.__file__)
        self._before = self._stamp()

    def _stamp(self) -> tuple[int, ...]:
        try:
            stat = self._path.stat()
        except OSError:
            return ()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    @property
    def is_another(self) -> bool:
        """Whether another version was installed, or is just being installed."""
        return self._stamp() != self._before
