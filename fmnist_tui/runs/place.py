"""A worker's own place in the device queue: enter, take the device when it is one's turn, leave.

Called by `training.turn` alone. Each worker waits for itself: under the list's lock it looks whether its
device is free and nobody alive waits ahead. A run on several devices takes all of them in one step or none, so that
two such runs never wait for each other. A device's own lock makes sure that it never has two, whatever became of
the list.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

from filelock import FileLock, Timeout

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import process_started
from fmnist_tui.runs.queue import Standing, standings, statuses_of
from fmnist_tui.runs.tickets import (
    Device,
    Ticket,
    device_lock,
    drop_dead,
    list_lock,
    queue_directory,
    read_tickets,
    sweep,
    text_of,
    ticket_lock,
    write_tickets,
)

STUCK_SECONDS = 60.0
"""A waiting worker that did not look at the queue for this long (suspended, or its disk hangs) is overtaken."""


class Place:
    """A worker's place in the queue, from its first `take` to `leave` or the end of its process."""

    def __init__(self, run: RunDirectory, devices: Sequence[Device], count: int = 1) -> None:
        """For `count` of the devices, all at once."""
        self._directory = queue_directory()
        self._ticket = Ticket(
            run_id=run.id,
            directory=text_of(run.path),
            pid=os.getpid(),
            pid_started=process_started(os.getpid()),
            devices=list(devices),
            count=min(count, len(devices)),
        )
        self._tickets: list[Ticket] = []
        self._lock: FileLock | None = None
        self._device_locks: list[FileLock] = []
        self.devices: list[Device] = []
        """The devices it has; none before `take` has returned one."""
        self._looks: dict[str, tuple[int, float]] = {}
        self.problem = ""
        """Why the list could not be written, '' where it could: then the order may be lost, never the device."""

    def take(self, now: bool = False) -> Device | None:
        """The (first) device, once it is this worker's turn; None while it is not. Enters the queue at the first call.

        Call it once or twice a second; `devices` has all of them then. With `now` the turn is at once, beside
        whatever is on the device. Raises OSError where the state directory can't be used at all.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with list_lock(self._directory):
                before = read_tickets(self._directory)
                self._enter(before)
                self.devices = self._choose(now) or []
                if self._tickets != before:
                    self._write()
        except Timeout:
            return None
        return self.devices[0] if self.devices else None

    @property
    def standing(self) -> Standing:
        """Where the ticket stood at the last `take`; reads what the runs ahead say of themselves."""
        found = standings(self._tickets, statuses_of(t for t in self._tickets if t.on is not None))
        return found.get(self._ticket.id, Standing(1, None, None))

    @property
    def beside(self) -> str | None:
        """The id of another run on a device this one has."""
        mine = set(self._ticket.has)
        return next((ticket.run_id for ticket in self._others if mine.intersection(ticket.has)), None)

    def expect(self, seconds: float | None) -> None:
        """How long the run will take; the others learn it at the next `take`."""
        self._ticket.expected_seconds = seconds

    def leave(self) -> None:
        """Give everything back. What can't be written down (a full disk) the others find out by the lock."""
        for lock in (*self._device_locks, *([self._lock] if self._lock else [])):
            lock.release()
        with contextlib.suppress(OSError), list_lock(self._directory):  # filelock's Timeout is an OSError
            ticket_lock(self._directory, self._ticket).unlink(missing_ok=True)
            write_tickets(self._directory, [t for t in read_tickets(self._directory) if t.id != self._ticket.id])

    def keep_for_new_program(self) -> None:
        """Before os.execv, which ends locks but not the process: its pid counts until a new Place takes over."""
        self._ticket.beginning_anew = True
        with contextlib.suppress(OSError), list_lock(self._directory):
            tickets = read_tickets(self._directory)
            write_tickets(self._directory, [self._ticket if t.id == self._ticket.id else t for t in tickets])

    @property
    def _others(self) -> list[Ticket]:
        return [ticket for ticket in self._tickets if ticket.id != self._ticket.id]

    def _enter(self, before: Sequence[Ticket]) -> None:
        """Note the living tickets and this worker's own among them: in its place, or where it is new, at the end."""
        if self._lock is None:
            self._take_over(before)
            sweep(self._directory, before)
        path = ticket_lock(self._directory, self._ticket)
        if self._lock is None or not path.exists():  # somebody may have cleaned up the directory
            lock = FileLock(path)
            lock.acquire(timeout=0)
            self._lock = lock
        path.touch()
        mine, known = self._ticket, [ticket.id for ticket in self._tickets]
        tickets = drop_dead(self._directory, before)
        if any(ticket.id == mine.id for ticket in tickets):
            self._tickets = [mine if ticket.id == mine.id else ticket for ticket in tickets]
            return
        at = len(tickets)
        if mine.id in known:  # the list was lost: back behind those who were ahead
            ahead = known[: known.index(mine.id)]
            at = max((at + 1 for at, ticket in enumerate(tickets) if ticket.id in ahead), default=0)
        self._tickets = [*tickets[:at], mine, *tickets[at:]]

    def _take_over(self, tickets: Sequence[Ticket]) -> None:
        """Go on with the ticket this process had before it replaced its program."""
        for ticket in tickets:
            if ticket.beginning_anew and (ticket.run_id, ticket.pid) == (self._ticket.run_id, self._ticket.pid):
                self._ticket = ticket.model_copy(update={"beginning_anew": False})

    def _choose(self, now: bool) -> list[Device] | None:
        """Take devices where enough may be taken: nobody is on them and nobody ahead waits for them."""
        mine = self._ticket
        if mine.on is not None and not mine.beside:  # taken over
            devices = [device for device in mine.devices if device.key in mine.has]
            return devices if self._hold(devices) else None
        now = now or mine.on is not None  # it was beside another before it began anew
        at = self._tickets.index(mine)
        ahead = [ticket for ticket in self._tickets[:at] if ticket.on is None and not self._is_stuck(ticket)]
        free = [
            device
            for device in mine.devices
            if not any(device.key in ticket.has for ticket in self._others)
            and (now or not any(ticket.wants(device.key) for ticket in ahead))
        ]
        held = self._hold_any(free)
        if held is not None:
            return self._have(held, beside=False)
        if not now:
            return None
        by_use = sorted(mine.devices, key=lambda device: sum(device.key in ticket.has for ticket in self._others))
        return self._have(by_use[: mine.count], beside=True)

    def _have(self, devices: list[Device], beside: bool) -> list[Device]:
        mine = self._ticket
        mine.on, *mine.also = (device.key for device in devices)
        mine.beside = beside
        return devices

    def _hold_any(self, free: Sequence[Device]) -> list[Device] | None:
        """Lock as many of the free devices as are needed: all of them or none."""
        held: list[Device] = []
        for device in free:
            if self._hold([device]):
                held.append(device)
            if len(held) == self._ticket.count:
                return held
        self._let_go()
        return None

    def _hold(self, devices: Sequence[Device]) -> bool:
        for device in devices:
            lock = device_lock(self._directory, device)
            try:
                lock.acquire()
            except Timeout:
                return False
            self._device_locks.append(lock)
        return True

    def _let_go(self) -> None:
        for lock in self._device_locks:
            lock.release()
        self._device_locks.clear()

    def _is_stuck(self, ticket: Ticket) -> bool:
        """Whether a waiting worker lives and yet did not look at the queue while this one did, for a minute.

        By this worker's own count of time: neither a clock that is set nor a machine that slept makes one stuck.
        """
        try:
            look = ticket_lock(self._directory, ticket).stat().st_mtime_ns
        except OSError:
            return False
        known, since = self._looks.get(ticket.id, (None, 0.0))
        if known != look:
            self._looks[ticket.id] = (look, time.monotonic())
            return False
        return time.monotonic() - since > STUCK_SECONDS

    def _write(self) -> None:
        try:
            write_tickets(self._directory, self._tickets)
            self.problem = ""
        except OSError as error:  # a full disk: the order is at risk, the device's lock is not
            self.problem = error.strerror or str(error)
