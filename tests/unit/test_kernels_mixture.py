"""The end of a Shake-Shake block by `models.kernels` against torch's in float64: results, gradients, statistics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fmnist_tui.models import kernels
from fmnist_tui.models.kernels import mixture
from tests.unit import kernel_inputs
from tests.unit.kernel_inputs import CHANNELS_LAST, close, images, largest_term, norm

SHAPES = [
    (4, 24, 7, 7),
    (3, 13, 5, 7),
    (1, 1, 9, 9),
    (2, 64, 1, 1),  # fewer images than threads
    (7, 130, 9, 9),  # more pixels than are summed in float
    (32, 48, 28, 28),
]
Pair = tuple[Tensor, Tensor]


def weights_of(level: str, count: int) -> Pair | None:
    if level == "none":
        return None
    drawn = torch.rand((2, count if level == "image" else 1, 1, 1, 1), generator=torch.Generator().manual_seed(3))
    first, second = drawn.to(kernel_inputs.dtype).unbind()
    return first, second


def inputs_of(shape: tuple[int, ...]) -> list[Tensor]:
    """Two branches and a shortcut, leaves."""
    made = [images(*shape, seed=seed) for seed in range(3)]
    return [x.requires_grad_() for x in made]


def grad_of(shape: tuple[int, ...], seed: int) -> Tensor:
    """Quarters: the sum of two is as exact in bf16."""
    drawn = torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(seed)) / 4
    return drawn.to(kernel_inputs.dtype, memory_format=CHANNELS_LAST)


def exactly(
    inputs: list[Tensor],
    norms: list[nn.BatchNorm2d],
    weights: Pair | None,
    positive: Tensor,
    grads: list[Tensor | None],
) -> list[Tensor]:
    """Sum, its ReLU and the inputs' gradients in float64, by the formulas; ReLU as `positive` says, which rounds.

    The gradients of the norms' weights and biases are left in `norms`.
    """
    first, second, shortcut = (x.detach().double().requires_grad_() for x in inputs)
    y, z = norms[0](first), norms[1](second)
    a, b = (0.5, 0.5) if weights is None else (weight.double() for weight in weights)
    total = shortcut + a * y + (1 - a) * z
    direct, above = (torch.zeros_like(total) if grad is None else grad.double() for grad in grads)
    grad = direct + torch.where(positive, above, 0.0)
    torch.autograd.backward([y, z], [b * grad, (1 - b) * grad])
    assert first.grad is not None and second.grad is not None
    return [total.detach(), total.detach().relu(), first.grad, second.grad, grad]


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("level", ["image", "batch", "none"])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_is_torchs_in_float64(shape: tuple[int, ...], level: str, threads: int) -> None:
    torch.set_num_threads(threads)
    inputs, weights = inputs_of(shape), weights_of(level, shape[0])
    ours, theirs = [norm(shape[1]), norm(shape[1])], [norm(shape[1]).double(), norm(shape[1]).double()]
    grads: list[Tensor | None] = [grad_of(shape, 5), grad_of(shape, 6)]
    first, second, shortcut = inputs
    total, activated = kernels.norm_mixture((ours[0], ours[1]), (first, second), weights, shortcut)
    assert "NormMixture" in type(total.grad_fn).__name__, "torch would have made this one as well"
    for result in (total, activated):
        assert result.dtype == kernel_inputs.dtype and result.is_contiguous(memory_format=CHANNELS_LAST)
    torch.autograd.backward([total, activated], grads)
    exact = exactly(inputs, theirs, weights, activated > 0, grads)
    found = [total, activated, *(x.grad for x in inputs)]
    both = grad_of(shape, 5).abs() + grad_of(shape, 6).abs()
    terms = max(largest_term(bn, x.detach(), both) for bn, x in zip(ours, inputs[:2], strict=True))
    for mine, expected in zip(found, exact, strict=True):
        assert mine is not None
        close(mine, expected, terms=terms if mine is first.grad or mine is second.grad else 0.0)
    for mine_norm, exact_norm in zip(ours, theirs, strict=True):
        for parameter, expected in zip(mine_norm.parameters(), exact_norm.parameters(), strict=True):
            assert parameter.grad is not None and expected.grad is not None
            close(parameter.grad, expected.grad, 2e-5)
        for buffer, moved in zip(mine_norm.buffers(), exact_norm.buffers(), strict=True):
            close(buffer, moved, 2e-5)


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("looked_at", ["sum", "relu"])
def test_one_result_alone_may_be_used(looked_at: str) -> None:
    """The last block's sum goes nowhere but into its ReLU; that of a block before a halving one, too."""
    shape = (3, 24, 5, 5)
    inputs, weights, grad = inputs_of(shape), weights_of("image", 3), images(*shape, seed=5)
    ours, theirs = [norm(24), norm(24)], [norm(24).double(), norm(24).double()]
    total, activated = kernels.norm_mixture((ours[0], ours[1]), (inputs[0], inputs[1]), weights, inputs[2])
    (total if looked_at == "sum" else activated).backward(grad)
    grads: list[Tensor | None] = [grad, None] if looked_at == "sum" else [None, grad]
    exact = exactly(inputs, theirs, weights, activated > 0, grads)
    for x, expected in zip(inputs, exact[2:], strict=True):
        assert x.grad is not None
        close(x.grad, expected)


@pytest.mark.usefixtures("kernels_used")
def test_gradients_may_lie_otherwise_in_memory() -> None:
    results = []
    for layout in (CHANNELS_LAST, torch.contiguous_format):
        inputs = inputs_of((3, 24, 5, 5))
        results_of = kernels.norm_mixture((norm(24), norm(24)), (inputs[0], inputs[1]), None, inputs[2])
        grads = [images(3, 24, 5, 5, seed=seed).contiguous(memory_format=layout) for seed in (5, 6)]
        torch.autograd.backward(results_of, grads)
        results.append([x.grad for x in inputs])
    for one, other in zip(*results, strict=True):
        assert one is not None and other is not None and torch.equal(one, other)


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_uses_the_running_statistics(shape: tuple[int, ...]) -> None:
    first, second, shortcut = (x.detach() for x in inputs_of(shape))
    norms = norm(shape[1]), norm(shape[1])
    for bn, seed in zip(norms, (7, 8), strict=True):
        bn(images(*shape, seed=seed).float())
        bn.eval()
    with torch.inference_mode():
        found = kernels.norm_mixture(norms, (first, second), None, shortcut)
        exact = shortcut.double() + (norms[0].double()(first.double()) + norms[1].double()(second.double())) / 2
    close(found[0], exact)
    close(found[1], exact.relu())


@pytest.mark.usefixtures("kernels_used")
def test_not_a_number_spreads_as_in_torch() -> None:
    first, second, shortcut = (x.detach() for x in inputs_of((2, 24, 4, 4)))
    second[1, 3, 2, 2] = float("nan")
    shortcut[0, 5, 1, 1] = float("nan")
    norms = norm(24), norm(24)
    for found in kernels.norm_mixture(norms, (first, second), None, shortcut):
        assert found[:, 3].isnan().all() and found[0, 5, 1, 1].isnan()
        assert int(found.isnan().sum()) == 2 * 16 + 1
    assert norms[1].running_mean is not None and bool(norms[1].running_mean[3].isnan())


@pytest.mark.usefixtures("kernels_used")
def test_the_same_threads_give_the_same_bits() -> None:
    torch.set_num_threads(2)
    results = []
    for _ in range(3):
        inputs, norms = inputs_of((16, 36, 14, 14)), (norm(36), norm(36))
        found = kernels.norm_mixture(norms, (inputs[0], inputs[1]), weights_of("image", 16), inputs[2])
        torch.autograd.backward(found, [images(16, 36, 14, 14, seed=seed) for seed in (5, 6)])
        parts = [x.grad for x in (*inputs, norms[0].weight, norms[1].bias)]
        results.append(torch.cat([part.float().flatten() for part in parts if part is not None]))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize(
    "what",
    ["other dtype", "contiguous", "one of another size", "other batch norm", "off", "evaluation with grad", "mixed"],
)
def test_what_does_not_fit_is_torchs(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Pair:
        raise AssertionError("by the kernels")

    monkeypatch.setattr(mixture, "_trained", never)
    monkeypatch.setattr(mixture, "_evaluated", never)
    first, second, shortcut = inputs_of((4, 24, 6, 6))
    norms = norm(24), norm(24)
    if what == "other dtype":
        other = torch.float32 if first.dtype == torch.bfloat16 else torch.bfloat16
        first, second, shortcut = first.to(other), second.to(other), shortcut.to(other)
    elif what == "contiguous":
        second = second.contiguous(memory_format=torch.contiguous_format)
    elif what == "one of another size":
        shortcut = images(1, 24, 1, 1)  # torch repeats it
    elif what == "other batch norm":

        class Other(nn.BatchNorm2d):
            pass

        norms = norm(24), Other(24)
    elif what == "off":
        kernels.use(None)
    else:
        for bn in norms[: 1 if what == "mixed" else 2]:
            bn.eval()
    weights = weights_of("image", 4)
    assert weights is not None
    weights = (weights[0].to(first.dtype), weights[1].to(first.dtype))
    found = kernels.norm_mixture(norms, (first, second), weights, shortcut)
    for bn in norms:
        bn.reset_running_stats()
    with torch.no_grad():
        expected = shortcut + torch.lerp(norms[1](second), norms[0](first), weights[0])
    assert torch.equal(found[0], expected) and torch.equal(found[1], expected.relu())
