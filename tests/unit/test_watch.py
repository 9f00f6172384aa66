"""Attending to a worker and following a run, with small fake workers that write a run's files."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from fmnist_tui.console import watch
from fmnist_tui.console.feed import Line, RunFeed
from fmnist_tui.console.live import LiveView
from fmnist_tui.console.views import JsonView, PlainView
from fmnist_tui.console.watch import Attendant, Interrupts, exit_code, follow
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import lost, process, requests, starting, store
from fmnist_tui.runs.files import LineWriter, replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, TrainRecord
from fmnist_tui.runs.records import Record
from fmnist_tui.runs.status import ExitCode, State, Status
from fmnist_tui.runs.store import Run

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


class Recorder:
    """A view that keeps what it is told, and calls a hook at each update."""

    def __init__(self, on_update: Callable[[Run], None] = lambda run: None) -> None:
        self.lines: list[Line] = []
        self.said: list[str] = []
        self.calls: list[str] = []
        self.on_update = on_update

    def start(self, run: Run) -> None:
        self.calls.append("start")

    def update(self, run: Run, lines: Sequence[Line]) -> None:
        self.lines += lines
        self.calls.append("update")
        self.on_update(run)

    def say(self, message: str) -> None:
        self.said.append(message)

    def end(self, run: Run) -> None:
        self.calls.append("end")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than for people."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.02)


@pytest.fixture
def run(runs_dir: Path) -> RunDirectory:
    """A run that has just been made."""
    return starting.create_run(runs_dir, load_preset("quick"), device="cpu")


def fake_worker(run: RunDirectory, end: str) -> subprocess.Popen[bytes]:
    """A process that behaves as a worker and ends in one of the ways of WORKER."""
    with run.worker_log.open("ab") as log:
        command = [sys.executable, "-c", WORKER, str(run.path), end]
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def change_status(run: RunDirectory, **values: object) -> None:
    """Write values into status.json, as a worker of this process."""
    current = Status.model_validate_json(run.status.read_bytes())
    replace_bytes(run.status, current.model_copy(update=values).to_json().encode())


def alive_here(run: RunDirectory, **values: object) -> None:
    """Make this test's own process the run's worker, at work."""
    started = process.process_started(os.getpid())
    change_status(run, state=State.RUNNING, pid=os.getpid(), pid_started=started, **values)


def write_lines(run: RunDirectory, *records: Record) -> None:
    writer = LineWriter(run.metrics)
    writer.write("".join(record.to_json() + "\n" for record in records))
    writer.close()


def evaluation(epoch: int, accuracy: float, time: str = "2026-11-23T10:00:00.000Z") -> EvalRecord:
    return EvalRecord(
        time=time,
        epoch=epoch,
        step=47 * epoch,
        test_loss=0.5,
        test_accuracy=accuracy,
        train_loss=0.25,
        train_accuracy=accuracy + 1,
        seconds=0.1,
    )


def train_line(step: int, loss: float) -> TrainRecord:
    return TrainRecord(step=step, epoch=1, loss=loss, loss_min=loss, loss_max=loss, lr=0.1, images_per_second=1000.0)


# --- attending to a worker


def test_a_worker_is_watched_to_its_end(run: RunDirectory) -> None:
    view = Recorder()
    with Interrupts() as interrupts:
        ended = Attendant(run, fake_worker(run, "finish"), interrupts).watch(view)
    assert ended.state is State.FINISHED and exit_code(ended) == 0
    assert view.calls[0] == "start" and view.calls[-1] == "end"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_asks_for_a_stop(run: RunDirectory, number: int) -> None:
    sent = False

    def interrupt(current: Run) -> None:
        nonlocal sent
        if current.state is State.RUNNING and not sent:
            sent = True
            os.kill(os.getpid(), number)

    view = Recorder(interrupt)
    with Interrupts() as interrupts:
        ended = Attendant(run, fake_worker(run, "stop"), interrupts).watch(view)
    assert [request.request for request in requests.read_control(run).requests] == ["stop"]
    assert view.said == [watch.STOPPING]
    assert ended.state is State.STOPPED and exit_code(ended) == 130


def test_two_interrupts_kill_and_terminations_alone_never_do(run: RunDirectory) -> None:
    phase = 0

    def interrupt(current: Run) -> None:
        nonlocal phase
        if current.state is State.RUNNING and phase < 6:
            os.kill(os.getpid(), signal.SIGTERM if phase < 4 else signal.SIGINT)
            phase += 1
            if phase == 4:
                assert worker.poll() is None, "SIGTERM, however often, does not kill"

    worker = fake_worker(run, "hang")
    with Interrupts() as interrupts:
        ended = Attendant(run, worker, interrupts).watch(Recorder(interrupt))
    assert worker.returncode == -signal.SIGKILL
    assert ended.state is State.FAILED and exit_code(ended) == ExitCode.STOPPED
    assert ended.status is not None and "killed by the user" in (ended.status.error or "")


def test_a_worker_that_has_no_pid_written_yet_can_be_killed(run: RunDirectory) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    with Interrupts() as interrupts:
        interrupts.interrupts = 2
        ended = Attendant(run, worker, interrupts).watch(Recorder())
    assert worker.returncode == -signal.SIGKILL
    assert ended.state is State.FAILED and exit_code(ended) == 130


def test_a_death_without_a_word_is_written_down_with_the_log(run: RunDirectory) -> None:
    with Interrupts() as interrupts:
        ended = Attendant(run, fake_worker(run, "crash"), interrupts).watch(Recorder())
    assert ended.state is State.FAILED and exit_code(ended) == ExitCode.FAILED
    assert ended.status is not None and ended.status.error is not None
    assert "exit code 7" in ended.status.error and "the worker speaks" in ended.status.error
    assert ended.status.ended is not None


def test_a_worker_that_does_not_leave_is_left_to_itself(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EXIT_SECONDS", 0.1)
    worker = fake_worker(run, "hang")
    view = Recorder(lambda current: change_status(run, state=State.FINISHED, exit_code=0) if current.status else None)
    try:
        with Interrupts() as interrupts:
            ended = Attendant(run, worker, interrupts).watch(view)
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
def test_exit_codes(run: RunDirectory, state: State, written: int | None, code: int) -> None:
    status = Status(state=State.FAILED, exit_code=written)
    assert exit_code(Run(run, None, status, None, state)) == code


def test_the_log_tail_is_short_and_survives_bytes_that_are_no_text(run: RunDirectory) -> None:
    assert lost.log_tail(run) == ""
    run.worker_log.write_bytes(b"x" * 9000 + b"\n" + b"\n".join(b"line %d \xff" % n for n in range(30)))
    tail = lost.log_tail(run).splitlines()
    assert len(tail) == lost.LOG_TAIL_LINES and tail[-1].startswith("line 29 ")


# --- following a run of somebody's


def test_following_ends_with_the_run(run: RunDirectory) -> None:
    alive_here(run)
    view = Recorder(lambda current: change_status(run, state=State.STOPPED, exit_code=130))
    with Interrupts() as interrupts:
        last, ended = follow(run, view, interrupts)
    assert ended and last.state is State.STOPPED


def test_following_ends_with_ctrl_c_and_the_run_goes_on(run: RunDirectory) -> None:
    alive_here(run)
    view = Recorder(lambda current: os.kill(os.getpid(), signal.SIGINT))
    with Interrupts() as interrupts:
        last, ended = follow(run, view, interrupts)
    assert not ended and last.state is State.RUNNING
    assert requests.read_control(run).requests == []


def test_following_shows_only_the_recent_past_to_people_and_all_to_scripts(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(run, *(evaluation(epoch, 50.0) for epoch in range(1, 31)), *(train_line(n, 0.1) for n in range(50)))
    change_status(run, state=State.STOPPED, exit_code=130, epochs=40)
    view = Recorder()
    with Interrupts() as interrupts:
        follow(run, view, interrupts)
        follow(run, JsonView(), interrupts)
    shown = [line.record.epoch for line in view.lines if isinstance(line.record, EvalRecord)]
    assert shown == list(range(31 - watch.RECENT_LINES, 31)) and len(view.lines) == len(shown)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["kind"] for record in printed] == ["run", *["eval"] * 30, *["train"] * 50, "status"]


# --- reading


def test_the_feed_gives_each_line_once_and_never_half_a_line(run: RunDirectory) -> None:
    feed = RunFeed(run)
    assert feed.read()[1] == []
    write_lines(run, evaluation(1, 50.0))
    with run.metrics.open("ab") as file:
        file.write(evaluation(2, 60.0).to_json().encode()[:20])
    assert [line.record for line in feed.read()[1]] == [evaluation(1, 50.0)]
    with run.metrics.open("ab") as file:
        file.write(evaluation(2, 60.0).to_json().encode()[20:] + b"\nnot a record\n")
    assert [line.record for line in feed.read()[1]] == [evaluation(2, 60.0)]
    assert feed.read()[1] == []


def test_the_feed_of_a_resumed_run_passes_over_its_past(run: RunDirectory) -> None:
    old = [evaluation(n, 50.0, f"2026-11-23T10:00:0{n}.000Z") for n in (1, 2, 3)]
    write_lines(run, *old)
    feed = RunFeed(run, since="2026-11-23T10:30:00.000Z")
    assert feed.read()[1] == []
    new = evaluation(3, 70.0, "2026-11-23T10:31:00.000Z")
    kept = "".join(record.to_json() + "\n" for record in (*old[:2], new))  # the worker cut the file at its checkpoint
    replace_bytes(run.metrics, kept.encode())
    assert [line.record for line in feed.read()[1]] == [new]


def test_a_follower_of_a_run_that_is_resumed_meanwhile_sees_no_line_twice(run: RunDirectory) -> None:
    old = [evaluation(n, 50.0, f"2026-11-23T10:00:0{n}.000Z") for n in (1, 2, 3)]
    write_lines(run, *old)
    feed = RunFeed(run)
    assert len(feed.read()[1]) == 3
    new = evaluation(3, 70.0, "2026-11-23T10:31:00.000Z")
    replace_bytes(run.metrics, "".join(record.to_json() + "\n" for record in (*old[:2], new)).encode())
    assert [line.record for line in feed.read()[1]] == [new]


# --- what it looks like


def test_plain_lines_tell_evaluations_and_events_and_hold_no_control_codes(run: RunDirectory) -> None:
    output = io.StringIO()
    view = PlainView(Console(file=output, markup=False, highlight=False, width=60))
    alive_here(run, epochs=12)
    event = EventRecord(event="warning", message="[red]about 5 days[/red] at 16 images/s on this CPU")
    checkpoint = EventRecord(event="checkpoint", message="written")
    write_lines(run, train_line(1, 2.3), evaluation(3, 81.234), event, checkpoint)
    state, lines = RunFeed(run).read()
    view.start(state)
    view.update(state, lines)
    assert output.getvalue().splitlines() == [
        f"run {run.id}",
        "epoch  3/12  test 81.23 %  train 82.23 %  test loss 0.5  train loss 0.25",
        "warning: [red]about 5 days[/red] at 16 images/s on this CPU",
    ]


def test_json_lines_are_strict_even_where_the_loss_is_not_finite(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(run, train_line(1, float("nan")))
    change_status(run, state=State.FAILED, loss=float("inf"), exit_code=4, error="the loss was not finite")
    view = JsonView()
    state, lines = RunFeed(run).read()
    view.start(state)
    view.update(state, lines)
    view.end(state)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    first, line, last = (json.loads(text, parse_constant=refuse) for text in capsys.readouterr().out.splitlines())
    assert first == {"kind": "run", "id": run.id, "directory": str(run.path)}
    assert (line["kind"], line["loss"]) == ("train", "NaN")
    assert (last["kind"], last["state"], last["loss"]) == ("status", "failed", "Infinity")


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_display_fits_and_shows_the_run(run: RunDirectory, width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, height=24, color_system=None, markup=False)
    view = LiveView(console)
    alive_here(
        run,
        epoch=3,
        epochs=8,
        step=110,
        steps=376,
        steps_per_epoch=47,
        loss=0.41234,
        lr=0.0812345,
        test_accuracy=81.0,
        best_accuracy=83.5,
        best_epoch=1,
        images_per_second=2345.6,
        eta_seconds=80.0,
        device_name="AMD EPYC, 2 threads",
    )
    write_lines(run, evaluation(2, 81.0))
    state, lines = RunFeed(run).read()
    view.start(state)
    view.update(state, lines)
    view.say("Stopping")
    view.update(state, [])
    view.close()
    screen = output.getvalue()
    with console.capture() as capture:
        console.print(view.render(state))
    shown = capture.get().splitlines()
    assert all(len(line) <= width for line in shown)
    text = "\n".join(shown)
    for part in (
        "● running",
        run.id,
        "cpu, AMD EPYC",
        "epoch 3 of 8  29.3 %",
        "1 m 20 s left",
        "step 16 of 47",
        "2,346 img/s",
        "test 81.00 %",
        "train 82.00 %",
        "best 83.50 % (epoch 1)",
        "loss 0.4123",
        "lr 0.08123",
        "Stopping",
    ):
        assert part in text, part
    assert "epoch 2/8  test 81.00 %" in screen
    assert screen.rfind("\x1b[?25h") > screen.rfind("\x1b[?25l") >= 0, "the cursor comes back"


def test_the_live_display_before_the_first_step_and_with_a_loss_that_is_not_finite(run: RunDirectory) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    view = LiveView(console)
    with console.capture() as capture:
        console.print(view.render(store.load_run(run)))
    assert "starting" in capture.get() and "epoch" not in capture.get()
    alive_here(run, step=1, steps=10, steps_per_epoch=5, epoch=1, epochs=2, loss=float("nan"))
    with console.capture() as capture:
        console.print(view.render(store.load_run(run)))
    assert "loss nan" in capture.get() and "test" not in capture.get()


def test_interrupts_are_counted_while_a_thread_waits() -> None:
    """The handler runs between two instructions of the main thread, also while it sleeps."""
    with Interrupts() as interrupts:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        until = time.monotonic() + 10
        while not interrupts.interrupts and time.monotonic() < until:
            time.sleep(0.02)
    assert interrupts.interrupts == 1
