"""The device queue as everybody sees it: who is on which device, who waits, when each is expected to start.

One training per device at a time, first come first served, for all runs of a user on a machine, whatever runs
directory they lie in. There is no daemon: each worker waits for itself (`place`), and the list they share is
read here. Called by the command line and the app: `snapshot`, `would_wait`, `move`, `start_now`, `place_in_words`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from filelock import Timeout

from fmnist_tui.remedies import remedy
from fmnist_tui.runs import jobs
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import HEARTBEAT_LIMIT, actual_state
from fmnist_tui.runs.records import LONGEST_SECONDS, seconds_since
from fmnist_tui.runs.requests import send_request
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import read_status
from fmnist_tui.runs.tickets import (
    LOCK_SECONDS,
    Device,
    Ticket,
    drop_dead,
    is_alive,
    list_lock,
    list_path,
    queue_directory,
    read_tickets,
    write_tickets,
)


class Standing(NamedTuple):
    """Where a waiting ticket stands."""

    place: int
    """1 is the next."""
    behind: str | None
    """The id of the run directly ahead: one that waits for the same device, else the one that is on it."""
    seconds: float | None
    """Expected wait; None where a run ahead can't tell how long it takes."""


def standings(
    tickets: Sequence[Ticket], statuses: Mapping[str, Status | None], now: datetime | None = None
) -> dict[str, Standing]:
    """Place and expected wait of every waiting ticket, by ticket id, as if each took the first device to be free.

    `statuses` holds, by ticket id, what the runs that have a device say of themselves.
    """
    free: dict[str, float] = {}
    has: dict[str, str] = {}
    waiting: list[Ticket] = []
    found: dict[str, Standing] = {}
    for ticket in tickets:
        if ticket.on is None:
            waiting.append(ticket)
            continue
        left = seconds_left(statuses.get(ticket.id), now)
        for key in ticket.has:
            if left >= free.get(key, 0.0):
                free[key], has[key] = left, ticket.run_id
    for at, ticket in enumerate(waiting):
        ahead = [other for other in waiting[:at] if other.competes_with(ticket)]
        soonest = sorted((device.key for device in ticket.devices), key=lambda key: free.get(key, 0.0))
        taken = soonest[: ticket.count]
        wait = free.get(taken[-1], 0.0)  # the last of them to be free
        behind = ahead[-1].run_id if ahead else has.get(taken[-1])
        found[ticket.id] = Standing(len(ahead) + 1, behind, wait if wait <= LONGEST_SECONDS else None)
        for key in taken:
            free[key] = wait + (math.inf if ticket.expected_seconds is None else ticket.expected_seconds)
    return found


def seconds_left(status: Status | None, now: datetime | None = None) -> float:
    """What a run at work still needs by its own estimate; infinite where there is none or it has expired."""
    if status is None or status.eta_seconds is None or status.state is not State.RUNNING:
        return math.inf
    age = seconds_since(status.heartbeat, now)
    return max(0.0, status.eta_seconds - age) if abs(age) < HEARTBEAT_LIMIT else math.inf


def statuses_of(tickets: Iterable[Ticket]) -> dict[str, Status | None]:
    """What each ticket's run says of itself, by ticket id."""
    return {ticket.id: read_status(RunDirectory(Path(ticket.directory))) for ticket in tickets}


@dataclass(frozen=True)
class Entry:
    """A run that has a device or waits for one."""

    run_id: str
    directory: Path
    pid: int
    arrived: str
    beside: bool
    status: Status | None
    """What it says of itself."""
    standing: Standing | None
    """None where it is on the device."""


@dataclass(frozen=True)
class DeviceQueue:
    """A device that some run has or waits for."""

    device: str
    """Its name, for example 'cuda:0'."""
    key: str
    on: list[Entry]
    """Who has it: one run, and those that were started beside it."""
    waiting: list[Entry]
    """In order. A run that would take any of several devices stands at each of them."""


def snapshot() -> list[DeviceQueue]:
    """Every device in use or waited for, by name. Reads only; a few milliseconds.

    Raises RunError where the queue's directory can't be read.
    """
    tickets = _living_tickets()
    statuses = statuses_of(tickets)
    standing = standings(tickets, statuses)
    entries = {
        ticket.id: Entry(
            ticket.run_id,
            Path(ticket.directory),
            ticket.pid,
            ticket.arrived,
            ticket.beside,
            statuses[ticket.id],
            standing.get(ticket.id),
        )
        for ticket in tickets
    }
    names: dict[str, str] = {}
    for ticket in sorted(tickets, key=lambda ticket: ticket.on is None):
        for device in ticket.devices:
            if ticket.on is None or device.key in ticket.has:
                names.setdefault(device.key, device.name)
    return [
        DeviceQueue(
            name,
            key,
            [entries[ticket.id] for ticket in tickets if key in ticket.has],
            [entries[ticket.id] for ticket in tickets if ticket.on is None and ticket.wants(key)],
        )
        for key, name in sorted(names.items(), key=lambda item: (len(item[1]), item[1]))
    ]


def _living_tickets() -> list[Ticket]:
    directory = queue_directory()
    try:
        return [ticket for ticket in read_tickets(directory) if is_alive(directory, ticket)]
    except OSError as error:
        raise RunError(f"the device queue can't be read: {error.strerror}: {directory}") from None


def would_wait(devices: Sequence[Device], count: int = 1) -> str | None:
    """The id of the run a new one would be directly behind; None where `count` of the devices are free.

    Raises RunError where the queue's directory can't be read.
    """
    tickets = _living_tickets()
    new = Ticket(run_id="", directory="", pid=0, pid_started=None, devices=list(devices))
    new.count = min(count, len(devices))
    return standings([*tickets, new], statuses_of(tickets))[new.id].behind


def move(run_id: str, place: int) -> int:
    """Give a queued run another place (1 is the next; beyond the end is the last) and return the one it has now.

    Raises RunError where it is not queued on this machine, for a place below 1, and where the list can't be
    changed.
    """
    if place < 1:
        raise RunError("places begin at 1, the next to start", option="place", value=place)
    directory = queue_directory()
    not_queued = RunError(f"{run_id}: is not queued on this machine", remedy("queue"))
    if not list_path(directory).exists():
        raise not_queued
    lock = list_lock(directory, timeout=5 * LOCK_SECONDS)
    try:
        with lock:
            tickets = drop_dead(directory, read_tickets(directory))
            mover = next((ticket for ticket in tickets if ticket.run_id == run_id and ticket.on is None), None)
            if mover is None:
                raise not_queued
            rest = [ticket for ticket in tickets if ticket is not mover]
            rivals = [ticket for ticket in rest if ticket.on is None and ticket.competes_with(mover)]
            at = rest.index(rivals[place - 1]) if place <= len(rivals) else len(rest)
            write_tickets(directory, [*rest[:at], mover, *rest[at:]])
            return min(place, len(rivals) + 1)
    except Timeout:
        raise RunError(f"{run_id}: was not moved: another process holds {lock.lock_file}; try again") from None
    except OSError as error:
        raise RunError(f"{run_id}: was not moved: {error.strerror}: {error.filename}") from None


def start_now(run: RunDirectory) -> None:
    """Tell a queued run to start at once, beside what is on its device; its worker looks twice a second.

    Raises RunError where it is not queued or waits for Slurm, and ValueError where it can't be told.
    """
    status = read_status(run)
    state = actual_state(status)
    if status is None or state is not State.QUEUED:
        raise RunError(f"{run.id}: is {state}; only a queued run can be told to start now")
    if status.job is not None:
        raise RunError(f"{run.id}: {WAITS_FOR_SLURM}")
    send_request(run, "start_now")


WAITS_FOR_SLURM = "waits for Slurm, which has an order of its own"


def place_in_words(status: Status) -> str:
    """A queued run's place as every view says it: 'next on cuda:0', '2nd on cpu', 'next' for any of several GPUs.

    Of one that waits for Slurm: 'Slurm job 12, pending (others go first)'.
    """
    place = status.queue_place
    if place is None:
        return jobs.in_words(status) if status.job is not None else status.phase
    suffix = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return ("next" if place == 1 else f"{place}{suffix}") + (
        "" if status.device in ("", "auto") else f" on {status.device}"
    )
