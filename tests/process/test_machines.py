"""A run on two machines: two agents in two network namespaces of this one, joined by a pair of virtual interfaces."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fmnist_tui.runs import starting, store
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from tests.process.forked import Forked, work_on
from tests.process.small_runs import LONG, config
from tests.process.workers import as_long_as_the_start, status_of, steps_of, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


Machine = Callable[..., Forked]


def ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True).returncode == 0


@pytest.fixture
def machines() -> Iterator[tuple[str, str]]:
    """Two network namespaces with the addresses 10.77.0.1 and 10.77.0.2; needs root and iproute2."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and iproute2")
    names = (f"fmnist-a-{os.getpid()}", f"fmnist-b-{os.getpid()}")
    if not ip("netns", "add", names[0]):
        pytest.skip("this system lets nobody make network namespaces")
    try:
        assert ip("netns", "add", names[1])
        assert ip("link", "add", "fmnist0", "netns", names[0], "type", "veth", "peer", "fmnist1", "netns", names[1])
        for number, name in enumerate(names):
            inside = ("-n", name)
            assert ip(*inside, "address", "add", f"10.77.0.{number + 1}/24", "dev", f"fmnist{number}")
            assert ip(*inside, "link", "set", f"fmnist{number}", "up") and ip(*inside, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("netns", "delete", name)


@pytest.fixture
def start_on(tmp_path: Path) -> Iterator[Machine]:
    """Starts a worker in a namespace, with a device queue of its own, as another machine has; leaves none behind."""
    started: list[Forked] = []

    def start(machine: str, run: RunDirectory, *options: str) -> Forked:
        log = run.worker_log if not options else tmp_path / "joined.log"
        environment = os.environ | {"FMNIST_TUI_STATE_DIR": str(tmp_path / machine)}
        arguments = [str(run.path), *options]
        started.append(Forked(work_on, machine, arguments, environment, str(tmp_path), 0o022, str(log)))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        worker.wait(timeout=30)


def two_machines(runs_dir: Path, **training: object) -> RunDirectory:
    return starting.create_run(runs_dir, config(**training), device="cpu", nodes=2, rendezvous="10.77.0.1:29511")


def test_two_machines_train_one_run(
    runs_dir: Path, tmp_path: Path, machines: tuple[str, str], start_on: Machine
) -> None:
    run = two_machines(runs_dir, epochs=1, max_steps=3)
    first = start_on(machines[0], run)
    wait_until(lambda: "waiting for 2 machines" in status_of(run).phase, "it waits for the other machine")
    second = start_on(machines[1], run, "--join")
    assert first.wait(timeout=180) == 0, run.worker_log.read_text()
    assert second.wait(timeout=30) == 0, (tmp_path / "joined.log").read_text()
    loaded = store.load_run(run)
    assert loaded.state is State.FINISHED and loaded.result is not None and loaded.result.devices == 2
    assert [line["step"] for line in steps_of(run) if line["kind"] == "train"] == [1, 2, 3]
    assert loaded.status is not None and loaded.status.pid == first.pid


def test_a_stop_on_one_machine_stops_both_and_a_lost_one_ends_the_run(
    runs_dir: Path, tmp_path: Path, machines: tuple[str, str], start_on: Machine
) -> None:
    run = two_machines(runs_dir, **LONG)
    first, second = start_on(machines[0], run), start_on(machines[1], run, "--join")
    wait_until(lambda: status_of(run).step >= 2, "two steps")
    second.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 130, run.worker_log.read_text()
    assert second.wait(timeout=60) == 130, (tmp_path / "joined.log").read_text()
    stopped = store.load_run(run)
    assert stopped.state is State.STOPPED and run.checkpoint("last").exists() and stopped.status is not None
    starting.prepare_resume(stopped, device="cpu", nodes=2, rendezvous="10.77.0.1:29511")
    began = time.monotonic()
    first, second = start_on(machines[0], run), start_on(machines[1], run, "--join")
    reached = stopped.status.step
    wait_until(lambda: status_of(run).step > reached, "it goes on")
    limit = as_long_as_the_start(began)
    second.kill()
    began = time.monotonic()
    assert first.wait(timeout=120) == 4, run.worker_log.read_text()
    assert time.monotonic() - began < limit, "a loaded machine needs a few seconds"
    assert "lost touch with another rank" in (status_of(run).error or "")


def test_the_wait_for_other_machines_can_be_left(runs_dir: Path, machines: tuple[str, str], start_on: Machine) -> None:
    run = two_machines(runs_dir)
    first = start_on(machines[0], run)
    wait_until(lambda: "waiting for 2 machines" in status_of(run).phase, "it waits for the other machine")
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 130, run.worker_log.read_text()
    assert status_of(run).state is State.STOPPED
