"""Many processes that queue for one device in turn, for the tests of the device queue."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

from fmnist_tui.runs import queue
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.tickets import Device

CPU = Device(key="cpu", name="cpu")
FORK = multiprocessing.get_context("fork")
"""A hundred processes cost little that way; none of them holds what its parent has locked."""
FOREVER = 1_000_000
"""Births until a member leaves the device that is to hold it until it is killed."""
LOOK_SECONDS = 0.01


def work_in_turn(name: str, directory: Path, state: str, births: int) -> None:
    """A worker's life in short: wait, use the device until so many more are born, leave.

    Notes in log.txt what it does, also a device that is not its own. `state` is the test's state directory.
    """
    os.environ["FMNIST_TUI_STATE_DIR"] = state
    log = os.open(directory / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    witness = os.open(directory / "witness", os.O_RDWR | os.O_CREAT)  # first: a killed process's first is freed first
    place = Place(RunDirectory(directory / name), [CPU])
    while place.take() is None:
        time.sleep(LOOK_SECONDS)
    try:
        fcntl.flock(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.write(log, f"NOT ALONE {name}\n".encode())
    os.write(log, f"begin {name}\n".encode())
    until = min(_born(directory) + births, FOREVER)
    while _born(directory) < until:
        time.sleep(LOOK_SECONDS / 2)
    os.write(log, f"end {name}\n".encode())
    os.close(witness)
    place.leave()


def _born(directory: Path) -> int:
    """How many members there have been: a byte of the file for each."""
    return (directory / "births").stat().st_size


class Crowd:
    """Processes that work in turn. Their lives are counted in births, so a slow machine changes nothing for them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: dict[str, Any] = {}
        self._births = directory / "births"
        self._births.touch()

    def add(self, name: str, births: int = 0) -> None:
        state = os.environ["FMNIST_TUI_STATE_DIR"]
        member = FORK.Process(target=work_in_turn, args=(name, self.directory, state, births), daemon=True)
        member.start()
        self.processes[name] = member
        with self._births.open("ab") as file:
            file.write(b".")

    def kill(self, name: str) -> None:
        self.processes[name].kill()

    def alive(self) -> list[str]:
        return [name for name, member in self.processes.items() if member.is_alive()]

    def log(self) -> list[str]:
        path = self.directory / "log.txt"
        return path.read_text().splitlines() if path.exists() else []

    def join(self) -> None:
        """Wait until all have left: nobody has to wait for a birth any more."""
        os.truncate(self._births, FOREVER)
        for name, member in self.processes.items():
            member.join(300)
            assert member.exitcode is not None, f"{name} waits in vain; {queue.snapshot()}"

    def end(self) -> None:
        """Kill whoever is left."""
        for member in self.processes.values():
            member.kill()
        for member in self.processes.values():
            member.join(60)
