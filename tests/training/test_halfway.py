"""A signal to stop in the middle of a step or an evaluation: given up within moments, and done again bit for bit."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch

from fmnist_tui.fields import with_changes
from fmnist_tui.models import begin_epoch, build_model
from fmnist_tui.presets import load_preset
from fmnist_tui.runs.requests import send_request
from fmnist_tui.training import evaluate as evaluate_module
from fmnist_tui.training import halfway
from fmnist_tui.training import step as step_module
from fmnist_tui.training.control import CutShort, StopSignal
from fmnist_tui.training.job import Job, Stopped
from fmnist_tui.training.optim import InPlaceSGD, build_optimizer
from fmnist_tui.training.precision import choose
from tests.training.tiny import Trainer, tiny_config
from tests.training.whole_runs import CUTOUT, SHAKE, without_clock

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """This process's own handlers come back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def terminate(*_: Any) -> None:
    signal.raise_signal(signal.SIGTERM)


def in_forward(patch: pytest.MonkeyPatch, call: int) -> None:
    """The loss of that step is computed: batch-norm's statistics have changed already."""
    original, calls = step_module.F.cross_entropy, []

    def cross_entropy(logits: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        calls.extend([1] * logits.requires_grad)  # not the evaluations'
        if logits.requires_grad and len(calls) == call:
            terminate()
        return original(logits, target, **options)

    patch.setattr(step_module.F, "cross_entropy", cross_entropy)


def in_backward(patch: pytest.MonkeyPatch, call: int) -> None:
    """The backward pass has begun; the signal comes while torch is in its own code."""
    original, calls = step_module.F.cross_entropy, []

    def cross_entropy(logits: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        calls.extend([1] * logits.requires_grad)
        if logits.requires_grad and len(calls) == call:
            logits.register_hook(terminate)
        return original(logits, target, **options)

    patch.setattr(step_module.F, "cross_entropy", cross_entropy)


def in_update(patch: pytest.MonkeyPatch, call: int) -> None:
    """The first weights have changed: the step must be finished."""
    original, calls = InPlaceSGD.step, []

    def step(self: InPlaceSGD, closure: Any = None) -> Any:
        calls.append(1)
        if len(calls) == call:
            terminate()
        return original(self, closure)

    patch.setattr(InPlaceSGD, "step", step)


def in_evaluation(patch: pytest.MonkeyPatch, call: int) -> None:
    """Before the first batch of the second evaluation."""
    original, calls = evaluate_module.normalize, []

    def normalize(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == call:
            terminate()
        return original(*arguments)

    patch.setattr(evaluate_module, "normalize", normalize)


def test_the_first_step_of_each_kind_may_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled network is compiled anew for another size, and where another part of it is frozen."""
    config = with_changes(load_preset("turbo"), {"model.widths": (8, 12, 16)})
    model = build_model(config.model)
    step = step_module.TrainStep(
        model, build_optimizer(model, config.optimizer), config, choose(config.training, torch.device("cpu"))
    )
    steps, seen = halfway.LongSteps(step, StopSignal()), list[int]()

    def note() -> AbstractContextManager[None]:
        seen.append(size)
        return nullcontext()

    monkeypatch.setattr(steps, "_may_be_cut", note)
    size = 20
    for epoch, size in ((1, 20), (3, 20), (4, 20), (5, 28), (6, 28)):
        begin_epoch(model, epoch, 8)
        with steps.under_way(size):
            pass
    assert seen == [20, 20, 28], "the first, the first with a bias that stands still, the first at another size"


@pytest.mark.parametrize(
    ("where", "call", "saved_step"),
    [(in_forward, 1, 0), (in_forward, 7, 6), (in_backward, 7, 6), (in_update, 7, 7), (in_evaluation, 2, 10)],
)
def test_cut_short_and_resumed_equals_uninterrupted(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, where: Any, call: int, saved_step: int
) -> None:
    monkeypatch.setattr(halfway, "LONG_STEP_SECONDS", 0.0)
    config = tiny_config(model=SHAKE, augment=CUTOUT)
    whole, parted = trainer.create(config), trainer.create(config)
    trainer.train(whole)
    with monkeypatch.context() as patch:
        trainer.during = lambda job: job.stop_signal.install()
        where(patch, call)
        with pytest.raises(Stopped, match="SIGTERM"):
            trainer.train(parted)
    content = torch.load(parted.checkpoint("last"), weights_only=True)
    assert content["progress"]["step"] == saved_step
    trainer.during = lambda job: None
    trainer.train(parted)
    a, b = trainer.weights(whole), trainer.weights(parted)
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    assert without_clock(trainer.steps(whole)) == without_clock(trainer.steps(parted))


def test_a_request_cuts_an_evaluation_short(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`runs stop` while the first evaluation is at its first batch; the batches are of 25 images here."""
    from fmnist_tui.training.control import ControlReader

    run = trainer.create(tiny_config())
    original, batches = evaluate_module.normalize, []

    def normalize(*arguments: Any) -> torch.Tensor:
        batches.append(1)
        if len(batches) == 1:
            send_request(run, "stop")
        return original(*arguments)

    def job_made(job: Job) -> None:
        monkeypatch.setattr("fmnist_tui.training.control.POLL_SECONDS", 0.0)

    assert ControlReader(run).poll() == []
    trainer.during = job_made
    with monkeypatch.context() as patch:
        patch.setattr(evaluate_module, "normalize", normalize)
        patch.setitem(evaluate_module.EVAL_BATCH, "cpu", 25)
        with pytest.raises(Stopped, match="a request"):
            trainer.train(run)
    assert len(batches) == 1
    assert [line.kind for line in trainer.steps(run)] == ["train"] * 5
    trainer.train(run)
    assert [line.kind for line in trainer.steps(run)].count("eval") == 3


def test_a_short_step_is_finished_first(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer.create(tiny_config())
    trainer.during = lambda job: job.stop_signal.install()
    with monkeypatch.context() as patch:
        in_forward(patch, 7)
        with pytest.raises(Stopped):
            trainer.train(run)
    assert torch.load(run.checkpoint("last"), weights_only=True)["progress"]["step"] == 7


def test_a_signal_that_came_before_cuts_at_once() -> None:
    stop = StopSignal()
    stop.install()
    terminate()
    with pytest.raises(CutShort), stop.may_cut():
        pytest.fail("was begun")


def test_what_may_not_be_cut_is_finished() -> None:
    stop = StopSignal()
    stop.install()
    done = []
    with stop.may_cut():
        stop.no_cut()
        terminate()
        done.append(1)
    assert done == [1] and stop.received == "SIGTERM"


def test_a_request_to_stop_after_the_epoch_does_not_put_a_signal_off(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both come within one long step: the machine is taken away, whatever the user had wished for before."""
    monkeypatch.setattr(halfway, "LONG_STEP_SECONDS", 0.0)
    monkeypatch.setattr("fmnist_tui.training.control.POLL_SECONDS", 0.0)
    run = trainer.create(tiny_config())
    trainer.during = lambda job: job.stop_signal.install()
    in_forward(monkeypatch, 3)
    raise_signal = signal.raise_signal

    def both(number: int) -> None:
        send_request(run, "stop_after_epoch")
        raise_signal(number)

    monkeypatch.setattr(signal, "raise_signal", both)
    with pytest.raises(Stopped, match="SIGTERM"):
        trainer.train(run)
    assert torch.load(run.checkpoint("last"), weights_only=True)["progress"]["step"] == 2
