"""Turns on devices with damaged files, full disks, and whatever happens."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_tui import paths
from fmnist_tui.runs import place as place_module
from fmnist_tui.runs import queue
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.tickets import Device, list_path, queue_directory, read_tickets
from tests.unit.queued import CPU, GPUS, Someone, entered, on, waiting

pytestmark = pytest.mark.usefixtures("nobody_is_left")

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


def test_tickets_of_a_newer_version_are_read() -> None:
    entered("a", "b")
    path = list_path(queue_directory())
    content = json.loads(path.read_text())
    content["future"] = content["tickets"][0]["future"] = 1
    path.write_text(json.dumps(content))
    assert [t.run_id for t in read_tickets(queue_directory())] == ["a", "b"]
