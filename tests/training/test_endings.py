"""How the worker ends: every accident becomes a final status, a sentence and an exit code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EventRecord, parse_metric
from fmnist_tui.runs.requests import send_request
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import State, Status
from fmnist_tui.training import __main__ as worker_module
from fmnist_tui.training import step as step_module
from fmnist_tui.training.__main__ import work
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.optim import InPlaceSGD
from tests.events import messages
from tests.training.tiny import Trainer, tiny_config


@pytest.fixture
def end(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trains a run on the small data set as the worker does; returns the exit code."""
    monkeypatch.setattr("fmnist_tui.data.source.load", lambda config, data_dir: trainer.images)

    def end(run: RunDirectory, **launch: Any) -> int:
        config = RunConfig.model_validate_json(run.config.read_bytes())
        status = Status.model_validate_json(run.status.read_bytes())
        return work(run, config, status, LaunchRequest(**{"device": "cpu", **launch}), StopSignal())

    return end


def status_of(run: RunDirectory) -> Status:
    return Status.model_validate_json(run.status.read_bytes())


def fail_above(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a backward pass over more images than `limit` run out of memory, as CUDA reports it."""
    original = step_module.F.cross_entropy

    def limited(logits: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        if len(target) > limit and logits.requires_grad:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has less.")
        return original(logits, target, **options)

    monkeypatch.setattr(step_module.F, "cross_entropy", limited)


def test_out_of_memory_fails_in_words(trainer: Trainer, end: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_above(10, monkeypatch)
    run = trainer.create(tiny_config())
    assert end(run) == 4
    status = status_of(run)
    assert status.state is State.FAILED and status.exit_code == 4
    error = status.told()
    assert "9.00 GiB" in error and "training.micro_batch = 32" in error and "training.micro_batch=8" in error


def test_out_of_memory_with_auto_trains_on_with_less(
    trainer: Trainer, end: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_above(10, monkeypatch)
    run = trainer.create(tiny_config(training={"micro_batch": "auto", "max_steps": 3}))
    assert end(run) == 0
    assert Result.model_validate_json(run.result.read_bytes()).micro_batch == 8
    records = [parse_metric(line) for line in run.metrics.read_bytes().splitlines()]
    warnings = [r.message for r in records if isinstance(r, EventRecord) and r.event == "warning"]
    assert len(warnings) == 1 and "8 images at once" in warnings[0] and "batch-norm" in warnings[0]


def test_a_failed_device_is_named(trainer: Trainer, end: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*arguments: Any, **options: Any) -> None:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ...")

    monkeypatch.setattr(step_module.augment, "apply", lost)
    run = trainer.create(tiny_config())
    assert end(run) == 4
    assert status_of(run).error == "the device failed: CUDA error: unspecified launch failure"


@pytest.mark.parametrize("where", ["optimizer", "evaluation"])
def test_out_of_memory_outside_a_step(trainer: Trainer, end: Any, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """No retry and no smaller batch helps: it says so, and ends at once."""

    def full(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    if where == "optimizer":
        monkeypatch.setattr(InPlaceSGD, "step", full)
    else:
        monkeypatch.setattr("fmnist_tui.training.evaluate.normalize", full)
    monkeypatch.setattr(os, "execv", lambda *arguments: pytest.fail("began anew"))
    run = trainer.create(tiny_config())
    assert end(run, retries=3) == 4
    error = status_of(run).error or ""
    assert "2.00 GiB" in error and "no micro-batch helps" in error and "smaller model" in error


def test_a_lost_gpu_is_not_replaced_by_the_cpu(trainer: Trainer, end: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun anew for 'auto' on a machine whose GPU has gone: it fails, retries, and never trains on the CPU."""
    from fmnist_tui.runs.tickets import Device
    from fmnist_tui.training import turn

    monkeypatch.setattr(turn, "devices_for", lambda option, count=1: [Device(key="GPU-1", name="cuda:0")])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = trainer.create(tiny_config())
    run.status.write_text(status_of(run).model_copy(update={"retries_used": 1}).to_json())
    assert end(run, device="auto", retries=1) == 4
    status = status_of(run)
    assert "has not come back" in (status.error or "") and status.step == 0


def test_retries_begin_anew_from_the_checkpoint(trainer: Trainer, end: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device fails in the second epoch, twice; a fresh process is asked for twice, and the run finishes."""
    original = step_module.augment.apply
    failures: list[int] = []
    begun: list[list[str]] = []

    def flaky(*arguments: Any, **options: Any) -> Any:
        if run.checkpoint("last").exists() and len(failures) < 2:
            failures.append(1)
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return original(*arguments, **options)

    class Replaced(BaseException):
        """In place of the fresh process."""

    def execv(program: str, arguments: list[str]) -> None:
        begun.append(arguments[1:])
        raise Replaced

    monkeypatch.setattr(worker_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(step_module.augment, "apply", flaky)
    monkeypatch.setattr(os, "execv", execv)
    run = trainer.create(tiny_config())
    for _ in range(2):
        with pytest.raises(Replaced):
            end(run, retries=2)
        assert status_of(run).state is State.STARTING
    assert end(run, retries=2) == 0
    assert begun == [["-m", "fmnist_tui.training", str(run.path)]] * 2
    assert status_of(run).retries_used == 2
    assert len([r for r in trainer.steps(run) if r.kind == "train"]) == 15


def test_an_edit_outlives_a_device_that_fails(trainer: Trainer, end: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun anew, the first step already has the edit's length: the learning rate depends on it."""
    monkeypatch.setattr("fmnist_tui.training.control.POLL_SECONDS", 0.0)
    original = step_module.augment.apply
    failed: list[int] = []

    def flaky(*arguments: Any, **options: Any) -> Any:
        if status_of(run).epochs == 4 and run.checkpoint("last").stat().st_mtime_ns > before and not failed:
            failed.append(1)
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        if status_of(run).epochs == 2 and not run.control.exists():
            send_request(run, "edit", epochs=4)
        return original(*arguments, **options)

    class Replaced(BaseException):
        """In place of the fresh process."""

    def execv(*_: Any) -> None:
        raise Replaced

    run = trainer.create(tiny_config(training={"epochs": 1}))
    assert end(run) == 0
    before = run.checkpoint("last").stat().st_mtime_ns
    monkeypatch.setattr(worker_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(step_module.augment, "apply", flaky)
    monkeypatch.setattr(os, "execv", execv)
    launch = {"epochs": 2, "retries": 1, "time": "2026-11-28T19:00:00.000Z"}
    with pytest.raises(Replaced):
        end(run, **launch)
    assert end(run, **launch) == 0
    assert messages(run, "edit") == ["epochs 1 -> 2", "epochs 2 -> 4"], "answered once"
    assert [record.epoch for record in trainer.steps(run) if record.kind == "eval"] == [1, 2, 3, 4]


def test_without_retries_left_it_fails(trainer: Trainer, end: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*arguments: Any, **options: Any) -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(step_module.augment, "apply", lost)
    monkeypatch.setattr(os, "execv", lambda *arguments: pytest.fail("began anew"))
    run = trainer.create(tiny_config())
    assert end(run, retries=0) == 4


def test_an_error_of_our_own_is_reported_with_its_kind(
    trainer: Trainer, end: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr(step_module.augment, "apply", broken)
    run = trainer.create(tiny_config())
    assert end(run) == 4
    assert (status_of(run).error or "").startswith("KeyError: ")


def test_a_power_cut_leaves_no_result_without_predictions(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are forced to the disk, the predictions first."""
    forced: list[str] = []

    def replaced(path: Path, data: bytes, durable: bool = False) -> None:
        if durable:
            forced.append(path.name)
        replace_bytes(path, data, durable)

    for module in ("result", "desk"):
        monkeypatch.setattr(f"fmnist_tui.training.{module}.replace_bytes", replaced)
    run = trainer.create(tiny_config(training={"epochs": 1, "max_steps": 2}))
    trainer.train(run)
    assert forced == ["predictions.npz", "result.json"]
