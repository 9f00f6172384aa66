"""Dense blocks, with the norm behind them, by `models.kernels` against torch's in float64; and what they leave."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_tui.config import DenseNetConfig
from fmnist_tui.models import build_model, kernels
from fmnist_tui.models.kernels import BottleneckLayer, check, dense, dense_block
from fmnist_tui.models.layers import conv1x1, conv3x3
from tests.unit.kernel_inputs import CHANNELS_LAST, close, images, norm

SHAPES = [  # images, channels, between, growth, height, width, layers
    (4, 24, 48, 12, 8, 8, 3),
    (3, 13, 21, 14, 9, 10, 2),  # neither channels nor pixels fill anything
    (1, 16, 16, 12, 4, 4, 1),
    (13, 40, 48, 12, 28, 28, 2),  # several shares of pixels
    (2, 130, 64, 33, 7, 7, 4),
]
pytestmark = [pytest.mark.usefixtures("kernels_used"), pytest.mark.parametrize("kernels_used", ["fp32"], indirect=True)]


class Block(NamedTuple):
    layers: list[BottleneckLayer]
    norm: nn.BatchNorm2d

    def norms(self) -> list[nn.BatchNorm2d]:
        return [*(bn for layer in self.layers for bn in (layer.norm1, layer.norm2)), self.norm]

    def parameters(self) -> list[Tensor]:
        return [*(p for layer in self.layers for p in layer.parameters()), self.norm.weight, self.norm.bias]


def block_of(channels: int, between: int, growth: int, count: int) -> Block:
    generator = torch.Generator().manual_seed(5)
    layers = []
    for index in range(count):
        reduce, grow = conv1x1(channels + index * growth, between), conv3x3(between, growth)
        for conv in (reduce, grow):
            filters = torch.randn(conv.weight.shape, generator=generator) / conv.weight[0].numel() ** 0.5
            conv.weight = nn.Parameter(filters.contiguous(memory_format=CHANNELS_LAST))
        layers.append(BottleneckLayer(norm(channels + index * growth), reduce, norm(between), grow))
    return Block(layers, norm(channels + count * growth))


def exact_block(block: Block, x: Tensor) -> Tensor:
    """By torch, in x's dtype."""
    for norm1, reduce, norm2, grow in block.layers:
        y = F.conv2d(F.relu(norm1(x)), reduce.weight)
        y = F.conv2d(F.relu(norm2(y)), grow.weight, padding=1)
        x = torch.cat([x, y], dim=1)
    return F.relu(block.norm(x))


def in_float64(block: Block) -> Block:
    copies = copy.deepcopy(block)
    for module in (*(module for layer in copies.layers for module in layer), copies.norm):
        module.double()
    return copies


def by_kernels(block: Block, x: Tensor) -> Tensor:
    result = dense_block(block.layers, block.norm, x)
    assert result is not None, "torch would have made it"
    assert result.is_contiguous(memory_format=CHANNELS_LAST)
    return result


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_is_torchs_in_float64(shape: tuple[int, ...], threads: int) -> None:
    """Results, all gradients, and the statistics of every norm."""
    torch.set_num_threads(threads)
    count, channels, between, growth, *size, depth = shape
    ours, x = block_of(channels, between, growth, depth), images(count, channels, *size)
    theirs, exact_x = in_float64(ours), x.double().requires_grad_()
    grad = torch.randn((count, channels + depth * growth, *size), generator=torch.Generator().manual_seed(3))
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    result, exact = by_kernels(ours, leaf), exact_block(theirs, exact_x)
    result.backward(grad)
    exact.backward(grad.double())
    close(result, exact, 3e-5)
    assert leaf.grad is not None and exact_x.grad is not None
    assert leaf.grad.is_contiguous(memory_format=CHANNELS_LAST)
    tolerance = 1e-3 if count * size[0] * size[1] < 1000 else 2e-2  # what rounding moves over ReLU's edge adds up
    assert (leaf.grad - exact_x.grad).norm() <= tolerance * exact_x.grad.norm()
    for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert found.grad is not None and expected.grad is not None
        assert found.grad.stride() == found.stride()
        assert (found.grad - expected.grad).norm() <= tolerance * expected.grad.norm()
    for bn, expected_bn in zip(ours.norms(), theirs.norms(), strict=True):
        for found, expected in zip(bn.buffers(), expected_bn.buffers(), strict=True):
            close(found, expected, 3e-5)


def test_evaluation_is_torchs_in_float64_and_moves_nothing() -> None:
    ours, x = block_of(24, 48, 12, 3), images(5, 24, 14, 14)
    by_kernels(ours, x)  # running statistics that are not those they begin with
    for bn in ours.norms():
        bn.eval()
    theirs = in_float64(ours)
    with torch.no_grad():
        close(by_kernels(ours, x), exact_block(theirs, x.double()), 3e-5)
    for bn, expected_bn in zip(ours.norms(), theirs.norms(), strict=True):
        for found, before in zip(bn.buffers(), expected_bn.buffers(), strict=True):
            assert torch.equal(found, before.to(found.dtype))


def test_a_gradient_may_lie_otherwise_in_memory_and_is_left_as_it_is() -> None:
    found = []
    for layout in (CHANNELS_LAST, torch.contiguous_format):
        block, x = block_of(24, 48, 12, 2), images(3, 24, 8, 8).requires_grad_()
        grad = images(3, 48, 8, 8, seed=3).contiguous(memory_format=layout)
        before = grad.clone()
        by_kernels(block, x).backward(grad)
        assert torch.equal(grad, before)
        assert x.grad is not None
        grads = [p.grad.flatten() for p in block.parameters() if p.grad is not None]
        found.append(torch.cat([x.grad.flatten(), *grads]))
    assert torch.equal(found[0], found[1])


def test_the_same_threads_make_the_same_bits() -> None:
    torch.set_num_threads(3)
    found = []
    for _ in range(2):
        block, x = block_of(24, 48, 12, 2), images(30, 24, 14, 14).requires_grad_()
        by_kernels(block, x).square().sum().backward()
        assert x.grad is not None
        found.append(x.grad)
    assert torch.equal(found[0], found[1])


def test_gradients_may_be_wanted_of_filters_alone() -> None:
    """As where the layers before are not trained."""
    block, x = block_of(24, 48, 12, 2), images(3, 24, 8, 8)
    first, second = block.layers
    second.grow.weight.requires_grad_(False)
    by_kernels(block, x).square().sum().backward()
    assert x.grad is None and second.grow.weight.grad is None
    assert first.reduce.weight.grad is not None and first.reduce.weight.grad.any()


def test_not_a_number_spreads_as_in_torch() -> None:
    block, x = block_of(24, 48, 12, 1), images(3, 24, 8, 8)
    x[1, 3, 4, 4] = float("nan")
    found = by_kernels(block, x).isnan().flatten(2).all(dim=2).all(dim=0)
    assert found.nonzero().flatten().tolist() == [3, *range(24, 36)], "by batch norm to all images"


@pytest.mark.parametrize(
    "what",
    [
        "off",
        "contiguous",
        "one pixel",
        "few channels",
        "bias",
        "stride",
        "momentum",
        "no statistics",
        "evaluation",
        "the last norm",
    ],
)
def test_what_does_not_fit_is_left_to_torch(what: str) -> None:
    size, growth = (1 if what == "one pixel" else 8), (8 if what == "few channels" else 12)
    block, x = block_of(24, 48, growth, 2), images(1, 24, size, size)
    last = block.layers[1]
    if what == "off":
        kernels.use(None)
    elif what == "contiguous":
        x = x.contiguous(memory_format=torch.contiguous_format)
    elif what == "bias":
        last.reduce.bias = nn.Parameter(torch.ones(48))
    elif what == "stride":
        last.reduce.stride = (2, 2)
    elif what == "momentum":
        last.norm2.momentum = None
    elif what == "no statistics":
        last.norm1.running_mean = None
    elif what == "evaluation":  # of some layers only, as where they are frozen
        last.norm1.eval()
    elif what == "the last norm":
        block.norm.momentum = None
    counted = last.norm1.num_batches_tracked
    assert dense_block(block.layers, block.norm, x) is None
    assert counted is not None and counted == 0, "what torch computes is counted by torch"


@pytest.mark.parametrize(
    "changes", [{}, {"bottleneck": False}, {"drop_rate": 0.2}], ids=["bottleneck", "without one", "dropout"]
)
def test_a_network_takes_them_where_nothing_lies_between(
    changes: dict[str, bool | float], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = list[int]()
    real = dense.DenseBlock.apply

    def noted(x: Tensor, layers: Sequence[BottleneckLayer], *rest: Tensor) -> Tensor:
        taken.append(len(layers))
        result: Tensor = real(x, layers, *rest)
        return result

    monkeypatch.setattr(dense.DenseBlock, "apply", noted)
    config = DenseNetConfig.model_validate({"kind": "densenet", "depth": 22, "growth_rate": 12} | changes)
    model = build_model(config).to(memory_format=CHANNELS_LAST)
    x = torch.randn(4, 1, 28, 28).contiguous(memory_format=CHANNELS_LAST)
    model(x).sum().backward()
    assert taken == ([] if changes else [3, 3, 3])
    assert all(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        model.eval()(x)
    assert len(taken) == (0 if changes.get("bottleneck") is False else 3 if changes else 6)


def test_a_network_compiles_as_torchs() -> None:
    model = build_model(DenseNetConfig(depth=22, growth_rate=12, bottleneck=True)).to(memory_format=CHANNELS_LAST)
    x = torch.randn(4, 1, 28, 28).contiguous(memory_format=CHANNELS_LAST)
    found = torch.compile(model, backend="eager", fullgraph=True)(x)
    close(found, model(x), 1e-4)


def test_one_that_computes_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "_coefficients", lambda bn, _, rows: torch.ones(4, bn.num_features))
    check.problem.cache_clear()
    try:
        assert "a dense layer differs" in (check.problem(torch.float32) or "")
    finally:
        check.problem.cache_clear()


def test_looking_whether_they_are_right_draws_no_random_numbers() -> None:
    """The process that looks first would begin with other weights than one for which that is known."""
    before = torch.get_rng_state()
    check.problem.cache_clear()
    assert check.problem(torch.float32) is None
    assert torch.equal(torch.get_rng_state(), before)
