"""One training per device at a time, first come first served, for all runs of a user on a machine.

There is no daemon: each worker waits for itself, with a `Place`. The list of who came when is one file below
`paths.state_dir()`, changed only under a lock; what is alive and who has a device is told by locks of the
operating system, which end with their process however it ends. So neither a crash nor a damaged list blocks
a device or gives it to two. Workers (`training.turn`) call `Place`; the command line and the app call
`snapshot`, `would_wait` and `move`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from fmnist_tui import paths
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import HEARTBEAT_LIMIT, is_held, is_process, process_started
from fmnist_tui.runs.records import SCHEMA_VERSION, Record, State, Status, Timestamp, seconds_since, utc_now
from fmnist_tui.runs.store import RunError, read_status

LOCK_SECONDS = 2.0
"""The list is locked for milliseconds; a worker that can't have it for this long tries again later."""
STUCK_SECONDS = 60.0
"""A waiting worker that did not look at the queue for this long (suspended, or its disk hangs) is overtaken."""


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
    devices: list[Device]
    """Any one of them will do; in order of preference."""
    expected_seconds: float | None = None
    """How long the run will take once it starts, where that can be told."""
    on: str | None = None
    """Key of the device it has; None while it waits."""
    beside: bool = False
    """Whether it shares that device with another run, because the user wanted so."""
    beginning_anew: bool = False
    """Whether its process replaces its program by a fresh one (same pid), and comes back for what it has."""

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
        if left >= free.get(ticket.on, 0.0):
            free[ticket.on], has[ticket.on] = left, ticket.run_id
    for at, ticket in enumerate(waiting):
        ahead = [other for other in waiting[:at] if other.competes_with(ticket)]
        soonest = min((device.key for device in ticket.devices), key=lambda key: free.get(key, 0.0))
        wait = free.get(soonest, 0.0)
        behind = ahead[-1].run_id if ahead else has.get(soonest)
        found[ticket.id] = Standing(len(ahead) + 1, behind, wait if math.isfinite(wait) else None)
        free[soonest] = wait + (math.inf if ticket.expected_seconds is None else ticket.expected_seconds)
    return found


def seconds_left(status: Status | None, now: datetime | None = None) -> float:
    """What a run at work still needs by its own estimate; infinite where there is none or it has expired."""
    if status is None or status.eta_seconds is None or status.state is not State.RUNNING:
        return math.inf
    age = seconds_since(status.heartbeat, now)
    return max(0.0, status.eta_seconds - age) if abs(age) < HEARTBEAT_LIMIT else math.inf


# --- the worker's side


class Place:
    """A worker's place in the queue, from its first `take` to `leave` or the end of its process."""

    def __init__(self, run: RunDirectory, devices: Sequence[Device], expected_seconds: float | None = None) -> None:
        assert devices, "a run takes some device"
        self._directory = queue_directory()
        self._ticket = Ticket(
            run_id=run.id,
            directory=os.fsencode(run.path).decode("utf-8", "backslashreplace"),
            pid=os.getpid(),
            pid_started=process_started(os.getpid()),
            devices=list(devices),
            expected_seconds=expected_seconds,
        )
        self._tickets: list[Ticket] = []
        self._lock: FileLock | None = None
        self._device_lock: FileLock | None = None
        self._looks: dict[str, tuple[int, float]] = {}
        self.problem = ""
        """Why the list could not be written, '' where it could: then the order may be lost, never the device."""

    def take(self, now: bool = False) -> Device | None:
        """The device, once it is this worker's turn; None while it is not. Enters the queue at the first call.

        Call it once or twice a second. With `now` the turn is at once, beside whatever is on the device. Raises
        OSError where the state directory can't be used at all.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with FileLock(self._directory / _LOCK, timeout=LOCK_SECONDS):
                before = _read(self._directory)
                tickets = _living(self._directory, before, self._ticket)
                tickets = self._enter(tickets)
                device = self._choose(tickets, now)
                self._tickets = tickets
                if tickets != before:
                    self._write(tickets)
        except Timeout:
            return None
        return device

    @property
    def standing(self) -> Standing:
        """Where the ticket stood at the last `take`. Reads the statuses of the runs ahead."""
        found = standings(self._tickets, _statuses(self._tickets)).get(self._ticket.id)
        return found or Standing(1, None, None)

    @property
    def beside(self) -> str | None:
        """The id of another run on the device this one has."""
        others = [ticket for ticket in self._tickets if ticket.id != self._ticket.id]
        return next((ticket.run_id for ticket in others if ticket.on and ticket.on == self._ticket.on), None)

    def expect(self, seconds: float | None) -> None:
        """How long the run will take; the others learn it at the next `take`."""
        self._ticket.expected_seconds = seconds

    def leave(self) -> None:
        """Give everything back. Where that can't be written down the ticket ends with the process."""
        with contextlib.suppress(OSError, Timeout), FileLock(self._directory / _LOCK, timeout=LOCK_SECONDS):
            _ticket_lock(self._directory, self._ticket).unlink(missing_ok=True)
            _write(self._directory, [t for t in _read(self._directory) if t.id != self._ticket.id])
        for lock in (self._lock, self._device_lock):
            if lock is not None:
                lock.release()

    def keep_for_a_new_program(self) -> None:
        """Before os.execv: locks end with it, the process does not; until a new Place takes over, its pid counts."""
        self._ticket.beginning_anew = True
        with contextlib.suppress(OSError, Timeout), FileLock(self._directory / _LOCK, timeout=LOCK_SECONDS):
            self._write([self._ticket if t.id == self._ticket.id else t for t in _read(self._directory)])

    def _enter(self, tickets: list[Ticket]) -> list[Ticket]:
        """The list with this worker's ticket as it is now, in its place; at the end where it is new."""
        if self._lock is None:
            tickets = self._take_over(tickets)
            self._lock = FileLock(_ticket_lock(self._directory, self._ticket))
            self._lock.acquire(timeout=0)
            _sweep(self._directory, tickets)
        os.utime(_ticket_lock(self._directory, self._ticket))
        if any(ticket.id == self._ticket.id for ticket in tickets):
            return [self._ticket if ticket.id == self._ticket.id else ticket for ticket in tickets]
        later = len(tickets)
        if self._tickets:  # the list was lost: back to where this one was
            later = next((at for at, t in enumerate(tickets) if not t.on and t.arrived > self._ticket.arrived), later)
        return [*tickets[:later], self._ticket, *tickets[later:]]

    def _take_over(self, tickets: list[Ticket]) -> list[Ticket]:
        """Go on with the ticket this process had before it began anew."""
        for ticket in tickets:
            if ticket.beginning_anew and (ticket.run_id, ticket.pid) == (self._ticket.run_id, self._ticket.pid):
                self._ticket = ticket.model_copy(update={"beginning_anew": False})
        return tickets

    def _choose(self, tickets: Sequence[Ticket], now: bool) -> Device | None:
        """Take a device where one may be taken: nobody is on it and nobody ahead waits for it."""
        mine = self._ticket
        others = [ticket for ticket in tickets if ticket.id != mine.id]
        if mine.on is not None and self._device_lock is None and not mine.beside:  # before it began anew
            device = next(device for device in mine.devices if device.key == mine.on)
            return device if self._hold(device) else None
        at = next(at for at, ticket in enumerate(tickets) if ticket.id == mine.id)
        ahead = [ticket for ticket in tickets[:at] if ticket.on is None and not self._is_stuck(ticket)]
        for device in mine.devices:
            if any(ticket.on == device.key for ticket in others):
                continue
            if not now and any(ticket.wants(device.key) for ticket in ahead):
                continue
            if self._hold(device):
                mine.on = device.key
                return device
        if not now:
            return None
        device = min(mine.devices, key=lambda device: sum(ticket.on == device.key for ticket in others))
        mine.on, mine.beside = device.key, True
        return device

    def _hold(self, device: Device) -> bool:
        """Lock a device; its lock keeps it even where the list is lost."""
        name = re.sub(r"[^A-Za-z0-9.-]", "_", device.key)[:100]
        lock = FileLock(self._directory / f"device-{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._device_lock = lock
        return True

    def _is_stuck(self, ticket: Ticket) -> bool:
        """Whether a waiting worker lives and yet did not look at the queue while this one looked for a minute."""
        try:
            look = _ticket_lock(self._directory, ticket).stat().st_mtime_ns
        except OSError:
            return False
        known, since = self._looks.get(ticket.id, (None, 0.0))
        if known != look:
            self._looks[ticket.id] = (look, time.monotonic())
            return False
        return time.monotonic() - since > STUCK_SECONDS

    def _write(self, tickets: Sequence[Ticket]) -> None:
        try:
            _write(self._directory, tickets)
            self.problem = ""
        except OSError as error:  # a full disk: the order is at risk, the device's lock is not
            self.problem = error.strerror or str(error)


# --- everybody else's side


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
    """Every device in use or waited for, by name. Reads only; a few milliseconds."""
    directory = queue_directory()
    tickets = [ticket for ticket in _read(directory) if _is_alive(directory, ticket)]
    statuses = _statuses(tickets)
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
            if ticket.on in (None, device.key):
                names.setdefault(device.key, device.name)
    return [
        DeviceQueue(
            name,
            key,
            [entries[ticket.id] for ticket in tickets if ticket.on == key],
            [entries[ticket.id] for ticket in tickets if ticket.on is None and ticket.wants(key)],
        )
        for key, name in sorted(names.items(), key=lambda item: item[1])
    ]


def would_wait(devices: Sequence[Device]) -> str | None:
    """The id of the run a new one would be directly behind; None where one of the devices is free."""
    directory = queue_directory()
    tickets = [ticket for ticket in _read(directory) if _is_alive(directory, ticket)]
    new = Ticket(run_id="", directory="", pid=0, pid_started=None, devices=list(devices))
    return standings([*tickets, new], _statuses(tickets))[new.id].behind


def move(run_id: str, place: int) -> int:
    """Give a queued run another place (1 is the next; beyond the end is the last) and return the one it has now.

    Raises RunError where it is not queued on this machine, for a place below 1, and where the list can't be
    changed.
    """
    if place < 1:
        raise RunError(f"--place {place}: places begin at 1, the next to start")
    directory = queue_directory()
    try:
        with FileLock(directory / _LOCK, timeout=5 * LOCK_SECONDS):
            tickets = _living(directory, _read(directory))
            mover = next((ticket for ticket in tickets if ticket.run_id == run_id and ticket.on is None), None)
            if mover is None:
                raise RunError(f"{run_id}: is not queued on this machine; see: fmnist-tui runs queue")
            rest = [ticket for ticket in tickets if ticket is not mover]
            rivals = [ticket for ticket in rest if ticket.on is None and ticket.competes_with(mover)]
            at = rest.index(rivals[place - 1]) if place <= len(rivals) else len(rest)
            _write(directory, [*rest[:at], mover, *rest[at:]])
            return min(place, len(rivals) + 1)
    except FileNotFoundError:
        raise RunError(f"{run_id}: is not queued on this machine; see: fmnist-tui runs queue") from None
    except Timeout:
        raise RunError(f"{run_id}: was not moved: another process holds {directory / _LOCK}; try again") from None
    except OSError as error:
        raise RunError(f"{run_id}: was not moved: {error.strerror}: {error.filename}") from None


def place_in_words(status: Status) -> str:
    """A queued run's place as every view says it: 'next on cuda:0', '2nd on cpu', 'next' for any of several GPUs."""
    place = status.queue_place
    if place is None:
        return ""
    suffix = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return ("next" if place == 1 else f"{place}{suffix}") + ("" if status.device in ("", "auto") else f" on {status.device}")


# --- the files

_LOCK = "queue.lock"
_LIST = "queue.json"


def queue_directory() -> Path:
    """Where the queue of this user on this machine lies: a home directory may be shared by several machines."""
    return paths.state_dir() / "queue" / re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())


def _read(directory: Path) -> list[Ticket]:
    """The tickets in order; none where the list is missing or damaged: then all who wait enter again."""
    try:
        return TicketList.model_validate_json((directory / _LIST).read_bytes()).tickets
    except (FileNotFoundError, ValidationError):
        return []


def _write(directory: Path, tickets: Sequence[Ticket]) -> None:
    replace_bytes(directory / _LIST, TicketList(tickets=list(tickets)).to_json().encode())


def _ticket_lock(directory: Path, ticket: Ticket) -> Path:
    """Held by the ticket's process while it lives; its time is the process's last look at the queue."""
    return directory / f"ticket-{ticket.id}.lock"


def _is_alive(directory: Path, ticket: Ticket) -> bool:
    if is_held(_ticket_lock(directory, ticket)):
        return True
    return ticket.beginning_anew and is_process(ticket.pid, ticket.pid_started)


def _living(directory: Path, tickets: Sequence[Ticket], mine: Ticket | None = None) -> list[Ticket]:
    """The tickets whose processes live; removes the locks of the others. Only under the list's lock."""
    living = []
    for ticket in tickets:
        if (mine and ticket.id == mine.id) or _is_alive(directory, ticket):
            living.append(ticket)
        else:
            _ticket_lock(directory, ticket).unlink(missing_ok=True)
    return living


def _sweep(directory: Path, tickets: Sequence[Ticket]) -> None:
    """Remove what processes left that were killed while they changed the list. Only under the list's lock."""
    known = {_ticket_lock(directory, ticket) for ticket in tickets}
    for path in directory.glob("ticket-*.lock"):
        if path not in known and not is_held(path):
            path.unlink(missing_ok=True)
    for path in directory.glob(f".{_LIST}.*.tmp"):
        path.unlink(missing_ok=True)


def _statuses(tickets: Sequence[Ticket]) -> dict[str, Status | None]:
    return {ticket.id: read_status(RunDirectory(Path(ticket.directory))) for ticket in tickets}
