"""The plain loop's own process: its turns, what it sets, how it ends and what it says when it can't go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest
import torch

from fmnist_tui.runs.process import worker_environment
from fmnist_tui.training import memory, precision
from fmnist_tui.training.bench import plain, versus
from fmnist_tui.training.bench.plain_process import Answer, Task, Turn, answers
from fmnist_tui.training.bench.versus import PlainProcess
from tests.training.tiny import full_size_config

DPN = {"kind": "dual_path_net", "blocks": [1], "filters": [4], "growth_rate": [1]}


def task(**changes: Any) -> Task:
    values: dict[str, Any] = {
        "config": full_size_config(model=DPN, training={"batch_size": 16, "deterministic": False}),
        "device": "cpu",
        "threads": 1,
        "batch_size": 16,
        "epoch": 1,
        "source": None,
        "data_dir": None,
    }
    return Task(**(values | changes))


def line(kind: str, count: int) -> str:
    return Turn(kind=kind, count=count, batch_size=8).to_json()


def processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def test_the_process_works_in_its_turns_only_and_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """And has the environment the user has, which bench's own process has more than."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_PROC_BIND", "false")
    users = dict(os.environ)
    for name, value in worker_environment().items():
        monkeypatch.setenv(name, value)
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    with PlainProcess(task()) as side:
        process = psutil.Process(side.pid)
        assert side.train(2) > 0
        side.batch_size = 4
        assert side.load(3) > 0
        assert process.children() == [], "the DataLoader's workers have ended with the turn"
        given = {name: value for name, value in process.environ().items() if name != "PYTHONSAFEPATH"}
        assert given == {name: value for name, value in users.items() if name != "PYTHONSAFEPATH"}
        before, until = processor_seconds(process), time.monotonic() + 0.3
        while time.monotonic() < until:  # this side is at work
            sum(range(10_000))
        assert processor_seconds(process) - before <= 0.03
        assert process.status() == psutil.STATUS_SLEEPING
    assert not process.is_running()


def test_the_loop_has_none_of_the_trainers_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, to look inside: a batch size of the turn's, the threads of the task's, nothing else changed."""

    def never(*_: object) -> bool:
        raise AssertionError("a setting of the trainer's")

    monkeypatch.setattr(precision, "apply_global_settings", never)
    monkeypatch.setattr(memory, "keep_freed_memory", never)
    monkeypatch.setattr(precision, "keep_freed_memory", never)
    sizes: list[tuple[int, int]] = []
    train = plain.PlainLoop.train

    def noted(loop: plain.PlainLoop, count: int) -> tuple[float, list[float]]:
        sizes.append((loop.batch_size, torch.get_num_threads()))
        return train(loop, count)

    monkeypatch.setattr(plain.PlainLoop, "train", noted)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, torch.are_deterministic_algorithms_enabled()
    ready, trained, loaded = answers([task(threads=2).to_json(), line("train", 1), line("load", 1)])
    assert ready == Answer() and trained.seconds > 0 and loaded.seconds > 0
    assert sizes == [(8, 2)]
    assert before == (
        *(cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32),
        torch.are_deterministic_algorithms_enabled(),
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nmore"), "Tried to allocate 20.00"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), "allocate 8 b"),
    ],
)
def test_out_of_memory_says_with_which_batch_and_what_to_do(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(loop: plain.PlainLoop, count: int) -> None:
        raise error

    monkeypatch.setattr(plain.PlainLoop, "train", fail)
    _, last = answers([task().to_json(), line("train", 1), line("train", 1)])
    assert last.error is not None and said in last.error and "\n" not in last.error
    assert last.error.startswith("out of memory on cpu with batches of 8 (")
    assert "take a smaller --batch, or leave --compare out" in last.error


def test_another_error_keeps_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(loop: plain.PlainLoop, count: int) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error.\nmore")

    monkeypatch.setattr(plain.PlainLoop, "load", fail)
    _, last = answers([task().to_json(), line("load", 1)])
    assert last.error == "DataLoader worker (pid 7) is killed by signal: Bus error."


STAND_IN = """
import os, sys
sys.stdin.readline()
print('{"seconds": 0.0}', flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ('print(\'{"error": "no room"}\', flush=True)', "the plain loop failed: no room"),
        ("os.kill(os.getpid(), 9)", r"process was killed by SIGKILL \(perhaps by the system, for lack of memory"),
        ("os.kill(os.getpid(), 11)", "process was killed by SIGSEGV$"),
        ("sys.exit(3)", "process ended with exit code 3 and without a word"),
    ],
)
def test_what_ends_the_process_is_said(what: str, said: str) -> None:
    with (
        PlainProcess(task(), (sys.executable, "-c", STAND_IN + what)) as side,
        pytest.raises(RuntimeError, match=said),
    ):
        side.train(1)
    assert not psutil.pid_exists(side.pid)


def test_one_that_can_not_be_set_up_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[PlainProcess] = []
    end = PlainProcess.end

    def noted(side: PlainProcess) -> None:
        ended.append(side)
        end(side)

    monkeypatch.setattr(PlainProcess, "end", noted)
    with pytest.raises(RuntimeError, match="no data"):
        PlainProcess(task(), (sys.executable, "-c", 'print(\'{"error": "no data"}\'); input()'))
    assert len(ended) == 1 and not psutil.pid_exists(ended[0].pid)


STARTER = """
import os, subprocess, sys
child = subprocess.Popen([*sys.argv[1:], str(os.getpid())])
print(child.pid, flush=True)
child.wait()
"""


def test_it_dies_with_the_process_that_started_it() -> None:
    """Its stdin stays open in this process, so it is not the end of the lines that ends it."""
    read, write = os.pipe()
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, *versus.COMMAND], stdin=read, stdout=subprocess.PIPE, text=True
    )
    try:
        assert starter.stdout
        process = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
        starter.wait()
        _, alive = psutil.wait_procs([process], timeout=30)
        assert all(one.status() == psutil.STATUS_ZOMBIE for one in alive)
    finally:
        os.close(read)
        os.close(write)
