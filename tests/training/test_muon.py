"""Muon: the iteration against the singular value decomposition, the update written out, and torch's SGD beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmnist_tui.config import OptimizerConfig
from fmnist_tui.models import build_model
from fmnist_tui.presets import load_preset
from fmnist_tui.training.muon import NEWTON_SCHULZ, Muon, orthogonalise
from fmnist_tui.training.optim import InPlaceSGD, build_optimizer, set_learning_rate
from tests.training.tiny import full_size_config

SHAPES = [(8, 27), (27, 8), (16, 16), (3, 12, 40)]


def matrices(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_iteration_changes_singular_values_by_its_polynomial_alone(shape: tuple[int, ...], steps: int) -> None:
    """U and V stay: the result is U p(p(...(S / |S|))) V^T, computed here from torch's SVD in float64."""
    x = matrices(shape).double()
    left, values, right = torch.linalg.svd(x, full_matrices=False)
    values = values / values.norm(dim=-1, keepdim=True)
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        values = a * values + b * values**3 + c * values**5
    expected = left @ torch.diag_embed(values) @ right
    torch.testing.assert_close(orthogonalise(x, steps, torch.float64), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(orthogonalise(x.float(), steps), expected.float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_iteration_comes_near_to_u_v_transposed(shape: tuple[int, ...]) -> None:
    """Five iterations bring every singular value to 0.65..1.25; the direction is that of U V^T."""
    x = matrices(shape)
    left, _, right = torch.linalg.svd(x, full_matrices=False)
    exact = left @ right
    for dtype, tolerance in ((torch.float32, 0.02), (torch.bfloat16, 0.04)):
        found = orthogonalise(x, 5, dtype)
        assert found.dtype == torch.float32
        values = torch.linalg.svdvals(found)
        small = values.min() if shape != (16, 16) else values[..., :-2].min()  # a square one has values near 0
        assert small > 0.6 and values.max() < 1.3
        cosine = (found * exact).sum() / (found.norm() * exact.norm())
        assert cosine > 1.0 - tolerance - (0.02 if shape == (16, 16) else 0.0)


def test_scale_does_not_matter_and_zero_stays_zero() -> None:
    x = matrices((6, 20))
    torch.testing.assert_close(orthogonalise(1e-4 * x, 3), orthogonalise(x, 3), rtol=1e-4, atol=1e-5)
    for dtype in (torch.bfloat16, torch.float16):  # far below what fp16 can hold
        torch.testing.assert_close(orthogonalise(1e-9 * x, 3, dtype), orthogonalise(x, 3, dtype), rtol=0, atol=0.03)
    assert torch.equal(orthogonalise(torch.zeros(4, 5), 3), torch.zeros(4, 5))


def small_network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.LazyLinear(3)
    )


def train(model: nn.Module, optimizer: torch.optim.Optimizer, rates: list[float]) -> list[list[Tensor]]:
    """Steps on fixed random data; the gradients of every step, by parameter."""
    data = torch.randn(5, 1, 10, 10, generator=torch.Generator().manual_seed(2))
    seen = []
    for lr in rates:
        optimizer.zero_grad()
        model(data).square().sum().backward()
        seen.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
        set_learning_rate(optimizer, lr)
        optimizer.step()
    return seen


RATES = [0.1, 0.1, 0.05, 0.01]


def test_filters_follow_the_update_written_out() -> None:
    """Nesterov momentum 0.7, orthogonalised one by one, on filters scaled to norm sqrt(number of filters)."""
    model = small_network()
    model(torch.zeros(2, 1, 10, 10))
    config = OptimizerConfig(kind="muon", lr=0.1, muon_momentum=0.7, muon_steps=4)
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    gradients = train(model, build_optimizer(model, config), RATES)
    for index, weight in enumerate(expected):
        if weight.ndim != 4:
            continue
        buffer = torch.zeros_like(weight)
        for lr, step in zip(RATES, gradients, strict=True):
            buffer = 0.7 * buffer + step[index]
            direction = (step[index] + 0.7 * buffer).flatten(1)
            weight *= len(weight) ** 0.5 / weight.norm()
            weight -= lr * orthogonalise(direction, 4).view_as(weight)
        torch.testing.assert_close(list(model.parameters())[index].detach(), weight, rtol=1e-4, atol=1e-5)


def test_biases_and_head_follow_torchs_sgd_at_their_own_rates() -> None:
    model = small_network()
    model(torch.zeros(2, 1, 10, 10))
    settings: dict[str, Any] = {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01}
    config = OptimizerConfig(kind="muon", lr=0.1, bias_lr=0.03, head_lr=0.2, **settings)
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in model.parameters()]
    gradients = train(model, build_optimizer(model, config), RATES)
    for axes, rate in ((1, 0.03), (2, 0.2)):
        of_kind = [index for index, copy in enumerate(copies) if copy.ndim == axes]
        sgd = torch.optim.SGD([copies[index] for index in of_kind], lr=rate, **settings)
        for lr, step in zip(RATES, gradients, strict=True):
            for index in of_kind:
                copies[index].grad = step[index]
            sgd.param_groups[0]["lr"] = rate * lr / 0.1
            sgd.step()
        for index in of_kind:
            torch.testing.assert_close(list(model.parameters())[index].detach(), copies[index].detach())


def test_every_trained_parameter_of_the_preset_is_in_one_group_and_frozen_ones_in_none() -> None:
    config = load_preset("turbo")
    model = build_model(config.model)
    optimizer = build_optimizer(model, config.optimizer)
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert [(g["orthogonal"], {p.ndim for p in g["params"]}) for g in optimizer.param_groups] == [
        (True, {4}),
        (False, {2}),
        (False, {1}),
    ]
    set_learning_rate(optimizer, config.optimizer.lr / 2)
    rates = [group["lr"] for group in optimizer.param_groups]
    halves = [config.optimizer.lr / 2, config.optimizer.head_lr / 2, config.optimizer.bias_lr / 2]
    assert rates == pytest.approx(halves)


def test_state_goes_on_where_it_was_saved() -> None:
    """Four steps at once, and two with a state saved, loaded into another optimizer, and two more: the same bits."""
    config = OptimizerConfig(kind="muon")
    whole, parted = small_network(), small_network()
    for model in (whole, parted):
        model(torch.zeros(2, 1, 10, 10))
    parted.load_state_dict(whole.state_dict())
    train(whole, build_optimizer(whole, config), RATES)
    first = build_optimizer(parted, config)
    train(parted, first, RATES[:2])
    second: Any = build_optimizer(parted, config)
    second.load_state_dict(first.state_dict())
    train(parted, second, RATES[2:])
    for a, b in zip(whole.parameters(), parted.parameters(), strict=True):
        assert torch.equal(a, b)


def test_optimizer_is_sgd_unless_asked() -> None:
    model = small_network()
    model(torch.zeros(2, 1, 10, 10))
    assert type(build_optimizer(model, full_size_config().optimizer)) is InPlaceSGD
    assert type(build_optimizer(model, OptimizerConfig(kind="muon"))) is Muon
