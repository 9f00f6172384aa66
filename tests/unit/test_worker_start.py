"""How a worker is started: detached, with its log and its environment, its pid written down; mostly with stand-ins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import (
    ADDED,
    actual_state,
    is_locked,
    process_started,
    start_worker,
    users_environment,
    worker_environment,
)
from fmnist_tui.runs.status import State, Status
from tests.unit.child_processes import HERE, HOLD, wait_until

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
def test_a_worker_starts_detached_with_its_output_in_the_log(empty_run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('a file of the user was imported')")
    read, write = os.pipe()
    os.write(write, b"typed by the user")
    os.set_inheritable(write, True)
    terminal = os.dup(0)
    os.dup2(read, 0)
    try:
        started = [start_worker(empty_run), start_worker(empty_run)]
        assert [worker.wait(30) for worker in started] == [3, 3]
    finally:
        os.dup2(terminal, 0)
        for handle in (read, write, terminal):
            os.close(handle)
    log = empty_run.worker_log.read_text().splitlines()
    assert log.count("to stderr") == 2, "a second start appends"
    told = [json.loads(line) for line in log if line.startswith("{")]
    assert {facts["pid"] for facts in told} == {worker.pid for worker in started}
    for facts in told:
        assert facts["session"] == facts["pid"], "a session of its own: no Ctrl-C, no hangup"
        assert facts["session"] != os.getsid(0)
        assert (facts["waits"], facts["spins"]) == ("PASSIVE", "1000")
        assert facts["arguments"] == [str(empty_run.path)]
        assert (facts["stdin"], facts["given"], facts["faulthandler"]) == ("", "yes", True)
        assert facts["cwd"] == str(tmp_path)
        assert set(facts["open"]) <= {"0", "1", "2", "3"}, "nothing of the launcher's is open; 3 lists the others"
        assert not facts["random"].startswith(str(tmp_path))


def test_the_real_worker_of_an_empty_directory_says_what_is_wrong(empty_run: RunDirectory) -> None:
    worker = start_worker(empty_run)
    assert worker.wait(60) == 2
    assert "is not a run that can be started" in empty_run.worker_log.read_text()


@pytest.mark.usefixtures("stand_in")
def test_a_worker_that_dies_before_its_first_word_is_lost_at_once(empty_run: RunDirectory) -> None:
    empty_run.status.write_text(Status(state=State.STARTING).to_json())
    worker = start_worker(empty_run)
    status = Status.model_validate_json(empty_run.status.read_bytes())
    assert (status.state, status.pid, status.host) == (State.STARTING, worker.pid, HERE)
    assert worker.wait(30) == 3
    assert actual_state(status) is State.LOST
    assert not is_locked(empty_run)


@pytest.mark.usefixtures("stand_in")
def test_the_pid_of_a_worker_at_work_is_left_alone(
    empty_run: RunDirectory, children: Callable[..., subprocess.Popen[str]]
) -> None:
    at_work = children(HOLD, str(empty_run.lock))
    empty_run.status.write_text(Status(state=State.RUNNING, pid=at_work.pid).to_json())
    before = empty_run.status.read_bytes()
    assert start_worker(empty_run).wait(30) == 3
    assert empty_run.status.read_bytes() == before


@pytest.mark.usefixtures("stand_in")
def test_a_signal_waits_for_the_worker_to_listen(empty_run: RunDirectory, stand_in: Path) -> None:
    """SIGTERM before the handler is there would kill it without a word."""
    (stand_in / "__main__.py").write_text(
        "import signal, sys\n"
        "print('up', flush=True)\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])\n"
        "print('not reached', flush=True)\n"
    )
    worker = start_worker(empty_run)
    worker.terminate()
    assert worker.wait(30) == 7
    assert empty_run.worker_log.read_text() == "up\n"
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, []), "the launcher's own are as before"


@pytest.mark.usefixtures("stand_in")
def test_ctrl_c_in_the_terminal_does_not_reach_a_worker(
    empty_run: RunDirectory, stand_in: Path, children: Callable[..., subprocess.Popen[str]]
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
    starter = children(launcher, str(empty_run.path))
    assert starter.stdout is not None
    worker = int(starter.stdout.readline())
    try:
        wait_until(lambda: empty_run.worker_log.read_text() == "up\n")
        os.killpg(starter.pid, signal.SIGINT)
        assert starter.wait(20) == -signal.SIGINT
        assert process_started(worker) is not None
    finally:
        os.kill(worker, signal.SIGKILL)


def test_the_command_names_this_interpreter(empty_run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Started:
        pid = os.getpid()

        def __init__(self, command: list[str], **_: Any) -> None:
            given.append(command)

    monkeypatch.setattr("subprocess.Popen", Started)
    start_worker(empty_run)
    assert given == [[sys.executable, "-m", "fmnist_tui.training", str(empty_run.path)]]
