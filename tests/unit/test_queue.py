"""The device queue as views see it: moving, places, estimates, and what is said in words. One process, real locks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fmnist_tui.console import words
from fmnist_tui.console.queue_table import find_queued, queue_objects
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import queue, starting, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.process import actual_state
from fmnist_tui.runs.queue import Standing, place_in_words, seconds_left, standings
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import SlurmJob, State, Status
from fmnist_tui.runs.tickets import Device, Ticket
from tests.unit.queued import CPU, GPUS, entered, on, waiting

pytestmark = pytest.mark.usefixtures("nobody_is_left")


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


def test_a_wait_that_no_status_may_hold_is_not_told() -> None:
    tickets = [ticket("a", CPU, on=CPU), ticket("b", CPU, seconds=9e10), ticket("c", CPU)]
    found = stands(tickets, a=at_work(2e10))
    assert (found["b"].seconds, found["c"].seconds) == (2e10, None)


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


# --- lost --------------------------------------------------------------------------------------------------------


def test_a_queued_run_whose_process_is_gone_is_lost() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(20)
    here = {"state": State.QUEUED, "host": socket.gethostname(), "heartbeat": utc_now()}
    assert actual_state(Status(**here, pid=child.pid, pid_started=1.0)) is State.LOST
    assert State.QUEUED.alive and not State.QUEUED.at_work
