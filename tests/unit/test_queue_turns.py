"""Turns on devices (`place`, `tickets`): whose it is."""

from __future__ import annotations

import time

import pytest

from fmnist_tui.runs import place as place_module
from fmnist_tui.runs import queue
from fmnist_tui.runs.tickets import queue_directory, read_tickets, write_tickets
from tests.unit.queued import CPU, GPUS, Someone, entered, on, waiting

pytestmark = pytest.mark.usefixtures("nobody_is_left")

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
