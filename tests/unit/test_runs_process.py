"""The worker as a process: alive or lost, locked or not, and killed; with real processes."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import (
    HEARTBEAT_LIMIT,
    STARTING_LIMIT,
    actual_state,
    is_locked,
    is_process,
    kill_worker,
    process_started,
)
from fmnist_tui.runs.records import seconds_since
from fmnist_tui.runs.status import State, Status
from tests.unit.child_processes import ELSEWHERE, HERE, HOLD, WAITING, wait_until

ALIVE = [state for state in State if state.alive]
RESTING = [state for state in State if not state.alive and state is not State.LOST]


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


# --- who lives ---------------------------------------------------------------------------------------------------


def test_a_process_is_known_by_pid_and_start(children: Callable[..., subprocess.Popen[str]]) -> None:
    child = children(WAITING)
    started = process_started(child.pid)
    assert started is not None
    assert abs(started - time.time()) < 60
    assert is_process(child.pid, started)
    assert is_process(child.pid, None)
    assert not is_process(child.pid, started - 1.5), "another process that got its pid"
    assert not is_process(child.pid, started + 1.5)
    child.kill()
    wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert process_started(child.pid) is None, "a zombie is dead, though its pid is still taken"
    assert not is_process(child.pid, started)
    child.wait(20)
    assert not is_process(child.pid, started)
    assert process_started(2**31 - 1) is None
    assert process_started(10**30) is None


def test_states_of_a_real_process(children: Callable[..., subprocess.Popen[str]]) -> None:
    child = children(WAITING)
    started = process_started(child.pid)
    assert started is not None
    status = Status(state=State.RUNNING, host=HERE, pid=child.pid, pid_started=started)
    reused = status.model_copy(update={"pid_started": started - 1000, "heartbeat": ago(HEARTBEAT_LIMIT + 1)})
    assert actual_state(status) is State.RUNNING
    assert actual_state(reused) is State.LOST
    child.kill()
    wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert actual_state(status) is State.LOST, "a zombie trains nothing"
    child.wait(20)
    assert actual_state(status) is State.LOST


def nothing_lives(pid: int, started: float | None) -> bool:
    return False


def one_lives(pid: int, started: float | None) -> bool:
    """The process table has pid 7, started at 100."""
    return pid == 7 and started in (None, 100.0)


FRESH, OLD, NEVER_OLD = 1.0, HEARTBEAT_LIMIT + 5, 10_000_000.0
SAME = {"host": HERE, "pid": 7, "pid_started": 100.0}
REUSED = {"host": HERE, "pid": 7, "pid_started": 50.0}
AWAY = {"host": ELSEWHERE, "pid": 7, "pid_started": 100.0}


@pytest.mark.parametrize("state", ALIVE)
@pytest.mark.parametrize(
    ("where", "alive", "age", "lost"),
    [
        (SAME, one_lives, FRESH, False),
        (SAME, one_lives, OLD, False),  # a worker that computes for long, or was suspended with its machine
        (SAME, one_lives, NEVER_OLD, False),
        (SAME, one_lives, -NEVER_OLD, False),  # a clock set back
        (SAME, nothing_lives, FRESH, True),
        (SAME, nothing_lives, OLD, True),
        (REUSED, one_lives, OLD, True),
        (REUSED, one_lives, FRESH, False),  # a clock that was set: psutil's start times moved, the heartbeat goes on
        (REUSED, one_lives, -OLD, True),
        (REUSED, nothing_lives, FRESH, True),
        (SAME | {"pid_started": None}, one_lives, FRESH, False),
        (SAME | {"pid_started": None}, one_lives, OLD, True),
        (SAME | {"pid": None, "pid_started": None}, nothing_lives, STARTING_LIMIT - 5, False),
        (SAME | {"pid": None, "pid_started": None}, nothing_lives, STARTING_LIMIT + 1, True),
        (SAME | {"pid": None, "pid_started": None}, nothing_lives, -STARTING_LIMIT - 1, True),
        (AWAY, nothing_lives, FRESH, False),  # its pid says nothing here
        (AWAY, nothing_lives, HEARTBEAT_LIMIT - 5, False),
        (AWAY, one_lives, OLD, True),
        (AWAY, one_lives, -FRESH, False),
        (AWAY, one_lives, -OLD, True),
        (AWAY | {"pid": None}, nothing_lives, STARTING_LIMIT + 5, False),
    ],
)
def test_the_state_that_is_shown(
    state: State, where: dict[str, Any], alive: Callable[[int, float | None], bool], age: float, lost: bool
) -> None:
    status = Status(state=state, heartbeat=ago(age), **where)
    assert actual_state(status, alive) is (State.LOST if lost else state)


@pytest.mark.parametrize("state", RESTING)
@pytest.mark.parametrize("where", [SAME, REUSED, AWAY])
def test_a_run_that_has_ended_is_never_lost(state: State, where: dict[str, Any]) -> None:
    assert actual_state(Status(state=state, heartbeat=ago(NEVER_OLD), **where), nothing_lives) is state


def test_states_with_a_worker() -> None:
    assert set(ALIVE) == {State.QUEUED, State.STARTING, State.RUNNING, State.STOPPING}
    assert set(RESTING) == {State.FINISHED, State.STOPPED, State.FAILED}
    assert {state for state in State if state.at_work} == set(ALIVE) - {State.QUEUED}


def test_seconds_since() -> None:
    now = datetime(2026, 11, 23, 14, 0, 10, tzinfo=UTC)
    assert seconds_since("2026-11-23T14:00:00Z", now) == 10
    assert seconds_since("2026-11-23T15:00:00+01:00", now) == 10
    assert seconds_since("2026-11-23T14:00:00", now) == 10, "without a zone it is UTC"
    assert seconds_since("2026-11-23T14:00:12.500Z", now) == -2.5


# --- the lock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["kill", "leave"])
def test_the_lock_ends_with_its_process(
    end: str, empty_run: RunDirectory, children: Callable[..., subprocess.Popen[str]]
) -> None:
    assert not is_locked(empty_run)
    assert not empty_run.lock.exists(), "asking makes no file"
    child = children(HOLD, str(empty_run.lock))
    assert is_locked(empty_run)
    assert is_locked(empty_run), "asking does not take the lock away"
    if end == "kill":
        child.kill()
    else:
        child.communicate("\n")
    child.wait(20)
    assert not is_locked(empty_run)
    children(HOLD, str(empty_run.lock))
    assert is_locked(empty_run), "asking did not keep the lock"


# --- killing -----------------------------------------------------------------------------------------------------

FAMILY = """
import subprocess, sys
child = '''
import subprocess, sys, time
print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)
time.sleep(60)
'''
first = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True, start_new_session=True)
grandchild = first.stdout.readline().strip()
print("ready", flush=True)
print(first.pid, grandchild, flush=True)
input()
"""


def test_a_worker_is_killed_with_its_children(children: Callable[..., subprocess.Popen[str]]) -> None:
    bystander, worker = children(WAITING), children(FAMILY)
    assert worker.stdout is not None
    family = [worker.pid, *map(int, worker.stdout.readline().split())]
    assert all(process_started(pid) for pid in family)
    status = Status(state=State.RUNNING, host=HERE, pid=worker.pid, pid_started=process_started(worker.pid))
    assert kill_worker(status)
    assert worker.wait(20) == -signal.SIGKILL, "its exit status is left for the launcher"
    wait_until(lambda: not any(process_started(pid) for pid in family))
    assert bystander.poll() is None
    assert not kill_worker(status), "there is none to kill any more"


def test_nothing_is_killed_that_is_not_the_worker(children: Callable[..., subprocess.Popen[str]]) -> None:
    child = children(WAITING)
    started = process_started(child.pid)
    assert started is not None
    right = Status(state=State.RUNNING, host=HERE, pid=child.pid, pid_started=started)
    for changes in (
        {"pid_started": started - 1000},  # a reused pid
        {"pid_started": None},
        {"pid": None},
        {"host": ELSEWHERE},
        {"host": ""},
    ):
        assert not kill_worker(right.model_copy(update=changes)), changes
        assert child.poll() is None
    assert kill_worker(right)
