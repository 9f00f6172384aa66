"""Recorded steps: the same training as step by step. What records here repeats a call; a GPU's is in test_gpu.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from fmnist_tui.config import RunConfig, TrainingConfig
from fmnist_tui.data.augment import epoch_flips
from fmnist_tui.data.batches import DeviceDataset, batch_indices, epoch_permutation, train_batch
from fmnist_tui.data.source import Images, load_sample
from fmnist_tui.fields import with_changes
from fmnist_tui.models import begin_epoch, build_model, initialise_from
from fmnist_tui.presets import load_preset
from fmnist_tui.runs.result import Result
from fmnist_tui.training import compiling, graphs
from fmnist_tui.training.graphs import EAGER_STEPS
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import Execution, choose
from fmnist_tui.training.schedule import mixes, train_resolution
from fmnist_tui.training.step import OutOfMemory, TrainStep
from tests.events import messages
from tests.training.tiny import Trainer, full_size_config

CPU = torch.device("cpu")
RECORDER = graphs.Recorder
NOISY = {"model": {"kind": "shake_shake", "depth": 8, "base_channels": 4}}


class Repeater:
    """Stands in for a Recorder: repeats the call, and leaves the results where the first ones would be."""

    made: ClassVar[list[Repeater]] = []
    error: ClassVar[Exception | None] = None

    def __init__(self, device: torch.device) -> None:
        self.records = 0
        self.replays = 0
        Repeater.made.append(self)

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield

    def record(self, run: Callable[[], Any], generators: Sequence[torch.Generator] = ()) -> tuple[Any, Any]:
        if self.error is not None:
            raise self.error
        self.records += 1
        results = (torch.zeros(()), torch.zeros((), dtype=torch.int64))

        def replay() -> None:
            self.replays += 1
            found = run()
            for result, value in zip(results, found if isinstance(found, tuple) else (), strict=False):
                result.copy_(value)

        return replay, results


@pytest.fixture(autouse=True)
def repeater(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "Recorder", Repeater)
    Repeater.made.clear()


def make_step(config: RunConfig, images: Images, recorded: bool) -> TrainStep:
    torch.manual_seed(0)
    execution = replace(choose(config.training, CPU), cuda_graphs=recorded)
    model = build_model(config.model).to(memory_format=execution.memory_format)
    initialise_from(model, torch.from_numpy(images.train_images.copy()))
    return TrainStep(model, build_optimizer(model, config.optimizer, execution.dtype), config, execution)


def take_epochs(config: RunConfig, images: Images, recorded: bool, count: int = 110) -> tuple[TrainStep, list[Tensor]]:
    """Train on the first `count` images as the loop does; the step, and each step's loss and correct predictions."""
    step = make_step(config, images, recorded)
    dataset = DeviceDataset(images.train_images[:count], images.train_labels[:count])
    results, number = [], 0
    size = config.training.batch_size
    for epoch in range(1, config.training.epochs + 1):
        begin_epoch(step.model, epoch, config.training.epochs)
        step.mixing = mixes(epoch, config)
        permutation = epoch_permutation(count, config.seed, epoch)
        flips = epoch_flips(config.augment, count, config.seed, epoch)
        for batch in range(-(-count // size)):
            pixels, labels = train_batch(dataset, permutation, batch, size)
            flip = None if flips is None else flips[batch_indices(permutation, batch, size)]
            lr = config.optimizer.lr / (1 + number)
            found = step(pixels, labels, lr, epoch, batch, flip, train_resolution(epoch, config))
            results.append(torch.stack([value.double() for value in found]))
            number += 1
    return step, results


TURBO = {
    "training.batch_size": 20,
    "training.epochs": 4,
    "augment.low_resolution_share": 0.5,
    "model.whitening_bias_share": 0.75,
    "model.widths": (8, 12, 16),
    "training.precision": "fp32",
}


@pytest.mark.parametrize(
    ("config", "records"),
    [
        (full_size_config(**NOISY, augment={"cutout_size": 8}, training={"epochs": 2}), 1),
        (full_size_config(training={"epochs": 2, "micro_batch": 13}), 1),
        (with_changes(load_preset("turbo"), TURBO), 3),  # two sizes, and the whitening's bias frozen on the way
        (full_size_config(augment={"cutmix_probability": 0.5, "cutmix_share": 0.5}, training={"epochs": 4}), 2),
    ],
    ids=["noise", "micro-batches", "turbo", "CutMix"],
)
def test_recorded_steps_are_those_taken_one_by_one(images: Images, config: RunConfig, records: int) -> None:
    """Losses, weights, batch norm's statistics and momentum, with noise, augmentation and changing rates.

    The rate of a recorded step is float32, hence the tolerance.
    """
    eager, expected = take_epochs(config, images, recorded=False)
    step, found = take_epochs(config, images, recorded=True)
    assert torch.allclose(torch.stack(found), torch.stack(expected), rtol=1e-4)
    for one, other in zip(step.model.state_dict().values(), eager.model.state_dict().values(), strict=True):
        assert torch.allclose(one.double(), other.double(), rtol=1e-3, atol=1e-5)
    states = zip(step.optimizer.state.values(), eager.optimizer.state.values(), strict=True)
    assert all(torch.allclose(a["momentum_buffer"], b["momentum_buffer"], rtol=1e-3, atol=1e-4) for a, b in states)
    (recorder,) = Repeater.made
    size, epochs = config.training.batch_size, config.training.epochs
    whole = 110 // size * epochs
    assert recorder.records == records and recorder.replays == whole - records * EAGER_STEPS > records
    assert all(isinstance(group["lr"], float) for group in step.optimizer.param_groups), "a checkpoint holds numbers"


def test_results_are_no_views_of_what_the_next_step_overwrites(images: Images) -> None:
    _, found = take_epochs(full_size_config(training={"epochs": 3}), images, recorded=True)
    assert len({float(result[0]) for result in found}) == len(found)


def test_an_update_is_announced_before_a_replay(images: Images) -> None:
    """So that a signal to stop does not cut a step whose weights have changed."""
    step = make_step(full_size_config(), images, recorded=True)
    pixels, labels = torch.from_numpy(images.train_images[:32].copy()), torch.zeros(32, dtype=torch.int64)
    seen = []
    step.before_update = lambda: seen.append(Repeater.made[0].replays)
    for index in range(6):
        step(pixels, labels, 0.1, 1, index)
    assert seen[:EAGER_STEPS] == [0] * EAGER_STEPS
    assert seen[EAGER_STEPS:] == [0, 1, 1, 2, 2, 3], "each replay of this stand-in announces the repeated step's too"


def test_another_network_is_recorded_anew(images: Images) -> None:
    step = make_step(full_size_config(), images, recorded=True)
    pixels, labels = torch.from_numpy(images.train_images[:32].copy()), torch.zeros(32, dtype=torch.int64)
    for index in range(EAGER_STEPS + 2):
        step(pixels, labels, 0.1, 1, index)
    step.use("off")
    for index in range(EAGER_STEPS + 2):
        step(pixels, labels, 0.1, 1, index)
    assert Repeater.made[0].records == 2 and Repeater.made[0].replays == 4


def test_what_cannot_be_recorded_costs_a_warning(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on step by step and says so once, and its result that nothing was recorded."""

    def recording(config: TrainingConfig, device: torch.device) -> Execution:
        chosen = choose(config, device)
        return replace(chosen, cuda_graphs=True, reasons=chosen.reasons | {"cuda_graphs": "faster"})

    config = full_size_config(training={"epochs": 1, "deterministic": False})
    plain, run = trainer.create(config), trainer.create(config)
    trainer.train(plain)
    monkeypatch.setattr("tests.training.tiny.choose", recording)
    monkeypatch.setattr(Repeater, "error", RuntimeError("operation not permitted when stream is capturing\nmore of it"))
    trainer.train(run)
    warnings = messages(run, "warning")
    assert len(warnings) == 1 and "operation not permitted when stream is capturing;" in warnings[0]
    assert Result.model_validate_json(run.result.read_bytes()).choices["cuda_graphs"].startswith("off: ")
    ours, theirs = trainer.weights(run), trainer.weights(plain)
    assert all(torch.allclose(ours[key].float(), theirs[key].float(), rtol=1e-4, atol=1e-6) for key in ours)


def test_no_step_is_recorded_that_reads_from_the_device(images: Images) -> None:
    """In fp16 torch's scaler asks the device at each of Muon's steps, and of unfused SGD's, before it takes them."""
    config = with_changes(load_preset("turbo"), TURBO)
    for other in ({}, {"optimizer.kind": "sgd"}):
        config = with_changes(config, other)
        torch.manual_seed(0)
        model = build_model(config.model)
        execution = replace(choose(config.training, CPU), precision="fp16", cuda_graphs=True)
        optimizer = build_optimizer(model, config.optimizer, execution.dtype, fused=False)
        step = TrainStep(model, optimizer, config, execution)
        assert step.graphs is not None and step.graphs.problem is not None
        assert "waits for whether a gradient overflowed" in step.graphs.problem
    step = make_step(config, images, recorded=True)
    assert step.graphs is not None and step.graphs.problem is None


def test_a_record_gives_way_to_a_batch_that_does_not_fit_beside_it(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short last batch of an epoch has activations of its own. The micro-batch stays, the run says why."""
    step = make_step(full_size_config(), images, recorded=True)
    pixels, labels = torch.from_numpy(images.train_images[:32].copy()), torch.zeros(32, dtype=torch.int64)
    for index in range(EAGER_STEPS + 2):
        step(pixels, labels, 0.1, 1, index)
    forward_backward, fails = step._forward_backward, [True]

    def scarce(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if fails:
            raise torch.OutOfMemoryError(f"CUDA out of memory. {fails.pop()}")
        return forward_backward(inputs, labels)

    monkeypatch.setattr(step, "_forward_backward", scarce)
    loss, _ = step(pixels[:7], labels[:7], 0.1, 1, 0)
    assert bool(loss.isfinite()) and step.micro_batch == 32
    assert step.graphs is not None and step.graphs.problem is not None and "memory" in step.graphs.problem
    step(pixels, labels, 0.1, 2, 0)
    assert Repeater.made[0].replays == 2, "nothing is recorded any more"
    fails.append(True)
    with pytest.raises(OutOfMemory, match=r"16 fit; --set training\.micro_batch=16"):
        step(pixels, labels, 0.1, 2, 1)


def test_a_trial_of_compiling_times_what_will_run(images: Images) -> None:
    """With steps that are recorded, passes are: what a host needs to hand kernels over would decide else."""
    pixels, labels = torch.from_numpy(images.train_images[:32].copy()), torch.zeros(32, dtype=torch.int64)
    for recorded in (False, True):
        step = make_step(full_size_config(), images, recorded)
        batch = step.inputs(pixels, 1, 0), labels
        compiling._pass(step, step.model, batch)()
        assert bool(Repeater.made) == recorded
    assert (Repeater.made[0].records, Repeater.made[0].replays) == (1, 1)


def test_a_compiled_pass_that_cannot_be_recorded_is_no_reason_to_record_no_eager_steps(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(self: Repeater, run: Callable[[], Any], generators: Sequence[torch.Generator] = ()) -> tuple[Any, Any]:
        if self.records:
            raise RuntimeError("operation not permitted when stream is capturing")
        return recorded(self, run, generators)

    recorded = Repeater.record
    monkeypatch.setattr(Repeater, "record", record)
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr(compiling, "_seconds", lambda run, device: (run(), 0.01)[1])
    step = make_step(full_size_config(training={"batch_size": 8}), images, recorded=True)
    step.execution = replace(step.execution, try_compile=True)
    pixels, labels = torch.from_numpy(images.train_images[:8].copy()), torch.zeros(8, dtype=torch.int64)
    choice = compiling.choose_training(step, [(step.inputs(pixels, 1, 0), labels)], 100_000)
    assert choice.mode == step.compile == "off" and "stream is capturing" in choice.problems[0]
    assert step.graphs is not None and step.graphs.problem is None
    torch._dynamo.reset()
    torch._inductor.config.fallback_random = False


class Generator:
    """Stands in for a GPU's, whose state a recording that broke off still holds."""

    device = CPU

    def __init__(self, seed: int) -> None:
        self.state = torch.Generator().manual_seed(seed).get_state()
        self.given: torch.Generator | None = None

    def get_state(self) -> Tensor:
        return self.state

    def graphsafe_set_state(self, state: torch.Generator) -> None:
        self.given = state


def test_a_recording_that_breaks_off_leaves_stream_and_generators_to_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own end of it raises before it puts them back."""
    current = ["usual"]

    class Breaking:
        def __init__(self, graph: Any, stream: Any, capture_error_mode: str) -> None:
            self.stream = stream

        def __enter__(self) -> None:
            current[0] = self.stream

        def __exit__(self, *_: object) -> None:
            raise RuntimeError("operation failed due to a previous error during capture")

    def run() -> None:
        raise ValueError("an item was read")

    default, own = Generator(1), Generator(2)
    for name, stand_in in {
        "current_stream": lambda device: current[0],
        "set_stream": lambda stream: current.__setitem__(0, stream),
        "CUDAGraph": object,
        "graph": Breaking,
        "default_generators": (default,),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    recorder = object.__new__(RECORDER)
    stream: Any = type("Stream", (), {"device": torch.device("cuda", 0)})()
    recorder._stream = stream
    with pytest.raises(RuntimeError, match="previous error") as caught:
        recorder.record(run, (own,))  # type: ignore[arg-type]
    assert current == ["usual"]
    for generator in (default, own):
        assert generator.given is not None and torch.equal(generator.given.get_state(), generator.state)
    step = make_step(full_size_config(), load_sample(), recorded=True)
    assert step.graphs is not None
    step.graphs.fail(caught.value)
    assert step.graphs.problem == f"{graphs.CANNOT}: an item was read", "the cause, not what came of it"


@pytest.mark.parametrize(
    ("steps", "answers", "records", "words"),
    [
        (100, [0.01], 0, "take 1 s at most"),
        (100_000, [0.01, 0.001], 1, "take 100 s at most"),
        (100_000, [0.01, 0.005, 0.002], 2, "a step takes eager 5.00 ms, default 2.00 ms"),
    ],
    ids=["short", "short from graphs", "long"],
)
def test_a_trial_is_worth_what_recorded_steps_leave_to_save(
    images: Images, monkeypatch: pytest.MonkeyPatch, steps: int, answers: list[float], records: int, words: str
) -> None:
    """A host that is slow to hand kernels over makes steps look long that take a moment from a record."""
    told = iter(answers)
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr(compiling, "_seconds", lambda run, device: (run(), next(told))[1])
    step = make_step(full_size_config(training={"batch_size": 8}), images, recorded=True)
    step.execution = replace(step.execution, try_compile=True)
    pixels, labels = torch.from_numpy(images.train_images[:8].copy()), torch.zeros(8, dtype=torch.int64)
    choice = compiling.choose_training(step, [(step.inputs(pixels, 1, 0), labels)], steps)
    assert words in choice.reason and not choice.problems
    assert Repeater.made[0].records == records and next(told, None) is None
    assert choice.mode == ("default" if records == 2 else "off")
    torch._dynamo.reset()
    torch._dynamo.config.suppress_errors = False
    torch._inductor.config.fallback_random = False
