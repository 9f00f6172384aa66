"""Attending to a worker and following a run, with small fake workers that write a run's files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fmnist_tui.console import watch
from fmnist_tui.console.views import JsonView
from fmnist_tui.console.watch import Attendant, Interrupts, exit_code, follow
from fmnist_tui.runs import lost, requests
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.status import ExitCode, State, Status
from fmnist_tui.runs.store import Run
from tests.unit.watched import Recorder, alive_here, change_status, evaluation, train_line, write_lines

WORKER = """
import json, os, sys, time
from pathlib import Path
run = Path(sys.argv[1])
import psutil
status = json.loads((run / "status.json").read_text())
def write(**values):
    status.update(values)
    (run / "new").write_text(json.dumps(status))
    (run / "new").replace(run / "status.json")
write(pid=os.getpid(), pid_started=psutil.Process().create_time(), state="running", epoch=1, epochs=3, step=2, steps=30)
print("the worker speaks", flush=True)
end = sys.argv[2]
while end in ("stop", "hang"):
    if (run / "control.json").exists() and end == "stop":
        write(state="stopped", exit_code=130)
        sys.exit(130)
    time.sleep(0.02)
if end == "crash":
    sys.exit(7)
write(state="finished", exit_code=0)
"""


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than for people."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.02)


def fake_worker(new_run: RunDirectory, end: str) -> subprocess.Popen[bytes]:
    """A process that behaves as a worker and ends in one of the ways of WORKER."""
    with new_run.worker_log.open("ab") as log:
        command = [sys.executable, "-c", WORKER, str(new_run.path), end]
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


# --- attending to a worker


def test_a_worker_is_watched_to_its_end(new_run: RunDirectory) -> None:
    view = Recorder()
    with Interrupts() as interrupts:
        ended = Attendant(new_run, fake_worker(new_run, "finish"), interrupts).watch(view)
    assert ended.state is State.FINISHED and exit_code(ended) == 0
    assert view.calls[0] == "start" and view.calls[-1] == "end"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_asks_for_a_stop(new_run: RunDirectory, number: int) -> None:
    sent = False

    def interrupt(current: Run) -> None:
        nonlocal sent
        if current.state is State.RUNNING and not sent:
            sent = True
            os.kill(os.getpid(), number)

    view = Recorder(interrupt)
    with Interrupts() as interrupts:
        ended = Attendant(new_run, fake_worker(new_run, "stop"), interrupts).watch(view)
    assert [request.request for request in requests.read_control(new_run).requests] == ["stop"]
    assert view.said == [watch.STOPPING]
    assert ended.state is State.STOPPED and exit_code(ended) == 130


@pytest.mark.parametrize("kept", [True, False])
def test_two_interrupts_kill_and_terminations_alone_never_do(new_run: RunDirectory, kept: bool) -> None:
    phase = 0
    if kept:
        new_run.checkpoint("last").parent.mkdir(exist_ok=True)
        new_run.checkpoint("last").touch()

    def interrupt(current: Run) -> None:
        nonlocal phase
        if current.state is State.RUNNING and phase < 6:
            os.kill(os.getpid(), signal.SIGTERM if phase < 4 else signal.SIGINT)
            phase += 1
            if phase == 4:
                assert worker.poll() is None, "SIGTERM, however often, does not kill"

    worker = fake_worker(new_run, "hang")
    with Interrupts() as interrupts:
        ended = Attendant(new_run, worker, interrupts).watch(Recorder(interrupt))
    assert worker.returncode == -signal.SIGKILL
    assert ended.state is State.FAILED and exit_code(ended) == ExitCode.STOPPED
    what = "what came after the last checkpoint is lost" if kept else "it had no checkpoint yet"
    assert ended.status is not None and ended.status.error == f"killed by the user; {what}"


def test_a_worker_that_has_no_pid_written_yet_can_be_killed(new_run: RunDirectory) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    with Interrupts() as interrupts:
        interrupts.interrupts = 2
        ended = Attendant(new_run, worker, interrupts).watch(Recorder())
    assert worker.returncode == -signal.SIGKILL
    assert ended.state is State.FAILED and exit_code(ended) == 130


def test_a_death_without_a_word_is_written_down_with_the_log(new_run: RunDirectory) -> None:
    with Interrupts() as interrupts:
        ended = Attendant(new_run, fake_worker(new_run, "crash"), interrupts).watch(Recorder())
    assert ended.state is State.FAILED and exit_code(ended) == ExitCode.FAILED
    assert ended.status is not None and ended.status.error is not None
    assert "exit code 7" in ended.status.error and "the worker speaks" in ended.status.error
    assert ended.status.ended is not None


def test_a_worker_that_does_not_leave_is_left_to_itself(new_run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EXIT_SECONDS", 0.1)
    worker = fake_worker(new_run, "hang")
    view = Recorder(
        lambda current: change_status(new_run, state=State.FINISHED, exit_code=0) if current.status else None
    )
    try:
        with Interrupts() as interrupts:
            ended = Attendant(new_run, worker, interrupts).watch(view)
        assert ended.state is State.FINISHED and worker.poll() is None
    finally:
        worker.kill()
        worker.wait()


def test_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert (interrupts.interrupts, interrupts.terminations) == (2, 1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize(
    ("state", "written", "code"),
    [
        (State.FINISHED, 0, 0),
        (State.STOPPED, 130, 130),
        (State.FAILED, 3, 3),
        (State.FAILED, None, 4),
        (State.STOPPED, None, 130),
        (State.LOST, None, 4),
    ],
)
def test_exit_codes(new_run: RunDirectory, state: State, written: int | None, code: int) -> None:
    status = Status(state=State.FAILED, exit_code=written)
    assert exit_code(Run(new_run, None, status, None, state)) == code


def test_the_log_tail_is_short_and_survives_bytes_that_are_no_text(new_run: RunDirectory) -> None:
    assert lost.log_tail(new_run) == ""
    new_run.worker_log.write_bytes(b"x" * 9000 + b"\n" + b"\n".join(b"line %d \xff" % n for n in range(30)))
    tail = lost.log_tail(new_run).splitlines()
    assert len(tail) == lost.LOG_TAIL_LINES and tail[-1].startswith("line 29 ")


# --- following a run of somebody's


def test_following_ends_with_the_run(new_run: RunDirectory) -> None:
    alive_here(new_run)
    view = Recorder(lambda current: change_status(new_run, state=State.STOPPED, exit_code=130))
    with Interrupts() as interrupts:
        last, ended = follow(new_run, view, interrupts)
    assert ended and last.state is State.STOPPED


def test_following_ends_with_ctrl_c_and_the_run_goes_on(new_run: RunDirectory) -> None:
    alive_here(new_run)
    view = Recorder(lambda current: os.kill(os.getpid(), signal.SIGINT))
    with Interrupts() as interrupts:
        last, ended = follow(new_run, view, interrupts)
    assert not ended and last.state is State.RUNNING
    assert requests.read_control(new_run).requests == []


def test_following_shows_only_the_recent_past_to_people_and_all_to_scripts(
    new_run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(new_run, *(evaluation(epoch, 50.0) for epoch in range(1, 31)), *(train_line(n, 0.1) for n in range(50)))
    change_status(new_run, state=State.STOPPED, exit_code=130, epochs=40)
    view = Recorder()
    with Interrupts() as interrupts:
        follow(new_run, view, interrupts)
        follow(new_run, JsonView(), interrupts)
    shown = [line.record.epoch for line in view.lines if isinstance(line.record, EvalRecord)]
    assert shown == list(range(31 - watch.RECENT_LINES, 31)) and len(view.lines) == len(shown)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["kind"] for record in printed] == ["run", *["eval"] * 30, *["train"] * 50, "status"]


def test_interrupts_are_counted_while_a_thread_waits() -> None:
    """The handler runs between two instructions of the main thread, also while it sleeps."""
    with Interrupts() as interrupts:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        until = time.monotonic() + 10
        while not interrupts.interrupts and time.monotonic() < until:
            time.sleep(0.02)
    assert interrupts.interrupts == 1
