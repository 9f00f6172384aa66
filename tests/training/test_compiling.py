"""Compiling the network: what a trial decides, and that it leaves nothing behind."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmnist_tui.training import compiling
from fmnist_tui.training.compiling import choose_training
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import choose
from fmnist_tui.training.step import TrainStep
from tests.training.small_network import Batches, Small, broken, make_step, wrong
from tests.training.tiny import full_size_config

pytestmark = pytest.mark.usefixtures("backend")


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


def test_want_of_memory_in_a_trial_is_left_to_the_steps(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """They halve a micro-batch, or say what fits."""
    step = make_step(micro_batch="auto")
    forward, asked = step.model.forward, []

    def scarce(images: Tensor) -> Tensor:
        asked.append(len(images))
        if len(images) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        logits: Tensor = forward(images)
        return logits

    monkeypatch.setattr(step.model, "forward", scarce)
    choice = choose_training(step, batches, steps_left=100_000)
    assert choice == compiling.Choice("off", compiling.NO_MEMORY) and step.compile == "off" and asked == [8]
    pixels = torch.zeros(8, 28, 28, dtype=torch.uint8)
    step(pixels, torch.zeros(8, dtype=torch.int64), 0.1, 1, 0)
    assert step.micro_batch == 4
    step.compile = "default"
    assert compiling.choose_evaluation(step, batches[0][0], 10**6) == compiling.Choice("off", compiling.NO_MEMORY)


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
    config = full_size_config(training={"deterministic": False, "batch_size": 8, "precision": "bf16"})
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
