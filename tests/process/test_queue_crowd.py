"""The device queue with many processes: never two on a device, order kept, killed holders and waiters."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fmnist_tui.runs import queue
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.tickets import queue_directory
from tests.process.crowd import CPU, FOREVER, Crowd
from tests.process.holders import on, waiting
from tests.process.workers import wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    crowd = Crowd(tmp_path)
    yield crowd
    crowd.end()


def waits_like(names: list[str]) -> bool:
    return waiting() == names


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
