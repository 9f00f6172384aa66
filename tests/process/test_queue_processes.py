"""The device queue with real processes: never two on a device, order kept, killed holders and waiters, real workers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from fmnist_tui.runs import process, queue, requests, starting, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EventRecord, parse_metric
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.tickets import Device, queue_directory
from tests.events import messages
from tests.process.crowd import CPU, FOREVER, Crowd
from tests.process.workers import Start, config, status_of, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


# --- many processes ----------------------------------------------------------------------------------------------


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    crowd = Crowd(tmp_path)
    yield crowd
    crowd.end()


def waiting() -> list[str]:
    return [entry.run_id for found in queue.snapshot() for entry in found.waiting]


def waits_like(names: list[str]) -> bool:
    return waiting() == names


def on() -> list[str]:
    return [entry.run_id for found in queue.snapshot() for entry in found.on]


def test_the_order_is_kept(crowd: Crowd) -> None:
    names = [f"run{n}" for n in range(10)]
    crowd.add("holder", births=FOREVER)
    wait_until(lambda: on() == ["holder"], "the holder")
    for at, name in enumerate(names):
        crowd.add(name)
        wait_until(partial(waits_like, names[: at + 1]), name)
    queue.move("run9", 1)
    queue.move("run3", 5)
    order = ["run9", "run0", "run1", "run2", "run3", "run4", "run5", "run6", "run7", "run8"]
    assert waiting() == order
    crowd.kill("holder")
    crowd.join()
    assert [line.split()[1] for line in crowd.log() if line.startswith("begin")] == ["holder", *order]
    assert not any(line.startswith("NOT ALONE") for line in crowd.log())


def test_never_two_whoever_is_killed_when(crowd: Crowd) -> None:
    chance = random.Random(20261123)
    for n in range(10):
        crowd.add(f"first{n}", births=chance.randint(0, 4))
    kills = 0
    while kills < 40:
        time.sleep(chance.uniform(0.0, 0.04))
        alive = crowd.alive()
        if len(alive) > 4:
            crowd.kill(chance.choice(alive))
            kills += 1
        crowd.add(f"more{len(crowd.processes)}", births=chance.randint(0, 4))
        assert len(crowd.processes) < 400, "too few are alive at once to kill one"
    crowd.join()
    log = crowd.log()
    assert not any(line.startswith("NOT ALONE") for line in log)
    finished = sum(member.exitcode == 0 for member in crowd.processes.values())
    assert sum(line.startswith("end") for line in log) >= finished > 5
    assert queue.snapshot() == []
    last = Place(RunDirectory(crowd.directory / "last"), [CPU])
    assert last.take() == CPU
    last.leave()
    names = {path.name for path in queue_directory().iterdir()}
    assert names == {"queue.json", "queue.lock", "device-cpu.lock"}, "nothing of the dead is left"


def test_a_suspended_process_in_the_list_does_not_hang_the_others(crowd: Crowd) -> None:
    from filelock import FileLock

    queue_directory().mkdir(parents=True)
    with FileLock(queue_directory() / "queue.lock"):
        place = Place(RunDirectory(crowd.directory / "a"), [CPU])
        began = time.monotonic()
        assert place.take() is None
        assert time.monotonic() - began < 10, "it can still answer a request to stop"
    assert place.take() == CPU
    place.leave()


def test_a_process_that_replaces_its_program_keeps_its_device(tmp_path: Path) -> None:
    """What a worker does to begin anew after its device failed: nobody gets in between."""
    code = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.tickets import Device
place = Place(RunDirectory(Path({str(tmp_path)!r}) / "again"), [Device(key="cpu", name="cpu")])
taken = place.take()
print("has" if taken else "waits", flush=True)
if len(sys.argv) == 1:
    input()
    place.keep_for_new_program()
    os.execv(sys.executable, [sys.executable, __file__, "anew"])
input()
place.leave()
"""
    script = tmp_path / "again.py"
    script.write_text(code)
    again = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert again.stdin and again.stdout and again.stdout.readline() == "has\n"
        rival = Place(RunDirectory(tmp_path / "rival"), [CPU])
        assert rival.take() is None
        again.stdin.write("\n")
        again.stdin.flush()
        looks = 0
        os.set_blocking(again.stdout.fileno(), False)
        said = ""
        until = time.monotonic() + 120
        while not (said := again.stdout.readline()):
            assert time.monotonic() < until
            assert rival.take() is None
            looks += 1
        assert said == "has\n" and looks > 3
        assert rival.take() is None
        again.stdin.write("\n")
        again.stdin.flush()
        assert again.wait(30) == 0
        assert rival.take() == CPU
        rival.leave()
    finally:
        again.kill()
        again.communicate()


# --- real workers ------------------------------------------------------------------------------------------------


class Holder:
    """A run at work on the CPU, as far as anybody can see, for as long as a test wants."""

    def __init__(self, runs_dir: Path, eta_seconds: float | None = None) -> None:
        self.run = starting.create_run(runs_dir, config(), "cpu")
        self.place = Place(self.run, [CPU])
        assert self.place.take() == CPU
        self.say(eta_seconds)

    def say(self, eta_seconds: float | None) -> None:
        pid = os.getpid()
        at_work = {"state": State.RUNNING, "pid": pid, "pid_started": process.process_started(pid)}
        self._write(**at_work, eta_seconds=eta_seconds)

    def end(self) -> None:
        self._write(state=State.FINISHED, eta_seconds=None)
        self.place.leave()

    def _write(self, **values: Any) -> None:
        status = status_of(self.run).model_copy(update={"heartbeat": utc_now(), **values})
        self.run.status.write_text(status.to_json())


@pytest.fixture
def hold(runs_dir: Path) -> Iterator[Callable[..., Holder]]:
    holders: list[Holder] = []

    def hold(eta_seconds: float | None = None, where: Path = runs_dir) -> Holder:
        holders.append(Holder(where, eta_seconds))
        return holders[-1]

    yield hold
    for holder in holders:
        holder.place.leave()


def quick(runs_dir: Path, steps: int = 2, **options: Any) -> RunDirectory:
    return starting.create_run(runs_dir, config(max_steps=steps), "cpu", **options)


def is_queued(run: RunDirectory, place: int = 1) -> bool:
    status = status_of(run)
    return (status.state, status.queue_place) == (State.QUEUED, place)


def has_steps(run: RunDirectory) -> bool:
    return status_of(run).step > 0


def test_a_queued_run_waits_cheaply_and_starts_by_itself(
    runs_dir: Path, tmp_path: Path, start_whole: Start, hold: Any
) -> None:
    holder = hold(eta_seconds=600.0, where=tmp_path / "elsewhere")
    run = quick(runs_dir)
    worker = start_whole(run)
    wait_until(lambda: is_queued(run), "its place")
    status = status_of(run)
    assert (status.queue_behind, status.device, status.pid) == (holder.run.id, "cpu", worker.pid)
    assert status.starts_in_seconds == pytest.approx(600, abs=60)
    wait_until(run.metrics.exists, "the event")
    assert store.load_run(run).state is State.QUEUED
    assert "next on cpu, behind " + holder.run.id in messages(run, "queue")[0]
    assert "'fmnist-tui runs move RUN --now' starts it at once" in messages(run, "queue")[0]
    maps = Path(f"/proc/{worker.pid}/maps")
    if maps.exists():
        assert "libtorch" not in maps.read_text() and "numpy" not in maps.read_text()
    before, heartbeat = psutil.Process(worker.pid).cpu_times(), status.heartbeat
    began = time.monotonic()
    wait_until(lambda: status_of(run).heartbeat > heartbeat, "the next heartbeat")
    wait_until(lambda: time.monotonic() - began > 2.0, "two seconds")
    after = psutil.Process(worker.pid).cpu_times()
    share = (after.user + after.system - before.user - before.system) / (time.monotonic() - began)
    assert share < 0.1, "a few looks a second"
    assert psutil.Process(worker.pid).memory_info().rss < 100e6
    holder.end()
    assert worker.wait(60) == 0
    done = status_of(run)
    assert (done.state, done.queue_place, done.queue_behind, done.starts_in_seconds) == (
        State.FINISHED,
        None,
        None,
        None,
    )
    assert messages(run, "queue")[-1].startswith("its turn on cpu, after ")
    assert queue.snapshot() == []


def test_real_runs_follow_one_another_also_after_a_kill(runs_dir: Path, tmp_path: Path, start: Start) -> None:
    first = starting.create_run(runs_dir, config(epochs=500), "cpu")
    runs = [first, quick(runs_dir), quick(tmp_path / "elsewhere"), quick(runs_dir)]
    workers = []
    for at, run in enumerate(runs):
        workers.append(start(run))
        wait_until(partial(is_queued, run, at) if at else partial(has_steps, run), run.id)
    workers[1].kill()
    workers[1].wait(20)
    assert store.load_run(runs[1]).state is State.LOST, "a queued run without a process"
    wait_until(lambda: is_queued(runs[2], 1) and is_queued(runs[3], 2), "the others to move up")
    assert status_of(runs[2]).queue_behind == first.id
    assert status_of(first).step > 0 and workers[0].poll() is None
    workers[0].kill()
    assert (workers[2].wait(60), workers[3].wait(60)) == (0, 0)
    began = [status_of(run).started or "" for run in (runs[2], runs[3])]
    ended = status_of(runs[2]).ended
    assert ended is not None and ended <= began[1], "one after the other"
    starting.prepare_resume(store.load_run(runs[1]), "cpu")
    assert start(runs[1]).wait(60) == 0


@pytest.mark.parametrize("how", ["stop", "stop_after_epoch", "SIGTERM", "SIGINT"])
def test_a_queued_run_can_leave(runs_dir: Path, start: Start, hold: Any, how: Any) -> None:
    holder = hold()
    run = quick(runs_dir)
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    if how.startswith("SIG"):
        worker.send_signal(signal.Signals[how])
    else:
        requests.send_request(run, how)
    assert worker.wait(20) == 130
    status = status_of(run)
    assert (status.state, status.exit_code, status.queue_place, status.step) == (State.STOPPED, 130, None, 0)
    assert "taken out of the queue by" in messages(run, "stop")[0]
    assert not run.checkpoint("last").exists() and waiting() == []
    starting.prepare_resume(store.load_run(run), "cpu")
    again = start(run)
    wait_until(lambda: is_queued(run), "its place")
    assert again.poll() is None, "the earlier request is forgotten"
    if how == "stop":
        holder.end()
        assert again.wait(60) == 0


def test_edits_wait_with_the_run(runs_dir: Path, start: Start, hold: Any) -> None:
    holder = hold()
    run = starting.create_run(runs_dir, config(epochs=2), "cpu")
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    requests.send_request(run, "edit", epochs=1)
    holder.end()
    assert worker.wait(60) == 0
    assert status_of(run).epoch == 1 and messages(run, "edit")


def test_now_runs_beside_and_says_so(runs_dir: Path, start: Start, hold: Any) -> None:
    holder = hold()
    run = quick(runs_dir, now=True)
    assert LaunchRequest.model_validate_json(run.launch.read_bytes()).now
    assert start(run).wait(60) == 0
    status = status_of(run)
    assert (status.state, status.beside) == (State.FINISHED, holder.run.id)
    assert f"runs beside {holder.run.id} on cpu" in messages(run, "warning")[0]
    assert not messages(run, "queue")
    starting.prepare_resume(store.load_run(run), "cpu", epochs=4)
    assert not LaunchRequest.model_validate_json(run.launch.read_bytes()).now, "it holds for one start"


def test_a_queued_run_can_be_told_to_start_now(runs_dir: Path, tmp_path: Path, start: Start, hold: Any) -> None:
    """From the command line, whatever runs directory it lies in; an edit that waited with it is not lost."""
    holder = hold()
    run = starting.create_run(tmp_path / "elsewhere", config(epochs=3, max_steps=30), "cpu")
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    requests.send_request(run, "edit", epochs=1)
    told = command("runs", "move", run.id[-4:], "--now", "--runs-dir", str(runs_dir))
    assert (told.returncode, told.stdout) == (0, "") and f"{run.id} was told to start now." in told.stderr
    assert worker.wait(60) == 0
    status = status_of(run)
    assert (status.state, status.beside, status.epochs) == (State.FINISHED, holder.run.id, 1)
    assert requests.read_control(run).requests == [], "what was answered is forgotten at the end"
    assert messages(run, "queue")[-1].startswith("told to start now on cpu, after ")
    assert f"runs beside {holder.run.id} on cpu" in messages(run, "warning")[0]
    again = command("runs", "move", run.id, "--now", "--runs-dir", str(run.path.parent))
    assert again.returncode == 2 and "is finished; only a queued run can be told to start now" in again.stderr


def test_a_waiting_worker_starts_within_a_second_of_being_told(runs_dir: Path, start: Start, hold: Any) -> None:
    """By the clock of the worker's own events, so that a loaded machine's slow start of torch does not count."""
    hold()
    run = quick(runs_dir)
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    asked = requests.send_request(run, "start_now")
    assert worker.wait(60) == 0
    records = [parse_metric(line) for line in run.metrics.read_bytes().splitlines()]
    told = [r for r in records if isinstance(r, EventRecord) and r.message.startswith("told to start now")]
    between = (datetime.fromisoformat(told[0].time) - datetime.fromisoformat(asked.time)).total_seconds()
    assert between < 5.0, "it looks twice a second; the rest is for a loaded machine"


def test_a_second_worker_of_a_queued_run_refuses(runs_dir: Path, start: Start, hold: Any) -> None:
    hold()
    run = quick(runs_dir)
    first = start(run)
    wait_until(lambda: is_queued(run), "its place")
    assert start(run).wait(30) == 2
    assert "another worker trains this run" in run.worker_log.read_text()
    assert first.poll() is None and waiting() == [run.id]
    with pytest.raises(RunError, match="is queued"):
        starting.prepare_resume(store.load_run(run))
    with pytest.raises(RunError, match="is queued; stop it first"):
        store.delete_run(store.load_run(run))


def test_a_run_deleted_by_force_leaves_the_queue(runs_dir: Path, start: Start, hold: Any) -> None:
    import shutil

    hold()
    run = quick(runs_dir)
    worker = start(run)
    wait_until(lambda: is_queued(run), "its place")
    run.path.rename(run.path.with_name(".gone"))
    assert worker.wait(20) != 0
    assert waiting() == [] and not run.path.exists()
    shutil.rmtree(runs_dir / ".gone")


def test_without_a_state_directory_a_run_starts_with_a_warning(
    runs_dir: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FMNIST_TUI_STATE_DIR", str(tmp_path / "file"))
    run = quick(runs_dir)
    assert start(run).wait(60) == 0
    assert "the device queue can't be used" in messages(run, "warning")[0]


# --- the command line --------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "fmnist_tui", *arguments]
    wide = os.environ | {"COLUMNS": "200"}
    return subprocess.run(words, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL, env=wide)


TINY = ("--device=cpu", "--epochs=1", "--set=training.max_steps=2", "--set=model.widen_factor=1")


def test_the_commands_of_the_queue(runs_dir: Path, hold: Any) -> None:
    where = ("--runs-dir", str(runs_dir))
    holder = hold(eta_seconds=4800.0)
    first, second = (command("run", "preset", "quick", *TINY, "--detach", f"--name={name}", *where) for name in "ab")
    assert f"queued behind {holder.run.id}; --now" in first.stderr
    a, b = first.stdout.strip(), second.stdout.strip()
    directory = RunDirectory(runs_dir / b)
    wait_until(lambda: is_queued(directory, 2), "two places")
    try:
        said = [json.loads(line) for line in command("runs", "queue", "--json").stdout.splitlines()]
        assert [(r["id"], r["device"], r["place"], r["state"]) for r in said] == [
            (holder.run.id, "cpu", None, "running"), (a, "cpu", 1, "queued"), (b, "cpu", 2, "queued"),
        ]  # fmt: skip
        table = command("runs", "queue").stdout
        assert a in table and "starts in about 1 h" in table
        assert "queued, next" in command("runs", "list", *where).stdout
        listed = [json.loads(line) for line in command("runs", "list", "--json", *where).stdout.splitlines()]
        assert {r["id"]: (r["queue_place"], r["queue_behind"]) for r in listed if r["state"] == "queued"} == {
            a: (1, holder.run.id), b: (2, a),
        }  # fmt: skip
        moved = command("runs", "move", b, "--to-front", *where)
        assert (moved.returncode, moved.stderr) == (0, f"{b} is now the next in the queue.\n")
        wait_until(lambda: is_queued(directory, 1), "the front")
        assert "next on cpu, behind" in command("runs", "show", b, *where).stdout
        for wrong, message in [([b], "--place N and --now"), ([holder.run.id, "--place=1"], "is not queued")]:
            refused = command("runs", "move", *wrong, *where)
            assert refused.returncode == 2 and message in refused.stderr
        refused = command("runs", "delete", b, "--yes", *where)
        assert refused.returncode == 2 and "is queued" in refused.stderr and directory.path.exists()
        stopped = command("runs", "stop", b, *where)
        assert stopped.returncode == 0 and "was taken out of the queue" in stopped.stderr
        killed = command("runs", "stop", a, "--now", *where)
        assert killed.returncode == 0
        assert "while it was queued" in (status_of(RunDirectory(runs_dir / a)).error or "")
        assert command("runs", "delete", a, b, "--yes", *where).returncode == 0
    finally:
        for run in store.list_runs(runs_dir):
            if run.status is not None and run.id != holder.run.id:
                process.kill_worker(run.status)


def test_an_attached_run_says_at_once_what_it_waits_for(runs_dir: Path, hold: Any) -> None:
    holder = hold()
    words = [sys.executable, "-m", "fmnist_tui", "run", "preset", "quick", *TINY, "--runs-dir", str(runs_dir)]
    watcher = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert watcher.stdout is not None
        said = watcher.stdout.readline() + watcher.stdout.readline()
        assert f"queue: next on cpu, behind {holder.run.id}; 'fmnist-tui runs move RUN --now'" in said
        watcher.send_signal(signal.SIGINT)
        stdout, _ = watcher.communicate(timeout=30)
        assert watcher.returncode == 130
        assert "Leaving the queue" in stdout and "Stopped before its first step" in stdout
    finally:
        watcher.kill()
        watcher.communicate()
        for run in store.list_runs(runs_dir):
            if run.status is not None and run.id != holder.run.id:
                process.kill_worker(run.status)


def test_a_status_of_before_the_queue_is_read() -> None:
    assert Status.model_validate_json('{"state": "running"}').queue_place is None
    assert LaunchRequest.model_validate_json("{}").now is False


def test_auto_queues_for_what_torch_can_use(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver shows a GPU and torch has no use for it: the GPU's queue is left, the CPU's is kept to."""
    from fmnist_tui.training import turn
    from fmnist_tui.training.__main__ import work
    from fmnist_tui.training.control import StopSignal

    gpu = Device(key="GPU-1", name="cuda:0")
    waited_for = []

    def devices_for(option: str, count: int = 1) -> list[Device]:
        waited_for.append(option)
        return [gpu] if option == "auto" else [CPU]

    monkeypatch.setattr(turn, "devices_for", devices_for)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = starting.create_run(runs_dir, config(max_steps=1), "auto")
    assert work(run, config(max_steps=1), status_of(run), LaunchRequest(), StopSignal()) == 0
    assert waited_for == ["auto", "cpu"]
    result = store.load_run(run).result
    assert result is not None and result.device == "cpu"
    assert queue.snapshot() == []
