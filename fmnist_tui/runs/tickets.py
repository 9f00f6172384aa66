"""The device queue's files: the list of tickets, and the locks that tell which of their processes live.

Shared by `queue` (everybody's view of it) and `place` (a worker's own place in it). The list is only written
under its lock; a reader may read it at any time. Whether a ticket's process lives is told by a lock of the
operating system, which ends with the process however that ends.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from filelock import FileLock
from pydantic import Field, ValidationError

from fmnist_tui import paths
from fmnist_tui.runs.files import remove_temporaries, replace_bytes
from fmnist_tui.runs.process import is_held, is_process
from fmnist_tui.runs.records import SCHEMA_VERSION, Record, Timestamp, utc_now

LOCK_SECONDS = 2.0
"""The list is locked for milliseconds; a worker that can't have it for this long tries again later."""


class Device(Record):
    """Something that one run at a time trains on."""

    key: str
    """The same for every process of this machine: 'cpu', 'mps' or a GPU's UUID."""
    name: str
    """What the worker calls it, for example 'cuda:0'."""


class Ticket(Record):
    """A worker's entry in the list."""

    id: str = Field(default_factory=lambda: secrets.token_hex(8), pattern="^[0-9a-f]{16}$")
    run_id: str
    directory: str
    pid: int
    pid_started: float | None
    arrived: Timestamp = Field(default_factory=utc_now)
    devices: list[Device] = Field(min_length=1)
    """Any `count` of them will do; in order of preference."""
    count: int = Field(1, ge=1)
    """How many it needs, all at once."""
    expected_seconds: float | None = None
    """How long the run will take once it starts, where that can be told."""
    on: str | None = None
    """Key of the device it has; None while it waits."""
    also: list[str] = Field(default_factory=list)
    """Keys of the devices it has beside that one."""
    beside: bool = False
    """Whether it shares that device with another run, because the user wanted so."""
    beginning_anew: bool = False
    """Whether its process is replacing its program (same pid) and comes back for what it has."""

    @property
    def has(self) -> list[str]:
        """Keys of all devices it has; none while it waits."""
        return [] if self.on is None else [self.on, *self.also]

    def wants(self, key: str) -> bool:
        """Whether this device would do."""
        return any(device.key == key for device in self.devices)

    def competes_with(self, other: Ticket) -> bool:
        """Whether there is a device both would take."""
        return any(self.wants(device.key) for device in other.devices)


class TicketList(Record):
    """queue.json: who has a device and who waits, in order of their turns."""

    schema_version: int = SCHEMA_VERSION
    tickets: list[Ticket] = Field(default_factory=list)


def queue_directory() -> Path:
    """Where the queue of this user on this machine lies: a home directory may be shared by several machines."""
    return paths.state_dir() / "queue" / _safe(socket.gethostname())


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", name)[:100]


def list_lock(directory: Path, timeout: float = LOCK_SECONDS) -> FileLock:
    """To be held while the list changes; entering it raises filelock.Timeout."""
    return FileLock(directory / "queue.lock", timeout=timeout)


def device_lock(directory: Path, device: Device) -> FileLock:
    """Held by the worker that has the device: keeps it even where the list is lost."""
    return FileLock(directory / f"device-{_safe(device.key)}.lock", timeout=0)


def ticket_lock(directory: Path, ticket: Ticket) -> Path:
    """Held by the ticket's process while it lives; its time is the process's last look at the queue."""
    return directory / f"ticket-{ticket.id}.lock"


def list_path(directory: Path) -> Path:
    """The list itself."""
    return directory / "queue.json"


def read_tickets(directory: Path) -> list[Ticket]:
    """The tickets in order; none where the list is missing or damaged: then all who wait enter again.

    Raises OSError where it can't be read.
    """
    try:
        return TicketList.model_validate_json(list_path(directory).read_bytes()).tickets
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return []


def write_tickets(directory: Path, tickets: Sequence[Ticket]) -> None:
    """Replace the list. Raises OSError on a full disk."""
    replace_bytes(list_path(directory), TicketList(tickets=list(tickets)).to_json().encode())


def is_alive(directory: Path, ticket: Ticket) -> bool:
    """Whether the ticket's process lives."""
    if is_held(ticket_lock(directory, ticket)):
        return True
    return ticket.beginning_anew and is_process(ticket.pid, ticket.pid_started)


def drop_dead(directory: Path, tickets: Iterable[Ticket]) -> list[Ticket]:
    """The tickets whose processes live; removes the locks of the others. Only under the list's lock."""
    living = []
    for ticket in tickets:
        if is_alive(directory, ticket):
            living.append(ticket)
        else:
            ticket_lock(directory, ticket).unlink(missing_ok=True)
    return living


def sweep(directory: Path, tickets: Iterable[Ticket]) -> None:
    """Remove what processes left that were killed while they changed the list. Only under the list's lock."""
    known = {ticket_lock(directory, ticket) for ticket in tickets}
    for path in directory.glob("ticket-*.lock"):
        if path not in known and not is_held(path):
            path.unlink(missing_ok=True)
    remove_temporaries(list_path(directory))


def text_of(path: Path) -> str:
    """A path as JSON can hold it; one that is not UTF-8 loses its way, which costs an estimate and nothing else."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
