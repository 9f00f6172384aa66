"""The worker as a process: alive or lost, locked or not, asked, killed and started; with real processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_tui.runs import process, requests, stopping
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import (
    ADDED,
    HEARTBEAT_LIMIT,
    STARTING_LIMIT,
    actual_state,
    is_locked,
    is_process,
    kill_worker,
    process_started,
    start_worker,
    users_environment,
    worker_environment,
)
from fmnist_tui.runs.records import seconds_since
from fmnist_tui.runs.requests import read_control, send_request
from fmnist_tui.runs.status import SlurmJob, State, Status
from fmnist_tui.runs.store import Run

ALIVE = [state for state in State if state.alive]
RESTING = [state for state in State if not state.alive and state is not State.LOST]
HERE, ELSEWHERE = socket.gethostname(), "another-host"


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The condition's value once it is true; fails after a bound."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)
    return value


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


@pytest.fixture
def run(runs_dir: Path) -> RunDirectory:
    directory = RunDirectory(runs_dir / "20260101-000000-x-aaaa")
    directory.path.mkdir(parents=True)
    return directory


@pytest.fixture
def children() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python processes that are gone when the test is over; each says 'ready' when its code says so."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


WAITING = "print('ready', flush=True); input()"


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

HOLD = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire(timeout=0)
print("ready", flush=True)
input()
"""


@pytest.mark.parametrize("end", ["kill", "leave"])
def test_the_lock_ends_with_its_process(
    end: str, run: RunDirectory, children: Callable[..., subprocess.Popen[str]]
) -> None:
    assert not is_locked(run)
    assert not run.lock.exists(), "asking makes no file"
    child = children(HOLD, str(run.lock))
    assert is_locked(run)
    assert is_locked(run), "asking does not take the lock away"
    if end == "kill":
        child.kill()
    else:
        child.communicate("\n")
    child.wait(20)
    assert not is_locked(run)
    children(HOLD, str(run.lock))
    assert is_locked(run), "asking did not keep the lock"


# --- requests ----------------------------------------------------------------------------------------------------

ASK = """
import sys
from pathlib import Path
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.requests import send_request
run = RunDirectory(Path(sys.argv[1]))
print("ready", flush=True)
input()
for i in range(30):
    send_request(run, "edit", epochs=int(sys.argv[2]) + i)
"""


def test_two_that_ask_at_once_lose_no_request(
    run: RunDirectory, children: Callable[..., subprocess.Popen[str]]
) -> None:
    askers = [children(ASK, str(run.path), start) for start in ("100", "200")]
    for asker in askers:
        assert asker.stdin is not None
        asker.stdin.write("\n")
        asker.stdin.flush()
    for _ in range(200):
        read_control(run)  # a reader in between meets no half-written file
    assert [asker.wait(60) for asker in askers] == [0, 0]
    requests = read_control(run).requests
    asked = [request.epochs for request in requests if request.epochs]
    assert sorted(asked) == [*range(100, 130), *range(200, 230)]
    assert [epochs for epochs in asked if epochs < 200] == list(range(100, 130)), "in the order they were sent"
    assert len({request.id for request in requests}) == 60
    assert {path.name for path in run.path.iterdir()} == {"control.json", run.control_lock.name}


def test_a_request_is_written_and_returned(run: RunDirectory) -> None:
    assert read_control(run).requests == []
    stop = send_request(run, "stop")
    edit = send_request(run, "edit", epochs=12, stop_at_accuracy=94.5)
    assert read_control(run).requests == [stop, edit]
    assert (edit.epochs, edit.stop_at_accuracy, stop.epochs) == (12, 94.5, None)
    assert seconds_since(stop.time) < 60


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"requests": [{"id": 1}]}', b"\xff"])
def test_a_damaged_control_file_holds_no_requests(content: bytes, run: RunDirectory) -> None:
    run.control.write_bytes(content)
    assert read_control(run).requests == []
    made = send_request(run, "checkpoint")
    assert read_control(run).requests == [made]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
a_request = st.fixed_dictionaries(
    {"id": st.text(max_size=4) | json_values, "request": st.sampled_from(["stop", "edit", "shutdown"]) | json_values},
    optional={"epochs": json_values, "stop_at_accuracy": json_values, "time": json_values, "command": json_values},
)
contents = st.binary(max_size=60) | (
    st.lists(a_request, max_size=3).map(lambda made: json.dumps({"requests": made}).encode())
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=contents)
def test_no_control_file_does_more_than_ask(content: bytes, run: RunDirectory) -> None:
    """Whatever is in it: nothing, or requests of the four kinds within their bounds; and one can still ask."""
    run.control.write_bytes(content)
    for found in read_control(run).requests:
        assert found.request in ("stop", "stop_after_epoch", "checkpoint", "edit")
        assert found.epochs is None or 1 <= found.epochs <= 100_000
        assert found.stop_at_accuracy is None or 0 <= found.stop_at_accuracy <= 100
    made = send_request(run, "stop")
    assert read_control(run).requests[-1] == made
    assert {path.name for path in run.path.iterdir()} <= {"control.json", "control.lock"}


@pytest.mark.parametrize(
    ("request_", "values", "message"),
    [
        ("edit", {"epochs": 0}, "epochs = 0: must be at least 1"),
        ("edit", {"epochs": 100_001}, "epochs = 100001: must be at most 100000"),
        ("edit", {"epochs": 1.5}, "epochs = 1.5: must be a whole number"),
        ("edit", {"epochs": "many"}, "epochs = 'many': must be a whole number"),
        ("edit", {"stop_at_accuracy": 101}, "stop_at_accuracy = 101: must be at most 100"),
        ("edit", {"stop_at_accuracy": float("nan")}, "stop_at_accuracy = nan"),
        ("edit", {"epoch": 5}, "epoch: cannot be edited; did you mean epochs?"),
        ("edit", {"zzz": 5}, "zzz: cannot be edited; what can is epochs and stop_at_accuracy"),
        ("edit", {"id": "mine"}, "id: cannot be edited"),
        ("explode", {}, "request = 'explode': must be one of stop, stop_after_epoch, checkpoint, edit"),
    ],
)
def test_bad_requests_are_refused_and_not_written(
    request_: Any, values: dict[str, Any], message: str, run: RunDirectory
) -> None:
    with pytest.raises(ValueError) as caught:
        send_request(run, request_, **values)
    assert message in str(caught.value)
    assert not run.control.exists()


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


def disk_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests; everything else is written as ever."""

    def full(path: Path, data: bytes, durable: bool = False) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(requests, "replace_bytes", full)


def test_a_request_on_a_full_disk_is_refused_and_the_earlier_ones_stand(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_request(run, "edit", epochs=12)
    disk_full(monkeypatch)
    with pytest.raises(ValueError, match=r"cannot be asked: No space left on device: .*make room there and ask again"):
        send_request(run, "checkpoint")
    assert [request.request for request in read_control(run).requests] == ["edit"]


def a_worker(children: Callable[..., subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """One that says which signals it got."""
    code = (
        "import signal, sys\n"
        "for n in (signal.SIGTERM, signal.SIGINT):\n"
        "    signal.signal(n, lambda n, _: print(signal.Signals(n).name, flush=True))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    return children(code)


@pytest.mark.parametrize(("job", "name"), [(None, "SIGTERM"), (SlurmJob(id="12"), "SIGINT")])
def test_a_stop_that_cannot_be_written_is_a_signal_and_only_one(
    job: SlurmJob | None,
    name: str,
    run: RunDirectory,
    children: Callable[..., subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To a worker in a Slurm job SIGTERM would mean that Slurm ends this start, and the run would wait for the next."""
    disk_full(monkeypatch)
    worker = a_worker(children)
    status = {"pid": worker.pid, "pid_started": process.process_started(worker.pid), "host": socket.gethostname()}
    at_work = Run(run, None, Status(state=State.RUNNING, job=job, **status), None, State.RUNNING)
    with pytest.raises(ValueError, match="or stop it at once, by a signal"):
        stopping.ask(at_work, after_epoch=True)
    answer = stopping.ask(at_work)
    assert answer.how == "signalled" and "could not be written (No space left on device)" in answer.signal_words
    assert stopping.ask(at_work) == answer
    assert worker.stdout is not None and worker.stdout.readline() == name + "\n"
    assert worker.communicate("", timeout=20) == ("", None), "a second signal did not come"


def test_no_signal_goes_to_another_machine(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_full(monkeypatch)
    status = Status(state=State.RUNNING, pid=os.getpid(), pid_started=psutil.Process().create_time(), host="elsewhere")
    with pytest.raises(ValueError, match="cannot be asked: No space left on device"):
        stopping.ask(Run(run, None, status, None, State.RUNNING))


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


# --- starting ----------------------------------------------------------------------------------------------------

WORKER = """
import faulthandler, json, os, random, signal, sys
facts = json.dumps({
    "pid": os.getpid(), "session": os.getsid(0), "arguments": sys.argv[1:], "stdin": sys.stdin.read(),
    "faulthandler": faulthandler.is_enabled(), "cwd": os.getcwd(), "given": os.environ.get("GIVEN"),
    "waits": os.environ["OMP_WAIT_POLICY"], "spins": os.environ["GOMP_SPINCOUNT"],
    "random": random.__file__, "open": sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else [],
})
sys.stdout.write(facts + "\\n")  # in one write: print makes two, and the line of another worker may come in between
sys.stderr.write("to stderr\\n")
os._exit(3)  # without flushing: what was printed is there already
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package before the real one, whose worker says what it was given."""
    training = tmp_path / "stand-in" / "fmnist_tui" / "training"
    training.mkdir(parents=True)
    (training.parent / "__init__.py").touch()
    (training / "__init__.py").touch()
    (training / "__main__.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stand-in"))
    monkeypatch.setenv("GIVEN", "yes")
    return training


def test_what_a_worker_has_besides_the_users_environment_can_be_taken_out_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where one process of ours has started the other, and not what the user has set."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "PYTHONFAULTHANDLER", ADDED):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    users = dict(os.environ)
    assert users_environment() == users
    for _ in range(2):
        for name, value in worker_environment().items():
            monkeypatch.setenv(name, value)
        assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("PASSIVE", "1000")
        assert os.environ["PYTHONFAULTHANDLER"] == "1"
        assert users_environment() == users
    for name in (ADDED, "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert worker_environment()["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in worker_environment(), "it would make the user's choice a passive one"


@pytest.mark.usefixtures("stand_in")
def test_a_worker_starts_detached_with_its_output_in_the_log(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('a file of the user was imported')")
    read, write = os.pipe()
    os.write(write, b"typed by the user")
    os.set_inheritable(write, True)
    terminal = os.dup(0)
    os.dup2(read, 0)
    try:
        started = [start_worker(run), start_worker(run)]
        assert [worker.wait(30) for worker in started] == [3, 3]
    finally:
        os.dup2(terminal, 0)
        for handle in (read, write, terminal):
            os.close(handle)
    log = run.worker_log.read_text().splitlines()
    assert log.count("to stderr") == 2, "a second start appends"
    told = [json.loads(line) for line in log if line.startswith("{")]
    assert {facts["pid"] for facts in told} == {worker.pid for worker in started}
    for facts in told:
        assert facts["session"] == facts["pid"], "a session of its own: no Ctrl-C, no hangup"
        assert facts["session"] != os.getsid(0)
        assert (facts["waits"], facts["spins"]) == ("PASSIVE", "1000")
        assert facts["arguments"] == [str(run.path)]
        assert (facts["stdin"], facts["given"], facts["faulthandler"]) == ("", "yes", True)
        assert facts["cwd"] == str(tmp_path)
        assert set(facts["open"]) <= {"0", "1", "2", "3"}, "nothing of the launcher's is open; 3 lists the others"
        assert not facts["random"].startswith(str(tmp_path))


def test_the_real_worker_of_an_empty_directory_says_what_is_wrong(run: RunDirectory) -> None:
    worker = start_worker(run)
    assert worker.wait(60) == 2
    assert "is not a run that can be started" in run.worker_log.read_text()


@pytest.mark.usefixtures("stand_in")
def test_a_worker_that_dies_before_its_first_word_is_lost_at_once(run: RunDirectory) -> None:
    run.status.write_text(Status(state=State.STARTING).to_json())
    worker = start_worker(run)
    status = Status.model_validate_json(run.status.read_bytes())
    assert (status.state, status.pid, status.host) == (State.STARTING, worker.pid, HERE)
    assert worker.wait(30) == 3
    assert actual_state(status) is State.LOST
    assert not is_locked(run)


@pytest.mark.usefixtures("stand_in")
def test_the_pid_of_a_worker_at_work_is_left_alone(
    run: RunDirectory, children: Callable[..., subprocess.Popen[str]]
) -> None:
    at_work = children(HOLD, str(run.lock))
    run.status.write_text(Status(state=State.RUNNING, pid=at_work.pid).to_json())
    before = run.status.read_bytes()
    assert start_worker(run).wait(30) == 3
    assert run.status.read_bytes() == before


@pytest.mark.usefixtures("stand_in")
def test_a_signal_waits_for_the_worker_to_listen(run: RunDirectory, stand_in: Path) -> None:
    """SIGTERM before the handler is there would kill it without a word."""
    (stand_in / "__main__.py").write_text(
        "import signal, sys\n"
        "print('up', flush=True)\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])\n"
        "print('not reached', flush=True)\n"
    )
    worker = start_worker(run)
    worker.terminate()
    assert worker.wait(30) == 7
    assert run.worker_log.read_text() == "up\n"
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, []), "the launcher's own are as before"


@pytest.mark.usefixtures("stand_in")
def test_ctrl_c_in_the_terminal_does_not_reach_a_worker(
    run: RunDirectory, stand_in: Path, children: Callable[..., subprocess.Popen[str]]
) -> None:
    (stand_in / "__main__.py").write_text("print('up'); import time; time.sleep(60)")
    launcher = """
import os, signal, sys
from pathlib import Path
sys.path[:] = [path for path in sys.path if "stand-in" not in path]
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import start_worker
os.setpgid(0, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
worker = start_worker(RunDirectory(Path(sys.argv[1])))
print("ready", flush=True)
print(worker.pid, flush=True)
input()
"""
    starter = children(launcher, str(run.path))
    assert starter.stdout is not None
    worker = int(starter.stdout.readline())
    try:
        wait_until(lambda: run.worker_log.read_text() == "up\n")
        os.killpg(starter.pid, signal.SIGINT)
        assert starter.wait(20) == -signal.SIGINT
        assert process_started(worker) is not None
    finally:
        os.kill(worker, signal.SIGKILL)


def test_the_command_names_this_interpreter(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Started:
        pid = os.getpid()

        def __init__(self, command: list[str], **_: Any) -> None:
            given.append(command)

    monkeypatch.setattr("subprocess.Popen", Started)
    start_worker(run)
    assert given == [[sys.executable, "-m", "fmnist_tui.training", str(run.path)]]
