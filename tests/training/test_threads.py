"""The number of CPU threads: what is chosen at the start, and how it follows the load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from fmnist_tui.config import TrainingConfig
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EventRecord, parse_metric
from fmnist_tui.runs.result import Result
from fmnist_tui.training import launcher, threads
from fmnist_tui.training.threads import Load, ThreadKeeper, choose_threads, fitting
from tests.training.tiny import Trainer, full_size_config


class Busy(Load):
    """Stands in for Load: others keep so many cores busy."""

    def __init__(self, cores: float) -> None:
        self._cores = cores

    def others(self) -> float:
        return self._cores


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(threads, "usable_cores", lambda: 4.0)
    monkeypatch.setattr(threads, "LOOK_SECONDS", 0.0)


@pytest.mark.parametrize(("others", "expected"), [(0.0, 4), (0.3, 4), (0.7, 3), (1.0, 3), (2.5, 1), (4.0, 1), (9.0, 1)])
def test_as_many_threads_as_others_leave_cores(others: float, expected: int) -> None:
    assert fitting(4.0, others, most=4) == expected
    assert fitting(4.0, others, most=2) == min(2, expected)


@pytest.mark.usefixtures("four_cores")
def test_auto_looks_at_the_load_and_follows_it() -> None:
    choice = choose_threads(TrainingConfig(), True, 4, look=lambda: Busy(1.0))
    assert choice.number == 3 and choice.follows_load and "others use 1.0" in choice.reason


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("settings", "on_cpu", "expected", "reason"),
    [
        ({"threads": 7}, True, 7, "set"),
        ({"deterministic": True}, True, 4, "deterministic"),
        ({}, False, 4, "device"),
    ],
)
def test_what_does_not_depend_on_the_load(settings: Any, on_cpu: bool, expected: int, reason: str) -> None:
    choice = choose_threads(TrainingConfig(**settings), on_cpu, 4, look=lambda: pytest.fail("looked"))
    assert choice.number == expected and not choice.follows_load and reason in choice.reason


@pytest.mark.usefixtures("four_cores")
def test_what_the_user_gives_openmp_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert choose_threads(TrainingConfig(), True, 4)[:2] == (2, "OMP_NUM_THREADS is set")
    assert choose_threads(TrainingConfig(threads=3), True, 4).number == 3


@pytest.mark.usefixtures("four_cores")
def test_ranks_on_a_cpu_have_their_share_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: range(4), raising=False)
    ours = launcher.environment(LaunchRequest(device="cpu", gpus=2), ["cpu", "cpu"], str(tmp_path))
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    assert choose_threads(TrainingConfig(), True, 4)[:2] == (2, "each process's share of the cores")


def test_a_containers_quota_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest of the groups above a process holds; the affinity where none sets a limit."""
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    monkeypatch.setattr(threads, "_affinity", lambda: set(range(64)))
    group = Path("/proc/self/cgroup").read_text().partition("0::/")[2].splitlines()
    inner = tmp_path / (group[0] if group else "")
    inner.mkdir(parents=True, exist_ok=True)
    assert threads.usable_cores() == 64
    (inner / "cpu.max").write_text("max 100000\n")
    assert threads.usable_cores() == 64
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert threads.usable_cores() == 1.5


def test_load_counts_others_and_not_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a machine of our own: 2 cores of work in a second, 0.75 of it ours."""
    looks = iter([(100.0, 50.0, 7.0), (101.0, 52.0, 7.75), (103.0, 52.5, 8.75)])
    monkeypatch.setattr(Load, "_look", lambda self: next(looks))
    load = Load()
    assert load.others() == pytest.approx(1.25)
    assert load.others() == 0.0, "ticks of the two clocks may disagree; nobody uses less than nothing"


def test_load_is_read_from_the_machine() -> None:
    now, busy, own = Load()._look()
    assert now > 0 and busy >= 0 and own > 0


class Machine:
    """Four cores whose training speed depends on threads and on what others take; a clock that steps move."""

    def __init__(self, keeper_threads: int, others: float = 0.0) -> None:
        self.now, self.others, self.threads = 0.0, others, keeper_threads
        self.bad = set[int]()
        """Numbers of threads that are slow for no reason the load shows."""
        self.keeper = ThreadKeeper(
            keeper_threads, 4, self.set_threads, cores=4.0, others=lambda: self.others, clock=lambda: self.now
        )

    def set_threads(self, number: int) -> None:
        self.threads = number

    def speed(self) -> float:
        free = 4.0 - self.others
        if self.threads in self.bad:
            return 10.0
        return 100.0 * self.threads if self.threads <= free + 0.5 else 20.0

    def run(self, seconds: float) -> list[threads.Change]:
        changes = []
        end = self.now + seconds
        while self.now < end:
            self.now += 50 / self.speed()
            if change := self.keeper.after_step(50):
                changes.append(change)
        return changes


def test_threads_give_way_to_a_busy_process_and_come_back() -> None:
    machine = Machine(4)
    assert machine.run(30) == [] and machine.threads == 4
    machine.others = 1.0
    (change,) = machine.run(30)
    assert (change.before, change.after, machine.threads) == (4, 3, 3)
    assert 5 < change.gain <= 15.01, "up to 15: the window before may hold a step from before the load came"
    assert change.others == 1.0
    machine.others = 0.0
    (change,) = machine.run(30)
    assert (change.before, change.after, machine.threads) == (3, 4, 4)
    assert change.gain == pytest.approx(4 / 3, rel=0.1)


def test_what_is_no_faster_is_taken_back_and_tried_less_and_less() -> None:
    machine = Machine(2)
    machine.bad = {4}
    calls: list[int] = []

    def noted(number: int) -> None:
        calls.append(number)
        machine.set_threads(number)

    machine.keeper._set_threads = noted
    assert machine.run(20) == [] and machine.threads == 2 and calls == [4, 2]
    machine.run(1000)
    assert set(calls[::2]) == {4} and set(calls[1::2]) == {2}
    assert 5 <= calls.count(4) <= 7, "waits of 30, 60, 120, 240 and 480 s lie between"


def test_time_between_steps_counts_only_until_a_restart() -> None:
    """An evaluation of an hour is no collapse."""
    machine = Machine(4)
    machine.run(10)
    machine.now += 3600
    machine.keeper.restart()
    machine.others = 1.0
    (change,) = machine.run(30)
    assert change.gain == pytest.approx(15.0), "measured within the window after the evaluation alone"


def choices(run: RunDirectory) -> list[EventRecord]:
    records = [parse_metric(line) for line in run.metrics.read_bytes().splitlines()]
    return [r for r in records if isinstance(r, EventRecord) and r.data.get("key") == "threads"]


def test_a_change_is_an_event_and_stands_in_the_result(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that starts with 2 threads while others take a core and a half: it ends with 1."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(threads, "usable_cores", lambda: 2.0)
    monkeypatch.setattr(threads, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(threads, "WINDOW_SECONDS", 0.0)
    monkeypatch.setattr("fmnist_tui.training.precision.TORCH_THREADS", 2)
    monkeypatch.setattr("fmnist_tui.training.tuning.TORCH_THREADS", 2)
    loads = iter([0.0])
    monkeypatch.setattr(Load, "others", lambda self: next(loads, 1.5))
    monkeypatch.setattr(ThreadKeeper, "_is_better", lambda self, tried, before, gain: True)
    run = trainer.create(full_size_config(training={"deterministic": False}))
    trainer.train(run)
    first, second = choices(run)
    assert first.data["value"] == "2" and "others use 0.0" in first.message
    assert second.data["value"] == "1" and "others use 1.5 cores" in second.message
    assert torch.get_num_threads() == 1
    result = Result.model_validate_json(run.result.read_bytes())
    assert result.threads == 1 and result.choices["precision"] == "fp32: set"


def test_a_deterministic_run_goes_on_with_its_number(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun where OpenMP was given 2 threads, resumed where it is given 1."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    run = trainer.create(full_size_config(training={"epochs": 1}))
    trainer.train(run)
    assert torch.get_num_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    trainer.train(run, LaunchRequest(epochs=2))
    assert torch.get_num_threads() == 2
    assert [event.data["value"] for event in choices(run)] == ["2", "2"]
    assert "bit for bit" in choices(run)[1].message
    assert Result.model_validate_json(run.result.read_bytes()).threads == 2
