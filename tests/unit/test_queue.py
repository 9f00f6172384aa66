"""The device queue: turns, order, places, estimates, damage; what a worker expects. One process, real locks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_tui import paths
from fmnist_tui.config import RunConfig
from fmnist_tui.console import words
from fmnist_tui.console.queue_table import find_queued, queue_objects
from fmnist_tui.fields import with_changes
from fmnist_tui.monitor import devices as monitor_devices
from fmnist_tui.monitor.gpus import Gpu, GpuList
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import place as place_module
from fmnist_tui.runs import queue, starting, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.process import actual_state
from fmnist_tui.runs.queue import Standing, place_in_words, seconds_left, standings
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import SlurmJob, State, Status
from fmnist_tui.runs.store import Run
from fmnist_tui.runs.tickets import Device, Ticket, list_path, queue_directory, read_tickets, write_tickets
from fmnist_tui.training.turn import expected_seconds
from tests.results import ON_CPU, result_of

CPU = Device(key="cpu", name="cpu")
GPUS = [Device(key=f"GPU-{n}", name=f"cuda:{n}") for n in range(3)]


class Someone(Place):
    """A worker, known by its run's name; lives until the end of the test."""

    living: ClassVar[list[Someone]] = []

    def __init__(self, name: str, *devices: Device, count: int = 1) -> None:
        super().__init__(RunDirectory(Path("/nowhere") / name), devices or (CPU,), count)
        self.living.append(self)

    def die(self) -> None:
        """End as a killed process does: its locks go, what it has written stays."""
        for lock in (*self._device_locks, *([self._lock] if self._lock else [])):
            lock.release()


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    for person in Someone.living:
        person.die()
    Someone.living.clear()


def waiting(device: Device = CPU) -> list[str]:
    """Who waits for a device, in order."""
    return [entry.run_id for found in queue.snapshot() if found.key == device.key for entry in found.waiting]


def on(device: Device = CPU) -> list[str]:
    """Who is on a device."""
    return [entry.run_id for found in queue.snapshot() if found.key == device.key for entry in found.on]


def entered(*names: str, devices: tuple[Device, ...] = (CPU,)) -> list[Someone]:
    """Workers that entered the queue in this order."""
    people = [Someone(name, *devices) for name in names]
    for person in people:
        person.take()
    return people


# --- turns -------------------------------------------------------------------------------------------------------


def test_first_come_first_served() -> None:
    a, b, c = entered("a", "b", "c")
    assert (on(), waiting()) == (["a"], ["b", "c"])
    assert c.take() is None and b.take() is None
    a.leave()
    assert c.take() is None, "c does not overtake b, which has not looked yet"
    assert b.take() == CPU
    assert c.take() is None
    b.leave()
    assert c.take() == CPU
    c.leave()
    assert queue.snapshot() == []
    assert [path.name for path in queue_directory().glob("ticket-*")] == []


def test_a_run_on_several_devices_takes_all_of_them_or_none() -> None:
    """Two such runs never hold one each and wait for the other's; who came later does not overtake them."""
    one = Someone("one", GPUS[0])
    assert one.take() == GPUS[0]
    pair, rival = (Someone(name, *GPUS[:2], count=2) for name in ("pair", "rival"))
    later = Someone("later", GPUS[1])
    assert (pair.take(), rival.take(), later.take()) == (None, None, None)
    assert on(GPUS[1]) == [] and waiting(GPUS[1]) == ["pair", "rival", "later"]
    assert pair.standing.behind == "one" and rival.standing.behind == "pair"
    one.leave()
    assert rival.take() is None
    assert pair.take() == GPUS[0] and pair.devices == GPUS[:2]
    assert on(GPUS[0]) == on(GPUS[1]) == ["pair"]
    assert queue.would_wait(GPUS[:1]) is not None and queue.would_wait(GPUS, count=2) is not None
    pair.leave()
    assert later.take() is None, "rival came before it"
    assert rival.take() == GPUS[0] and rival.devices == GPUS[:2]
    assert later.take() is None
    rival.leave()
    assert later.take() == GPUS[1]


def test_a_run_on_several_devices_takes_what_is_free_of_more() -> None:
    one, pair = Someone("one", GPUS[1]), Someone("pair", *GPUS, count=2)
    assert one.take() == GPUS[1]
    assert pair.take() == GPUS[0] and pair.devices == [GPUS[0], GPUS[2]]
    beside = Someone("beside", *GPUS, count=2)
    assert beside.take() is None
    assert beside.take(now=True) is not None and len(beside.devices) == 2
    assert beside.beside in ("one", "pair")


def test_devices_have_queues_of_their_own() -> None:
    a, b = Someone("a", GPUS[0]), Someone("b", GPUS[1])
    assert (a.take(), b.take()) == (GPUS[0], GPUS[1])
    c, d = Someone("c", GPUS[0]), Someone("d", GPUS[1])
    assert (c.take(), d.take()) == (None, None)
    b.leave()
    assert (c.take(), d.take()) == (None, GPUS[1])


def test_a_run_for_any_gpu_takes_the_first_free_one_in_its_turn() -> None:
    a, b, only0, either = (
        Someone("a", *GPUS[:2]),
        Someone("b", *GPUS[:2]),
        Someone("only0", GPUS[0]),
        Someone("either", *GPUS[:2]),
    )
    assert (a.take(), b.take()) == (GPUS[0], GPUS[1])
    assert (only0.take(), either.take()) == (None, None)
    assert [entry.standing.place for entry in queue.snapshot()[0].waiting if entry.standing] == [1, 2]
    assert waiting(GPUS[1]) == ["either"]
    b.leave()
    assert either.take() == GPUS[1], "only0 does not want that one"
    later = Someone("later", *GPUS[:2])
    assert later.take() is None
    a.leave()
    assert later.take() is None, "only0 came first"
    assert only0.take() == GPUS[0]


@pytest.mark.parametrize("who", ["holder", "waiter"])
def test_the_dead_block_nobody(who: str) -> None:
    a, b, c = entered("a", "b", "c")
    (a if who == "holder" else b).die()
    if who == "waiter":
        a.leave()
        assert c.take() == CPU
    else:
        assert (c.take(), b.take()) == (None, CPU)
    assert len(list(queue_directory().glob("ticket-*"))) == (2 if who == "holder" else 1), (
        "their locks are cleared away"
    )


def test_a_reused_pid_holds_no_device() -> None:
    """The holder died while it replaced its program, and another process has its pid since."""
    holder, b = entered("holder", "b")
    holder.keep_for_new_program()
    holder.die()
    assert b.take() is None, "this very process lives and comes back"
    directory = queue_directory()
    tickets = read_tickets(directory)
    tickets[0].pid_started = (tickets[0].pid_started or 0.0) - 1000.0
    write_tickets(directory, tickets)
    assert b.take() == CPU


def test_now_runs_beside_and_the_queue_waits_for_all_on_the_device() -> None:
    a, b = entered("a", "b")
    beside = Someone("beside")
    assert beside.take(now=True) == CPU
    assert beside.beside == "a" and a.beside is None
    (found,) = queue.snapshot()
    assert [(entry.run_id, entry.beside) for entry in found.on] == [("a", False), ("beside", True)]
    a.leave()
    assert b.take() is None, "the device is not free yet"
    beside.leave()
    assert b.take() == CPU


def test_now_on_a_free_device_is_an_ordinary_turn() -> None:
    a = Someone("a", *GPUS)
    assert a.take(now=True) == GPUS[0] and a.beside is None
    b = Someone("b", *GPUS)
    assert b.take(now=True) == GPUS[1], "a free one first"
    c = Someone("c", GPUS[0])
    assert c.take() is None
    a.leave()
    assert c.take() == GPUS[0]


def test_one_that_runs_beside_begins_anew_beside() -> None:
    """Also where it was told so while it waited: how it was launched says nothing of that."""
    _a, b = entered("a", "b")
    assert b.take(now=True) == CPU
    b.keep_for_new_program()
    b.die()
    again = Someone("b")
    assert again.take() == CPU and again.beside == "a"


def test_a_suspended_worker_is_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    a, _suspended, c = entered("a", "suspended", "c")
    a.leave()
    assert c.take() is None
    clock[0] += place_module.STUCK_SECONDS + 1
    assert c.take() == CPU
    assert waiting() == ["suspended"], "it keeps its place"


def test_a_worker_that_looks_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    a, b, c = entered("a", "b", "c")
    for _ in range(3):
        clock[0] += place_module.STUCK_SECONDS + 1
        assert b.take() is None and c.take() is None
    clock[0] += 1e6  # c itself was suspended, or the machine slept
    assert b.take() is None
    a.leave()
    assert c.take() is None
    assert b.take() == CPU


# --- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b'{"tickets": [{"id": "x"}]}', None])
def test_a_lost_list_gives_a_device_to_nobody_twice_and_the_order_comes_back(damage: bytes | None) -> None:
    a, b, c, d = entered("a", "b", "c", "d")
    if damage is None:
        list_path(queue_directory()).unlink()
    else:
        list_path(queue_directory()).write_bytes(damage)
    assert (d.take(), c.take(), b.take()) == (None, None, None)
    assert waiting() == ["b", "c", "d"]
    new = Someone("new")
    assert new.take() is None
    assert waiting() == ["b", "c", "d", "new"]
    a.leave()
    assert (new.take(), c.take(), b.take()) == (None, None, CPU)


def test_a_full_disk_keeps_the_device_single(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = entered("a", "b")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(place_module, "write_tickets", full)
        c = Someone("c")
        assert c.take() is None and c.problem == "No space left on device"
        a.leave()
        assert b.take() == CPU, "what could not be written down does not stop the queue"
        assert c.take() is None
        b.leave()
    assert c.take() == CPU and c.problem == ""
    assert on() == ["c"]


def test_a_state_directory_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("FMNIST_TUI_STATE_DIR", str(file))
    assert queue.snapshot() == [] and queue.would_wait([CPU]) is None
    with pytest.raises(OSError):
        Someone("a").take()
    monkeypatch.setattr(queue, "read_tickets", lambda _: Path("/proc/self/mem").read_bytes())
    with pytest.raises(RunError, match="the device queue can't be read"):
        queue.snapshot()


def test_a_directory_removed_under_the_queue_is_made_anew(tmp_path: Path) -> None:
    import shutil

    _a, b, c = entered("a", "b", "c")
    shutil.rmtree(tmp_path / "state")
    assert b.take() == CPU, "nothing is left that says whose the device was"
    assert c.take() is None
    assert (on(), waiting()) == (["b"], ["c"]), "and who waits is known as alive again"


def test_what_the_killed_left_behind_is_swept() -> None:
    (a,) = entered("a")
    directory = queue_directory()
    (directory / "ticket-0123456789abcdef.lock").touch()
    (directory / ".queue.json.1.2.tmp").touch()
    entered("b")
    assert len(list(directory.glob("ticket-*"))) == 2
    assert list(directory.glob("*.tmp")) + list(directory.glob(".*.tmp")) == []
    a.leave()


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert queue.snapshot() == [] and queue.would_wait([CPU]) is None
    with pytest.raises(RunError, match="is not queued on this machine"):
        queue.move("x", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_queue_lies_in_the_state_directory_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.state_dir() == tmp_path / "state"
    monkeypatch.setattr(socket, "gethostname", lambda: "../node 7")
    assert queue_directory() == tmp_path / "state" / "queue" / ".._node_7"
    monkeypatch.delenv("FMNIST_TUI_STATE_DIR")
    assert paths.state_dir().parts[-1] == "fmnist-tui"
    monkeypatch.setenv("FMNIST_TUI_STATE_DIR", str(tmp_path / "state"))
    entered("a")
    assert queue_directory().stat().st_mode & 0o077 == 0, "nobody else's business"


@pytest.mark.parametrize("key", ["../../outside", "/etc/passwd", "x" * 500, "训练"])
def test_no_device_name_leads_out_of_the_directory(key: str, tmp_path: Path) -> None:
    a = Someone("a", Device(key=key, name=key))
    assert a.take() is not None
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert all(path.parent == queue_directory() for path in tmp_path.rglob("*") if path.is_file())


names = st.sampled_from("abcdef")
steps = st.one_of(
    st.tuples(st.sampled_from(["look", "look", "leave", "die", "now"]), names),
    st.tuples(st.just("move"), names, st.integers(1, 4)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happens=st.lists(steps, max_size=40), wants=st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_whatever_happens_a_device_has_one_and_the_order_holds(
    happens: list[tuple[Any, ...]], wants: list[int], tmp_path: Path
) -> None:
    patch = pytest.MonkeyPatch()
    patch.setenv("FMNIST_TUI_STATE_DIR", str(tmp_path / os.urandom(4).hex()))
    devices = {
        name: tuple(GPUS[:2]) if want == 2 else (GPUS[want],) for name, want in zip("abcdef", wants, strict=True)
    }
    there: dict[str, Someone] = {}
    has: dict[str, Device] = {}
    beside: set[str] = set()
    order: list[str] = []
    for what, name, *more in happens:
        if what in ("look", "now") and name not in has:
            person = there.setdefault(name, Someone(name, *devices[name]))
            if name not in order:
                order.append(name)
            device = person.take(now=what == "now")
            free = [d for d in devices[name] if d not in has.values()]
            ahead = order[: order.index(name)]
            mine = [d for d in free if what == "now" or not any(d in devices[other] for other in ahead)]
            assert (device is not None) == bool(mine or what == "now")
            if device is not None:
                assert device == mine[0] if mine else device in devices[name]
                has[name] = device
                order.remove(name)
                beside |= set() if mine else {name}
        elif what in ("leave", "die") and name in there:
            person = there.pop(name)
            person.leave() if what == "leave" else person.die()
            has.pop(name, None)
            beside.discard(name)
            order = [other for other in order if other != name]
        elif what == "move" and name in order:
            rivals = [o for o in order if o != name and any(d in devices[name] for d in devices[o])]
            rest = [other for other in order if other != name]
            at = rest.index(rivals[more[0] - 1]) if more[0] <= len(rivals) else len(rest)
            assert queue.move(name, more[0]) == min(more[0], len(rivals) + 1)
            order = [*rest[:at], name, *rest[at:]]
        elif what == "move":
            with pytest.raises(RunError):
                queue.move(name, more[0])
        for device in GPUS[:2]:
            assert sorted(on(device)) == sorted(other for other, d in has.items() if d == device)
            assert sum(other not in beside for other in on(device)) <= 1
            assert waiting(device) == [other for other in order if device in devices[other]]
    for person in there.values():
        person.die()
    patch.undo()


# --- moving ------------------------------------------------------------------------------------------------------


def test_moving_changes_who_is_next() -> None:
    a, b, c, d = entered("a", "b", "c", "d")
    assert queue.move("d", 1) == 1
    assert waiting() == ["d", "b", "c"]
    assert queue.move("d", 2) == 2
    assert waiting() == ["b", "d", "c"]
    assert queue.move("b", 99) == 3
    assert waiting() == ["d", "c", "b"]
    a.leave()
    assert (b.take(), c.take(), d.take()) == (None, None, CPU)


def test_places_count_only_those_who_wait_for_the_same() -> None:
    entered("a", "b", "c")
    entered("x", "y", devices=(GPUS[0],))
    entered("d")
    assert waiting() == ["b", "c", "d"]
    assert queue.move("d", 2) == 2
    assert waiting() == ["b", "d", "c"] and waiting(GPUS[0]) == ["y"]


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [("b", 0, "--place 0: places begin at 1"), ("a", 1, "a: is not queued"), ("x", 1, "x: is not queued")],
)
def test_what_cannot_be_moved(name: str, place: int, message: str) -> None:
    entered("a", "b")
    with pytest.raises(RunError, match=message):
        queue.move(name, place)
    assert (on(), waiting()) == (["a"], ["b"])


@pytest.mark.parametrize(
    ("state", "job", "message"),
    [
        (State.RUNNING, None, "is running; only a queued run can be told to start now"),
        (State.FINISHED, None, "is finished; only"),
        (State.LOST, None, "is lost; only"),
        (State.QUEUED, SlurmJob(id="12"), "waits for Slurm, which has an order of its own"),
    ],
)
def test_what_cannot_be_told_to_start_now(
    runs_dir: Path, state: State, job: SlurmJob | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "actual_state", lambda status: state)
    run = starting.create_run(runs_dir, load_preset("quick"))
    status = Status.model_validate_json(run.status.read_bytes())
    run.status.write_text(status.model_copy(update={"job": job}).to_json())
    with pytest.raises(RunError, match=message):
        queue.start_now(run)
    assert not run.control.exists()


def test_the_queued_run_a_user_means(runs_dir: Path) -> None:
    run = starting.create_run(runs_dir, load_preset("quick"))
    _busy, *people = entered("busy", "20260101-000000-wrn-aaaa", "20260101-000000-wrn-bbbb")
    assert find_queued(runs_dir, "bbbb").id == "20260101-000000-wrn-bbbb", "it lies in another runs directory"
    with pytest.raises(RunError, match="matches 2 queued runs"):
        find_queued(runs_dir, "wrn")
    assert find_queued(runs_dir, "last") == run
    with pytest.raises(RunError, match="zzzz"):
        find_queued(runs_dir, "zzzz")
    assert len(people) == 2


# --- estimates ---------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def at_work(eta: float | None, age: float = 0.0, state: State = State.RUNNING) -> Status:
    return Status(state=state, eta_seconds=eta, heartbeat=(NOW - timedelta(seconds=age)).isoformat())


def ticket(name: str, *devices: Device, on: Device | None = None, seconds: float | None = None) -> Ticket:
    return Ticket(
        run_id=name, directory="", pid=1, pid_started=1.0, devices=list(devices or (CPU,)),
        on=on.key if on else None, expected_seconds=seconds,
    )  # fmt: skip


def stands(tickets: list[Ticket], **statuses: Status) -> dict[str, Standing]:
    found = standings(tickets, {t.id: statuses.get(t.run_id) for t in tickets}, NOW)
    return {t.run_id: found[t.id] for t in tickets if t.id in found}


def test_expected_starts_add_up() -> None:
    tickets = [ticket("a", on=CPU), ticket("b", seconds=50.0), ticket("c"), ticket("d")]
    assert stands(tickets, a=at_work(100.0, age=2.0)) == {
        "b": Standing(1, "a", 98.0),
        "c": Standing(2, "b", 148.0),
        "d": Standing(3, "c", None),
    }


@pytest.mark.parametrize(
    ("status", "left"),
    [
        (at_work(100.0), 100.0),
        (at_work(1.0, age=5.0), 0.0),
        (at_work(None), None),
        (at_work(100.0, age=61.0), None),
        (at_work(100.0, state=State.STOPPING), None),
        (at_work(100.0, state=State.FINISHED), None),
        (None, None),
    ],
)
def test_a_run_that_cannot_tell_is_not_guessed(status: Status | None, left: float | None) -> None:
    assert seconds_left(status, NOW) == (float("inf") if left is None else left)
    tickets = [ticket("a", on=CPU), ticket("b")]
    found = standings(tickets, {tickets[0].id: status}, NOW)
    assert found[tickets[1].id] == Standing(1, "a", left)


def test_expected_starts_on_several_devices() -> None:
    tickets = [
        ticket("a", on=GPUS[0]), ticket("b", on=GPUS[1]), ticket("beside", on=GPUS[1]),
        ticket("any", *GPUS[:2], seconds=1000.0), ticket("first", GPUS[0]), ticket("second", GPUS[1]),
    ]  # fmt: skip
    assert stands(tickets, a=at_work(60.0), b=at_work(10.0), beside=at_work(200.0)) == {
        "any": Standing(1, "a", 60.0),
        "first": Standing(2, "any", 1060.0),
        "second": Standing(2, "any", 200.0),
    }


def test_a_free_device_is_waited_for_by_nobody() -> None:
    assert stands([ticket("a")]) == {"a": Standing(1, None, 0.0)}


def test_would_wait_says_behind_whom() -> None:
    assert queue.would_wait([CPU]) is None
    entered("a")
    assert queue.would_wait([CPU]) == "a"
    entered("b")
    assert queue.would_wait([CPU]) == "b"
    assert queue.would_wait([GPUS[0]]) is None


def test_the_snapshot_tells_what_runs_say_of_themselves(runs_dir: Path) -> None:
    config = load_preset("quick")
    runs = [starting.create_run(runs_dir, config, "cpu") for _ in range(2)]
    people = [Place(run, [CPU]) for run in runs]
    for person in people:
        person.take()
    status = store.read_status(runs[0])
    assert status is not None
    runs[0].status.write_text(
        status.model_copy(update={"state": State.RUNNING, "eta_seconds": 600.0, "heartbeat": utc_now()}).to_json()
    )
    holder, waiter = queue_objects(queue.snapshot())
    assert (holder["id"], holder["device"], holder["place"], holder["eta_seconds"]) == (runs[0].id, "cpu", None, 600.0)
    assert (waiter["id"], waiter["place"], waiter["behind"]) == (runs[1].id, 1, runs[0].id)
    assert waiter["starts_in_seconds"] == pytest.approx(600, abs=30)
    assert waiter["directory"] == str(runs[1].path) and waiter["pid"] == os.getpid()
    json.dumps([holder, waiter], allow_nan=False)
    assert people[1].standing.place == 1 and people[1].standing.seconds == pytest.approx(600, abs=30)


@pytest.mark.parametrize(
    ("place", "device", "text"),
    [(1, "cuda:0", "next on cuda:0"), (2, "cpu", "2nd on cpu"), (3, "auto", "3rd"), (11, "cpu", "11th on cpu"),
     (21, "cpu", "21st on cpu"), (112, "cpu", "112th on cpu"), (None, "cpu", "")],
)  # fmt: skip
def test_places_in_words(place: int | None, device: str, text: str) -> None:
    assert place_in_words(Status(state=State.QUEUED, queue_place=place, device=device)) == text


def test_a_queued_run_in_words() -> None:
    status = Status(state=State.QUEUED, device="cuda:0", queue_place=2, queue_behind="x", starts_in_seconds=4800.0)
    assert words.queued(status) == "2nd on cuda:0, behind x, starts in about 1 h 20 m"
    assert words.queued(status.model_copy(update={"starts_in_seconds": 3.0})).endswith("starts in under a minute")
    assert words.queued(status.model_copy(update={"starts_in_seconds": None})) == "2nd on cuda:0, behind x"


# --- what a worker brings along ----------------------------------------------------------------------------------


def test_a_queued_run_whose_process_is_gone_is_lost() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(20)
    here = {"state": State.QUEUED, "host": socket.gethostname(), "heartbeat": utc_now()}
    assert actual_state(Status(**here, pid=child.pid, pid_started=1.0)) is State.LOST
    assert State.QUEUED.alive and not State.QUEUED.at_work


def test_waiting_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, fmnist_tui.training.__main__, fmnist_tui.training.turn\n"
        "print(*({'torch', 'torchvision', 'numpy', 'textual'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    found = [Gpu(ordinal=n, index=n + 4, name="H200", uuid=f"GPU-{n}", memory_total=None) for n in range(count)]
    monkeypatch.setattr(monitor_devices, "list_gpus", lambda: GpuList(found, ""))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_what_a_device_option_means(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert monitor_devices.devices_for("auto") == GPUS[:2]
    assert monitor_devices.devices_for("cuda") == monitor_devices.devices_for("cuda:0") == [GPUS[0]]
    assert monitor_devices.devices_for("cuda:1") == [GPUS[1]]
    assert monitor_devices.devices_for("cuda", 2) == GPUS[:2], "several of them: any"
    assert monitor_devices.devices_for("cuda:9") == [Device(key="cuda:9", name="cuda:9")]
    assert monitor_devices.devices_for("cpu") == monitor_devices.devices_for("cpu:0") == [CPU]
    assert [device.key for device in monitor_devices.devices_for("toaster")] == ["toaster"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-7,MIG-8")
    gpus_before = monitor_devices.devices_for("cuda:0")
    assert [device.key for device in gpus_before] == ["MIG-7"], "two instances of one GPU are two devices"
    gpus(monkeypatch, 0)
    monkeypatch.setattr(monitor_devices.platform, "system", lambda: "Linux")
    assert monitor_devices.devices_for("auto") == [CPU]
    monkeypatch.setattr(monitor_devices.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(monitor_devices.platform, "machine", lambda: "arm64")
    assert [device.key for device in monitor_devices.devices_for("auto")] == ["mps"]


def finished(runs_dir: Path, config: RunConfig, **changes: Any) -> Run:
    """A finished run: 8 epochs of 100 steps in 400 s on the CPU."""
    run = starting.create_run(runs_dir, config, "cpu")
    values = ON_CPU | {"epochs": 8, "steps": 800, "total_seconds": 400.0} | changes
    run.result.write_text(result_of(config, run.id, **values).to_json())
    return store.load_run(run)


def expected(config: RunConfig, runs: list[Run], launch: LaunchRequest | None = None, **status: Any) -> float | None:
    return expected_seconds(config, launch or LaunchRequest(), Status(state=State.STARTING, **status), [CPU], runs)


def test_a_run_expects_what_one_like_it_took(runs_dir: Path) -> None:
    config = load_preset("quick")
    like = finished(runs_dir, config)
    assert expected(config, []) is None
    assert expected(config, [like]) == 400.0
    assert expected(with_changes(config, {"training.epochs": 16, "seed": 7, "optimizer.lr": 0.01}), [like]) == 800.0
    assert expected(with_changes(config, {"training.max_steps": 100}), [like]) == 50.0
    assert expected(config, [like], LaunchRequest(epochs=4)) == 200.0
    assert expected(config, [like], LaunchRequest(gpus=2)) is None, "that one had a single device"
    for other in ({"model.widen_factor": 4}, {"training.batch_size": 32}, {"training.precision": "fp32"}):
        assert expected(with_changes(config, other), [like]) is None
    assert expected(config, [finished(runs_dir, config, device="cuda:0")]) is None
    assert expected(config, [finished(runs_dir, config, complete=False)]) is None
    assert expected(config, [finished(runs_dir, config, total_seconds=80.0), like]) == 80.0, "the newest"


def test_a_resumed_run_expects_its_own_pace(runs_dir: Path) -> None:
    config = load_preset("quick")
    like = finished(runs_dir, config)
    went: dict[str, Any] = {"step": 200, "steps_per_epoch": 100, "active_seconds": 300.0, "epoch": 3}
    assert expected(config, [like], **went) == 600 * 1.5
    assert expected(config, [like], LaunchRequest(epochs=2), **went) == 0.0


def test_tickets_of_a_newer_version_are_read() -> None:
    entered("a", "b")
    path = list_path(queue_directory())
    content = json.loads(path.read_text())
    content["future"] = content["tickets"][0]["future"] = 1
    path.write_text(json.dumps(content))
    assert [t.run_id for t in read_tickets(queue_directory())] == ["a", "b"]
