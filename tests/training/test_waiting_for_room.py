"""A disk that is full when a run ends or goes on: what waits for room, what comes first, and how it is had later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fmnist_tui.runs import files, starting, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import ExitCode, State
from fmnist_tui.training import attempt, checkpoint, desk, patience
from fmnist_tui.training.control import CutShort
from fmnist_tui.training.ending import Ending
from fmnist_tui.training.job import Job, RunDeleted, Stopped, Unwritten
from tests.events import messages
from tests.training.tiny import Trainer, tiny_config
from tests.training.whole_runs import result_of, stop_at, without_clock

NO_ROOM = OSError(28, "No space left on device")
TRIES = 5
"""At the end of a run, after the first."""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAITS", (0.0,) * (TRIES - 1))
    monkeypatch.setattr(patience, "STOP_WAITS", (0.0,) * 2)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[int]]:
    """From a step on that many checkpoints fail; returns the steps of those that were tried."""

    def fill(step: int, times: int) -> list[int]:
        write, tried = torch.save, []

        def save(content: Any, file: Any) -> None:
            if (at := content["progress"]["step"]) >= step:
                tried.append(at)
                if len(tried) <= times:
                    raise NO_ROOM
            write(content, file)

        monkeypatch.setattr(checkpoint.torch, "save", save)
        return tried

    return fill


def step_of(run: RunDirectory, which: str) -> int:
    return int(checkpoint.read(run.checkpoint(which))["progress"]["step"])


def ended(trainer: Trainer, run: RunDirectory) -> Ending:
    """As the worker makes it of what the training raises; the last status is written, too."""
    jobs: list[Job] = []
    trainer.during = jobs.append
    try:
        trainer.train(run, last_launch(run))
    except Unwritten as error:
        ending = attempt._foreseen(error, run, tiny_config())
        assert ending is not None
    else:
        ending = Ending(State.FINISHED, None, ExitCode.DONE)
    jobs[-1].reporter.close(*ending[:3], ending.remedy)
    return ending


def test_the_last_checkpoint_is_tried_again(trainer: Trainer, full: Callable[..., list[int]]) -> None:
    run = trainer.create(tiny_config())
    tried = full(15, 3)
    job = trainer.train(run)
    assert tried == [15] * 4
    assert (step_of(run, "last"), step_of(run, "previous")) == (15, 10)
    assert not messages(run, "warning") and result_of(run).steps == 15
    assert not job.reporter.status.behind


def test_a_result_whose_last_checkpoint_has_no_room_is_kept_and_a_resume_makes_it(
    trainer: Trainer, full: Callable[..., list[int]]
) -> None:
    whole = trainer.create(tiny_config())
    trainer.train(whole)
    run = trainer.create(tiny_config())
    full(15, 1 + TRIES)
    ending = ended(trainer, run)
    assert (ending.state, ending.code) == (State.FINISHED, ExitCode.DONE)
    assert ending.error == "could not write its last checkpoint: No space left on device; last.pt is of step 10"
    assert result_of(run).test_accuracy == result_of(whole).test_accuracy and step_of(run, "last") == 10
    loaded = store.load_run(run)
    assert loaded.state is State.FINISHED and loaded.status is not None and loaded.status.behind
    assert f"run resume {run.id}" in loaded.status.told()
    starting.prepare_resume(loaded)
    assert ended(trainer, run).error is None
    weights, expected = trainer.weights(run), trainer.weights(whole)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    assert without_clock(trainer.steps(run)) == without_clock(trainer.steps(whole))
    with pytest.raises(RunError, match="is finished after 3 epochs"):
        starting.prepare_resume(store.load_run(run))


def test_without_room_for_the_result_it_waits_then_fails_with_all_kept(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tried = trainer.create(tiny_config()), []

    def replace_bytes(path: Path, data: bytes, durable: bool = False) -> None:
        if path == run.result:
            tried.append(path)
            raise NO_ROOM
        write(path, data, durable)

    write = desk.replace_bytes
    with monkeypatch.context() as patch:
        patch.setattr(desk, "replace_bytes", replace_bytes)
        ending = ended(trainer, run)
    assert len(tried) == TRIES
    assert (ending.state, ending.error) == (State.FAILED, "the result could not be written: No space left on device")
    assert step_of(run, "last") == 15 and not run.result.exists()
    assert "make room, then go on with" in store.load_run(run).status.told()  # type: ignore[union-attr]
    starting.prepare_resume(store.load_run(run))
    trainer.train(run)
    assert result_of(run).steps == 15


def test_a_run_whose_directory_goes_is_not_waited_for(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    run, tried = trainer.create(tiny_config()), []

    def replace_bytes(path: Path, data: bytes, durable: bool = False) -> None:
        tried.append(path)
        run.marker.unlink(missing_ok=True)
        raise NO_ROOM

    monkeypatch.setattr(desk, "replace_bytes", replace_bytes)
    with pytest.raises(RunDeleted):
        trainer.train(run)
    assert len(tried) == 1


def test_a_stop_waits_for_room_too(
    trainer: Trainer, full: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer.create(tiny_config())
    stop_at(trainer, monkeypatch, 7)
    tried = full(6, 2)
    with pytest.raises(Stopped):
        trainer.train(run)
    assert tried == [7, 7, 7] and step_of(run, "last") == 7
    tried = full(6, 1000)
    run = trainer.create(tiny_config())
    with pytest.raises(Unwritten, match=r"could not be written: No space left on device; last\.pt is of step 5"):
        trainer.train(run)


def test_a_run_that_goes_on_waits_for_room_to_cut_its_lines_back(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tried = trainer.create(tiny_config()), []
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(trainer, patch, 7)
        trainer.train(run)

    def replace_bytes(path: Path, data: bytes, durable: bool = False) -> None:
        if path == run.metrics:
            tried.append(path)
            if len(tried) < TRIES:
                raise NO_ROOM
        write(path, data, durable)

    write = files.replace_bytes
    monkeypatch.setattr(files, "replace_bytes", replace_bytes)
    line = next(text for text in run.metrics.read_text().splitlines() if '"train"' in text)
    run.metrics.write_text(run.metrics.read_text() + line.replace('"step":1', '"step":8') + "\n")
    trainer.train(run)
    assert len(tried) == TRIES and result_of(run).steps == 15
    assert [record.step for record in trainer.steps(run) if record.kind == "train"] == list(range(1, 16))


def test_a_run_that_was_stopped_goes_on_without_a_byte_of_room_for_its_lines(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has to be cut back."""
    run = trainer.create(tiny_config())
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(trainer, patch, 7)
        trainer.train(run)

    def replace_bytes(path: Path, data: bytes, durable: bool = False) -> None:
        raise NO_ROOM

    monkeypatch.setattr(files, "replace_bytes", replace_bytes)
    trainer.train(run)
    assert result_of(run).steps == 15


def test_a_stop_while_it_waits_to_begin_leaves_the_run_as_it_was(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer.create(tiny_config())
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(trainer, patch, 7)
        trainer.train(run)
    before = step_of(run, "last")

    def replace_bytes(path: Path, data: bytes, durable: bool = False) -> None:
        if path == run.metrics:
            jobs[0].stop_signal.received = "SIGTERM"
            raise NO_ROOM
        write(path, data, durable)

    write, jobs = files.replace_bytes, list[Job]()
    trainer.during = jobs.append
    run.metrics.write_text(run.metrics.read_text() + "half a line")
    with monkeypatch.context() as patch, pytest.raises(CutShort):
        patch.setattr(files, "replace_bytes", replace_bytes)
        trainer.train(run)
    assert step_of(run, "last") == before == 7
    trainer.during = lambda job: None
    trainer.train(run)
    assert result_of(run).steps == 15


def test_the_last_confusions_wait_for_room_before_the_result(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No further evaluation comes, with which they would be tried again."""
    whole, run = trainer.create(tiny_config()), trainer.create(tiny_config())
    trainer.train(whole)
    write, tried = files.LineWriter.write, []

    def write_or_not(self: files.LineWriter, lines: str) -> None:
        if '"counts"' in lines and '"epoch":3' in lines:
            tried.append(lines)
            if len(tried) < 3:
                raise NO_ROOM
        write(self, lines)

    monkeypatch.setattr(files.LineWriter, "write", write_or_not)
    trainer.train(run)
    assert len(tried) == 3 and run.confusions.read_bytes() == whole.confusions.read_bytes()


def test_a_signal_while_the_result_waits_for_room_leaves_it_some_time(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tried, jobs = trainer.create(tiny_config()), [], list[Job]()
    monkeypatch.setattr(patience, "STOP_WAITS", (60.0,))

    def replace_bytes(path: Path, data: bytes, durable: bool = False) -> None:
        jobs[0].stop_signal.received = "SIGTERM"
        tried.append(path)
        if len(tried) < 3:
            raise NO_ROOM
        write(path, data, durable)

    write = desk.replace_bytes
    trainer.during = jobs.append
    monkeypatch.setattr(desk, "replace_bytes", replace_bytes)
    trainer.train(run)
    assert len(tried) == 3 and result_of(run).steps == 15
