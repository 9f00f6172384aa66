"""Compiling the network: what a trial decides, that it leaves nothing behind, and that no compiler can end a run."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_tui.data.batches import DeviceDataset
from fmnist_tui.data.source import Images
from fmnist_tui.report.bench import BenchRecord
from fmnist_tui.runs.result import Result
from fmnist_tui.training import compiling
from fmnist_tui.training.bench import __main__ as bench
from fmnist_tui.training.compiling import choose_evaluation, choose_training, settle
from fmnist_tui.training.evaluate import EVAL_BATCH, evaluate
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import choose
from fmnist_tui.training.step import TrainStep
from tests.events import messages
from tests.training.tiny import Trainer, tiny_config

Batches = list[tuple[Tensor, Tensor]]
NOISY = {"kind": "shake_shake", "depth": 8, "base_channels": 4}


class Small(nn.Module):
    """What a trial may disturb, batch norm's statistics and random numbers, and little to trace: most of a test's time.

    A trial traces its network twice; Shake-Shake in its place took 20 s where this takes less than one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.linear = nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) float images to (B, 10) logits."""
        features = F.relu(self.bn(self.conv(images)))
        logits: Tensor = self.linear(F.dropout(features, 0.2, self.training).mean((2, 3)))
        return logits


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Traces the network as a real compiler does, and runs what was traced; a test may put another in its place.

    "eager" leaves autograd to make the backward pass; "aot_eager" traces that too, and takes about twice as long.
    """

    def use(other: Any) -> None:
        monkeypatch.setattr(compiling, "BACKEND", other)

    use("eager")
    torch._dynamo.utils.counters.clear()
    yield use
    torch._dynamo.reset()
    torch._dynamo.config.suppress_errors = False
    torch._inductor.config.fallback_random = False


def make_step(try_compile: bool = True, **training: Any) -> TrainStep:
    config = tiny_config(training={"deterministic": False, "batch_size": 8, **training})
    torch.manual_seed(0)
    model = Small()
    execution = replace(choose(config.training, torch.device("cpu")), try_compile=try_compile)
    return TrainStep(model, build_optimizer(model, config.optimizer), config, execution)


@pytest.fixture
def batches(images: Images) -> Batches:
    step = make_step()
    pixels = torch.from_numpy(images.train_images[:16].copy())
    labels = torch.from_numpy(images.train_labels[:16].copy()).long()
    return [(step.inputs(pixels[i : i + 8], 1, 0), labels[i : i + 8]) for i in (0, 8)]


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says how long a call takes, eager first, then each candidate."""

    def set_seconds(*values: float) -> None:
        answers = iter(values)
        monkeypatch.setattr(compiling, "_seconds", lambda run, device: (run(), next(answers))[1])

    return set_seconds


def wrong(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    """A compiler whose networks answer half of what they should."""
    return lambda *values: [0.5 * value for value in module(*values)]


def broken(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    raise RuntimeError("no C++ compiler here")


def test_the_faster_mode_is_kept_and_the_numbers_are_told(batches: Batches, seconds: Any) -> None:
    step = make_step()
    seconds(0.010, 0.004)
    choice = choose_training(step, batches, steps_left=100_000)
    assert (choice.mode, step.compile, choice.problems) == ("default", "default", ())
    assert "eager 10.00 ms, default 4.00 ms" in choice.reason and "saves about 600 s" in choice.reason
    assert step.network is not step.model


def test_what_is_hardly_faster_is_left(batches: Batches, seconds: Any) -> None:
    step = make_step()
    seconds(0.0100, 0.0099)
    choice = choose_training(step, batches, steps_left=100_000)
    assert (choice.mode, step.compile) == ("off", "off") and "nothing was faster" in choice.reason
    assert step.network is step.model


def test_a_short_run_makes_no_trial(batches: Batches, seconds: Any, backend: Any) -> None:
    backend(broken)
    step = make_step()
    seconds(0.010)
    choice = choose_training(step, batches, steps_left=1000)
    assert choice.mode == "off" and "take 10 s at most" in choice.reason and not choice.problems


@pytest.mark.parametrize("outcome", [(0.01, 0.005), (0.01, 0.02)])
def test_a_trial_leaves_nothing_behind(batches: Batches, seconds: Any, outcome: tuple[float, ...]) -> None:
    """Weights, batch norm's statistics, gradients, random numbers: as if it had never been."""
    step = make_step()
    before = {key: value.clone() for key, value in step.model.state_dict().items()}
    random = torch.get_rng_state()
    seconds(*outcome)
    choose_training(step, batches, steps_left=100_000)
    assert torch.equal(torch.get_rng_state(), random)
    after = step.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(parameter.grad is None for parameter in step.model.parameters())


@pytest.mark.parametrize(("other", "words"), [(wrong, "differ from the eager ones"), (broken, "no C++ compiler")])
@pytest.mark.parametrize("automatic", [True, False])
def test_no_compiler_is_trusted(
    batches: Batches, seconds: Any, backend: Any, other: Any, words: str, automatic: bool
) -> None:
    backend(other)
    step = make_step(automatic, compile="auto" if automatic else "default")
    seconds(0.01)
    choice = choose_training(step, batches, steps_left=100_000)
    assert choice.mode == step.compile == "off" and step.network is step.model
    assert len(choice.problems) == 1
    assert all(words in problem for problem in choice.problems)


def test_gradients_that_are_no_numbers_are_refused(batches: Batches, backend: Any) -> None:
    """As Inductor once gave them, with a loss that was right."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    def spoiled(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        return make_boxed_func(lambda *values: [None if v is None else v * float("nan") for v in module(*values)])

    def plain(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        return make_boxed_func(module)

    backend(aot_autograd(fw_compiler=plain, bw_compiler=spoiled))
    step = make_step(False, compile="default")
    choice = choose_training(step, batches, steps_left=10)
    assert choice.mode == "off" and "gradients differ from the eager ones by nan" in choice.problems[0]


class Deep(nn.Module):
    """Layers of batch norm, each of which enlarges what rounding did: first gradients in bf16 are over 10 % off."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 4, 3, stride=2)]
        for _ in range(9):
            layers += [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
        self.layers, self.linear = nn.Sequential(*layers), nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) float images to (B, 10) logits."""
        logits: Tensor = self.linear(self.layers(images).mean((2, 3)))
        return logits


@pytest.mark.parametrize(("factor", "refused"), [(1.0, False), (0.5, True), (-1.0, True), (0.0, True)])
def test_rounding_elsewhere_is_no_mistake_of_a_compiler(batches: Batches, factor: float, refused: bool) -> None:
    """A network that rounds nothing, and the same with wrong gradients, beside an eager one in bf16."""
    config = tiny_config(training={"deterministic": False, "batch_size": 8, "precision": "bf16"})
    torch.manual_seed(0)
    model = Deep()
    step = TrainStep(
        model, build_optimizer(model, config.optimizer), config, choose(config.training, torch.device("cpu"))
    )

    def unrounded(inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            logits: Tensor = model(inputs.float())
        return logits.detach() + factor * (logits - logits.detach())

    compiling._forward_backward(step, model, *batches[0])
    eager = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    compiling._forward_backward(step, unrounded, *batches[0])
    other = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    if factor == 1.0:
        assert float((other - eager).norm() / eager.norm()) > 0.1, "nothing to tell apart"
    step.network = unrounded
    with pytest.raises(compiling.Refused) if refused else nullcontext():
        compiling._compare(step, batches)


def test_a_trial_counts_micro_batches(batches: Batches, seconds: Any) -> None:
    """A step is two of those here."""
    step = make_step(micro_batch=4)
    parts = [(inputs[:4], labels[:4]) for inputs, labels in batches]
    seconds(0.010, 0.008)
    choice = choose_training(step, parts, steps_left=50_000)
    assert choice.mode == step.compile == "default" and not choice.problems
    assert "a micro-batch takes eager 10.00 ms" in choice.reason and "saves about 200 s" in choice.reason


@pytest.mark.parametrize(
    ("mode", "torchs"),
    [("default", "default"), ("reduce-overhead", "default"), ("max-autotune", "max-autotune-no-cudagraphs")],
)
def test_the_compiler_makes_no_graphs_of_its_own(monkeypatch: pytest.MonkeyPatch, mode: str, torchs: str) -> None:
    """They would be captured while the whole step is."""
    asked = []
    monkeypatch.setattr(compiling, "BACKEND", "inductor")
    monkeypatch.setattr(torch, "compile", lambda model, **options: asked.append(options["mode"]))
    compiling.compiled(Small(), mode)
    assert asked == [torchs]


def test_the_first_evaluation_finds_its_network_compiled(
    images: Images, seconds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial's tensors are what an evaluation's are: for others the compiler would begin anew."""
    monkeypatch.setitem(EVAL_BATCH, "cpu", 50)
    step = make_step()
    train_set = DeviceDataset(images.train_images[:16], images.train_labels[:16])
    test_set = DeviceDataset(images.test_images, images.test_labels)
    seconds(0.010, 0.005, 0.010, 0.005)
    settled = settle(step, train_set, test_set, epoch=1, epochs=10**6, steps_left=10**6)
    assert settled.evaluation is not None and settled.evaluation.mode == "default"
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    evaluate(step.model, step.eval_network, test_set, step.execution)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled


def test_evaluation_has_its_own_network(batches: Batches, seconds: Any, backend: Any) -> None:
    step = make_step()
    inputs = batches[0][0]
    assert choose_evaluation(step, inputs, 10**6).mode == "off", "training is not compiled"
    step.use("default")
    seconds(0.010, 0.005)
    choice = choose_evaluation(step, inputs, 10**6)
    assert choice.mode == "default" and step.eval_network is not step.model
    step.eval_network = step.model
    seconds(0.010)
    backend(wrong)
    assert choose_evaluation(step, inputs, 10**6).problems and step.eval_network is step.model


def test_a_compiled_run_equals_an_eager_one(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    """Noise included. The short last batch of each epoch runs as it is: one shape is compiled, once."""
    backend("aot_eager")
    monkeypatch.setattr(compiling, "choose_evaluation", lambda *arguments: pytest.fail("its batch is never full"))
    runs = []
    for mode in ("off", "default"):
        run = trainer.create(tiny_config(model=NOISY, training={"deterministic": False, "epochs": 2, "compile": mode}))
        trainer.train(run)
        runs.append(run)
    eager, other = (trainer.weights(run) for run in runs)
    assert all(torch.allclose(eager[key].float(), other[key].float(), rtol=1e-4, atol=1e-5) for key in eager)
    result = Result.model_validate_json(runs[1].result.read_bytes())
    assert result.compile == "default" and "agree with eager ones" in result.choices["compile"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_run_whose_compiler_fails_goes_on_without(trainer: Trainer, backend: Any) -> None:
    backend(broken)
    run = trainer.create(tiny_config(training={"deterministic": False, "epochs": 1, "compile": "default"}))
    trainer.train(run)
    warnings = messages(run, "warning")
    assert len(warnings) == 1 and "no C++ compiler here" in warnings[0]
    assert Result.model_validate_json(run.result.read_bytes()).compile == "off"


@pytest.mark.parametrize(
    ("seconds_asked", "mode", "words"),
    [(bench.TRIAL_SECONDS, "default", "saves about"), (bench.TRIAL_SECONDS - 1, "off", "--thorough")],
)
def test_bench_makes_the_trial_of_a_run(
    images: Images, seconds: Any, seconds_asked: float, mode: str, words: str
) -> None:
    """Where there is time for it; its record says how the network ran, and why."""
    config = tiny_config(training={"deterministic": False})
    job = bench.Job(config, "cpu", None, None, seconds_asked, 0, [])
    rig = bench._rig(job, replace(choose(config.training, torch.device("cpu")), try_compile=True), images)
    seconds(100.0, 40.0)
    spent = bench._compilation(rig, job)
    assert (spent is None) == (mode == "off") and spent != 0.0
    assert (rig.step.compile, rig.execution.compile) == (mode, mode)
    assert words in rig.execution.reasons["compile"]


def test_bench_compiles_as_told_and_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_tui.training.bench.ceiling.MATRIX_SIDE", {"cpu": 256})
    monkeypatch.setattr("fmnist_tui.training.bench.ceiling.CONV_IMAGES", {"cpu": 1})
    config = tiny_config(training={"deterministic": False, "compile": "default", "batch_size": 16})
    *phases, last = bench.measure(bench.Job(config, "cpu", None, None, 0.0, 0, []))
    assert {"phase": "compiling"} in phases
    record = BenchRecord.model_validate(last["record"])
    assert record.compile == record.choices["compile"] == "default"
    assert record.compile_seconds and record.startup_seconds > 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2, "one for training, one for evaluation"


def test_another_batch_than_the_runs_is_not_compiled(images: Images) -> None:
    config = tiny_config(training={"deterministic": False, "compile": "default"})
    job = bench.Job(config, "cpu", None, None, 0.0, 0, [], batch=8)
    rig = bench._rig(job, choose(config.training, torch.device("cpu")), images)
    assert bench._compilation(rig, job) is None
    rig.take_step()
    assert rig.step.compile == rig.execution.compile == "off"
    assert "compiling is for batches of 32" in rig.execution.reasons["compile"]


def why_no_inductor() -> str:
    """What Inductor lacks on this machine to build its kernels, '' where it has all."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"no C++ compiler ({compiler}): Inductor can't build its kernels"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return "" if header.is_file() else f"{header} is missing: Inductor can't build its kernels"


@pytest.mark.skipif(bool(why_no_inductor()), reason=why_no_inductor())
@pytest.mark.skipif(
    torch.__version__.startswith("2.11."),
    reason="torch 2.11's Inductor computes other gradients on a CPU with bf16; a run that sets it refuses it",
)
def test_inductor_trains_as_eager_does(
    images: Images, backend: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The compiler that users have: losses, weights, momentum and batch norm's statistics of 4 steps, the last short.

    The C++ compiler is at work most of the time: for four kernels, not also for programs that try what /proc/cpuinfo
    tells of the CPU, nor for a header that would make many kernels cheaper and is kept outside the test's directory.
    """
    backend("inductor")
    monkeypatch.setattr(torch._inductor.config.cpp, "vec_isa_ok", True)
    monkeypatch.setattr(torch._inductor.config, "cpp_cache_precompile_headers", False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    config = tiny_config(training={"deterministic": False, "batch_size": 16})
    pixels = torch.from_numpy(images.train_images[:56].copy())
    labels = torch.from_numpy(images.train_labels[:56].copy()).long()
    found = []
    for mode in ("off", "default"):
        torch.manual_seed(0)
        model = Small()
        optimizer = build_optimizer(model, config.optimizer)
        step = TrainStep(model, optimizer, config, replace(choose(config.training, torch.device("cpu")), compile=mode))
        losses = [
            step(pixels[at : at + 16], labels[at : at + 16], 0.1, 1, nth)[0] for nth, at in enumerate(range(0, 56, 16))
        ]
        momentum = [state["momentum_buffer"] for state in optimizer.state.values()]
        found.append([torch.stack(losses), *model.parameters(), *momentum, *model.buffers()])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-4)
    assert list((tmp_path / "kernels").rglob("*.cpp")), "no kernel was written: this was not Inductor"
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
