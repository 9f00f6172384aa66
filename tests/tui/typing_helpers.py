"""Waiting and typing for tests of large forms.

Pilot waits for every one of the screen's widgets after each key; with a hundred of them that is most of a
test's time. These wait for what the test is about, with a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from textual.app import App
from textual.events import Key
from textual.pilot import Pilot

from tests.tui.synthetic import BOUND_SECONDS, drawn

_NAMES = {".": "full_stop", ",": "comma", " ": "space", "-": "minus"}
_CHARACTERS = {name: character for character, name in _NAMES.items()}


async def until(pilot: Pilot[Any], condition: Callable[[], bool]) -> None:
    """Let the app run until a condition comes true; fails with what is on the screen if it does not in time."""
    deadline = monotonic() + BOUND_SECONDS
    while not condition():
        assert monotonic() < deadline, "\n".join(drawn(pilot.app))
        assert pilot.app._exception is None, pilot.app._exception
        await asyncio.sleep(0.004)


async def until_drawn(pilot: Pilot[Any], *texts: str) -> str:
    """Let the app run until all these texts are on the screen, and return what it shows."""
    shown = ""
    deadline = monotonic() + BOUND_SECONDS
    while not all(text in shown for text in texts):
        assert monotonic() < deadline, shown
        assert pilot.app._exception is None, pilot.app._exception
        await asyncio.sleep(0.02)
        shown = "\n".join(drawn(pilot.app))
    return shown


def send(app: App[Any], *keys: str) -> None:
    """Press keys, by their names or characters, without waiting for anything."""
    for key in keys:
        character = _CHARACTERS.get(key, key)
        app.post_message(Key(_NAMES.get(key, key), character if len(character) == 1 else None))
