"""A Slurm job's inside, by submitit's local executor: its processes on this machine, its signals, its requeue."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fmnist_tui.runs import starting, store, submit
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.mending import MADE_ANEW
from fmnist_tui.runs.process import process_started
from fmnist_tui.runs.status import State
from tests.events import messages
from tests.process.small_runs import LONG, config
from tests.process.workers import Start, status_of, steps_of, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


Submit = Callable[..., tuple[RunDirectory, psutil.Process]]


@pytest.fixture
def submitted(runs_dir: Path) -> Iterator[Submit]:
    """Submits a run: its directory, and submitit's controller of the job. Leaves no process behind."""
    controllers: list[psutil.Process] = []

    def start(**training: Any) -> tuple[RunDirectory, psutil.Process]:
        run = starting.create_run(runs_dir, config(**training), device="cpu", launcher="slurm")
        assert status_of(run).state is State.QUEUED and store.load_run(run).state is State.QUEUED
        job = submit.submit(run, "local")
        assert last_launch(run).job == job == status_of(run).job
        controllers.append(psutil.Process(int(job.id)))
        return run, controllers[-1]

    yield start
    for controller in controllers:
        if process_started(controller.pid) is not None:
            for left in [*controller.children(recursive=True), controller]:
                left.kill()


def task_of(controller: psutil.Process) -> psutil.Process:
    (task,) = controller.children()
    return task


def test_preemption_saves_requeues_and_goes_on_to_the_end(submitted: Submit) -> None:
    """submitit's own signal, as Slurm sends it before a job's time is up; then no step is missing and none is twice."""
    run, controller = submitted(max_steps=60, epochs=30, checkpoint_seconds=0.2)
    wait_until(lambda: status_of(run).step >= 1 and run.checkpoint("last").exists(), "a step and a checkpoint")
    task = task_of(controller)
    task.send_signal(signal.SIGUSR2)
    wait_until(lambda: status_of(run).state is State.QUEUED, "the run waits again")
    waiting = status_of(run)
    assert waiting.pid is None and waiting.step < 60 and store.load_run(run).state is State.QUEUED
    wait_until(lambda: not status_of(run).state.alive, "the end")
    finished = store.load_run(run)
    assert finished.state is State.FINISHED and finished.result is not None and finished.result.starts == 2
    lines = [line["step"] for line in steps_of(run) if line["kind"] == "train"]
    assert lines == list(range(1, 61))
    assert [event.rpartition(" on ")[0] for event in messages(run, "resume")] == [f"going on {waiting.where()}"]
    wait_until(lambda: process_started(controller.pid) is None, "the job's end")


def test_a_cancelled_job_stops_with_a_checkpoint(submitted: Submit) -> None:
    run, controller = submitted(**LONG)
    wait_until(lambda: status_of(run).step >= 2, "steps")
    worker = status_of(run).pid
    assert worker is not None and psutil.Process(worker).ppid() == task_of(controller).pid
    os.kill(controller.pid, signal.SIGINT)  # what submitit's LocalJob.cancel does
    wait_until(lambda: status_of(run).state is State.STOPPED, "the stop")
    wait_until(lambda: process_started(worker) is None, "the worker's end")
    assert run.checkpoint("last").exists() and status_of(run).exit_code == 130


def test_a_worker_that_dies_is_written_down_by_its_job(submitted: Submit) -> None:
    run, controller = submitted(**LONG)
    wait_until(lambda: status_of(run).pid is not None, "a worker")
    psutil.Process(status_of(run).pid).kill()
    wait_until(lambda: status_of(run).state is State.FAILED, "the word of its death")
    assert "the worker was killed by SIGKILL" in (status_of(run).error or "")
    wait_until(lambda: process_started(controller.pid) is None, "the job's end")


@pytest.mark.parametrize("damage", ["empty", "gone"])
def test_a_job_that_begins_again_makes_a_lost_status_anew(runs_dir: Path, start: Start, damage: str) -> None:
    """As a plain resume does: a node that lost its power has left nothing that says where the run stood."""
    run = starting.create_run(runs_dir, config(max_steps=3, epochs=4), device="cpu", launcher="slurm")
    assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
    lines = steps_of(run)
    run.result.unlink()  # as if killed before its last words
    if damage == "gone":
        run.status.unlink()
    else:
        run.status.write_bytes(b"")
    job = submit.submit(run, "local")
    wait_until(lambda: process_started(int(job.id)) is None, "the second job's end")
    assert store.load_run(run).state is State.FINISHED, run.worker_log.read_text()
    result = store.load_run(run).result
    assert result is not None and result.starts == 2 and steps_of(run) == lines
    assert MADE_ANEW in messages(run, "warning")
