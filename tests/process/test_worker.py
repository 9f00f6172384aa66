"""The worker as a real process: killed, signalled, started twice, and what its last word is."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from fmnist_tui.config import IMAGE_SIZE, parse_config
from fmnist_tui.data import source
from fmnist_tui.runs import process, requests, starting, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import BENCHMARKS
from fmnist_tui.runs.status import State
from tests.events import events
from tests.process.same_run import differences
from tests.process.workers import NOISY, Start, config, status_of, steps_of, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


def test_killed_again_and_again_it_ends_as_if_it_never_was(runs_dir: Path, start: Start, start_whole: Start) -> None:
    """kill -9 at random moments: lost at once, resumed, and in the end bit for bit the uninterrupted run.

    Those that are killed have torch loaded, so that they are at work when it happens.
    """
    whole = starting.create_run(runs_dir, config(size=IMAGE_SIZE, epochs=2), device="cpu")
    worker, began = start(whole), time.monotonic()
    assert worker.wait(timeout=300) == 0, whole.worker_log.read_text()
    duration = time.monotonic() - began
    killed = starting.create_run(runs_dir, config(size=IMAGE_SIZE, epochs=2), device="cpu")
    chance = random.Random(20261123)
    for _ in range(3):
        worker = start(killed)
        try:
            worker.wait(timeout=chance.uniform(0.1, 0.9) * duration)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait(timeout=30)
            run = store.load_run(killed)
            if run.state is State.FINISHED:  # killed after its last word
                break
            assert run.state is State.LOST
            starting.prepare_resume(run, device="cpu")
        else:
            break
    if store.load_run(killed).state is not State.FINISHED:
        assert start_whole(killed).wait(timeout=300) == 0, killed.worker_log.read_text()
    assert not list(differences(killed, whole))
    results = [store.load_run(run).result for run in (whole, killed)]
    assert results[0] is not None and results[1] is not None
    assert results[1].starts > 1, "it was never killed"
    left = np.load(whole.predictions)
    labels = source.load_sample().test_labels
    assert results[0].test_accuracy == pytest.approx(100 * np.mean(left["last_classes"] == labels), abs=1e-9)
    assert whole.id in (runs_dir / BENCHMARKS).read_text() or "noisy" in (runs_dir / BENCHMARKS).read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_a_checkpoint(runs_dir: Path, start: Start, number: signal.Signals) -> None:
    run = starting.create_run(runs_dir, config(epochs=500), device="cpu")
    worker = start(run)
    wait_until(lambda: status_of(run).step >= 1, "the first step")
    worker.send_signal(signal.SIGHUP)  # a closed terminal
    worker.send_signal(number)
    assert worker.wait(timeout=30) == 130
    status = status_of(run)
    assert (status.state, status.exit_code) == (State.STOPPED, 130)
    assert run.checkpoint("last").is_file() and not run.result.exists()
    assert number.name in events(run, "stop")[0].message


def test_a_signal_before_the_first_step_leaves_a_run_that_resumes(
    runs_dir: Path, start: Start, start_whole: Start
) -> None:
    run = starting.create_run(runs_dir, config(max_steps=2), device="cpu")
    worker = start_whole(run)
    wait_until(lambda: status_of(run).pid == worker.pid, "the worker's first word")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 130
    assert store.load_run(run).state is State.STOPPED
    starting.prepare_resume(store.load_run(run), device="cpu")
    assert start(run).wait(timeout=60) == 0
    assert [line["step"] for line in steps_of(run) if line["kind"] == "train"] == [1, 2]


def test_a_second_worker_refuses(runs_dir: Path, start: Start) -> None:
    run = starting.create_run(runs_dir, config(epochs=500), device="cpu")
    first = start(run)
    wait_until(lambda: status_of(run).step >= 1, "the first step")
    before = status_of(run).pid
    assert start(run).wait(timeout=30) == 2
    assert "another worker trains this run" in run.worker_log.read_text()
    assert status_of(run).pid == before == first.pid and first.poll() is None
    with pytest.raises(RunError, match="is running"):
        starting.prepare_resume(store.load_run(run))
    requests.send_request(run, "stop")
    assert first.wait(timeout=30) == 130


def test_it_lives_in_a_session_of_its_own(runs_dir: Path, start_whole: Start) -> None:
    run = starting.create_run(runs_dir, config(epochs=500), device="cpu")
    worker = start_whole(run)
    wait_until(lambda: status_of(run).pid == worker.pid, "the worker's first word")
    assert os.getsid(worker.pid) == worker.pid != os.getsid(0)
    status = status_of(run)
    assert process.process_started(worker.pid) == status.pid_started
    assert process.kill_worker(status)
    assert process.process_started(worker.pid) is None
    assert store.load_run(run).state is State.LOST


def test_it_listens_on_no_port_and_loads_no_compiler(
    runs_dir: Path, start_whole: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # every import is a line of the worker's log
    run = starting.create_run(runs_dir, config(epochs=500), device="cpu")
    worker = start_whole(run)
    wait_until(lambda: status_of(run).step >= 1, "the first step")
    connections = psutil.Process(worker.pid).net_connections(kind="inet")
    assert connections == []
    imported = {line.rpartition("|")[2].strip() for line in run.worker_log.read_text().splitlines()}
    assert "torch.optim.sgd" in imported
    assert not {"torch._dynamo", "torch._inductor", "sympy"} & imported, "seconds of every start"


@pytest.mark.parametrize(
    ("device", "code", "words"),
    [("cuda:9", 2, "device = 'cuda:9'"), ("mps", 2, "device = 'mps'"), ("toaster", 2, "device = 'toaster'")],
)
def test_a_device_that_is_not_there_fails_with_usage(
    runs_dir: Path, start: Start, device: str, code: int, words: str
) -> None:
    run = starting.create_run(runs_dir, config(), device=device)
    assert start(run).wait(timeout=60) == code
    status = status_of(run)
    assert status.state is State.FAILED and status.exit_code == code
    assert words in (status.error or "")


def test_a_finished_run_that_cannot_go_on_is_what_it_was(runs_dir: Path, start: Start) -> None:
    run = starting.create_run(runs_dir, config(epochs=1), device="cpu")
    assert start(run).wait(timeout=120) == 0
    result = run.result.read_bytes()
    for name in ("last", "previous", "best"):
        if run.checkpoint(name).exists():
            run.checkpoint(name).write_bytes(run.checkpoint(name).read_bytes()[:1000])
    starting.prepare_resume(store.load_run(run), device="cpu", epochs=9)
    assert start(run).wait(timeout=60) == 2
    status = status_of(run)
    assert status.state is State.FINISHED and status.exit_code == 2 and run.result.read_bytes() == result
    error = status.error or ""
    assert error.startswith("did not go on, and is as it was: ") and "is damaged" in error
    assert "is damaged" in events(run, "error")[-1].message


def test_a_run_whose_status_is_gone_goes_on_from_its_checkpoint(runs_dir: Path, start: Start) -> None:
    run = starting.create_run(runs_dir, config(epochs=1), device="cpu")
    assert start(run).wait(timeout=120) == 0
    lines, predictions = steps_of(run), np.load(run.predictions)["last_probabilities"]
    run.result.unlink()  # as if killed before its last words, with the power lost
    run.status.write_bytes(b"")
    starting.prepare_resume(store.load_run(run), device="cpu")
    assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
    found = store.load_run(run)
    assert found.state is State.FINISHED and found.result is not None and found.result.starts == 2
    assert steps_of(run) == lines and np.array_equal(np.load(run.predictions)["last_probabilities"], predictions)


def test_missing_data_fails_with_its_own_code(runs_dir: Path, start: Start, tmp_path: Path) -> None:
    full = parse_config({**NOISY, "data": {"source": "full"}})
    run = starting.create_run(runs_dir, full, device="cpu", data_dir=tmp_path / "nowhere")
    assert start(run).wait(timeout=60) == 3
    status = status_of(run)
    assert status.exit_code == 3 and "--data-dir" in status.told() and "--data-dir" not in (status.error or "")


def test_a_loss_that_explodes_fails_in_words(runs_dir: Path, start: Start) -> None:
    wild = parse_config(
        {
            **NOISY,
            "model": {"kind": "wide_resnet", "depth": 10, "widen_factor": 1},
            "optimizer": {"lr": 100.0, "weight_decay": 1.0},
        }
    )
    run = starting.create_run(runs_dir, wild, device="cpu")
    assert start(run).wait(timeout=120) == 4
    status = status_of(run)
    assert status.state is State.FAILED and status.exit_code == 4
    assert "not finite" in (status.error or "") and "lower optimizer.lr (now 100)" in (status.error or "")


def test_not_a_run_directory_is_usage(tmp_path: Path) -> None:
    from fmnist_tui.training.__main__ import main

    assert main([str(tmp_path)]) == 2
    assert main([]) == 2
    assert list(tmp_path.iterdir()) == []
