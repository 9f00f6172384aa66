"""Shake-Shake's random mixture: its gradient, its draws, and the three settings of its configuration."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmnist_tui.config import ShakeShakeConfig
from fmnist_tui.models import build_model, shake_shake
from fmnist_tui.models.kernels import norm_mixture
from fmnist_tui.models.kernels.mixture import Mix
from fmnist_tui.models.shake_shake import EvenAndOdd, ShakeBlock, draw_branch_weights

CHANNELS = 4


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """The real draws, recorded."""
    draws: list[tuple[Tensor, Tensor]] = []

    def draw(x: Tensor, level: str) -> tuple[Tensor, Tensor]:
        draws.append(draw_branch_weights(x, level))
        return draws[-1]

    monkeypatch.setattr(shake_shake, "draw_branch_weights", draw)
    return draws


def block(**settings: Any) -> ShakeBlock:
    return ShakeBlock(CHANNELS, CHANNELS, 1, ShakeShakeConfig(base_channels=CHANNELS, **settings))


def mixed(made: ShakeBlock, images: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Two branches, their mixture, and the gradient of its sum with respect to each."""
    branch1, branch2 = torch.randn(2, images, CHANNELS, 3, 3).unbind()
    branch1.requires_grad_()
    branch2.requires_grad_()
    identity = nn.BatchNorm2d(CHANNELS, eps=1e-30).eval(), nn.BatchNorm2d(CHANNELS, eps=1e-30).eval()
    weights = made._weights(branch1)
    mixture, _ = norm_mixture(identity, (branch1, branch2), weights, torch.zeros_like(branch1))
    grad1, grad2 = torch.autograd.grad(mixture.sum(), (branch1, branch2))
    return branch1.detach(), branch2.detach(), mixture.detach(), grad1, grad2


def test_value_uses_a_and_gradient_uses_b() -> None:
    branch1, branch2, direction = torch.randn(3, 5, CHANNELS, 3, 3, dtype=torch.float64).unbind()
    a, b = torch.rand(2, 5, 1, 1, 1, dtype=torch.float64).unbind()
    branch1.requires_grad_()
    branch2.requires_grad_()
    mixture = Mix.apply(branch1, branch2, a, b)
    grad1, grad2 = torch.autograd.grad(mixture, (branch1, branch2), direction)
    for image in range(5):
        weight, other = a[image].item(), b[image].item()
        torch.testing.assert_close(mixture[image], weight * branch1[image] + (1 - weight) * branch2[image])
        torch.testing.assert_close(grad1[image], other * direction[image])
        torch.testing.assert_close(grad2[image], (1 - other) * direction[image])


def test_with_one_weight_for_both_passes_the_gradient_is_the_true_one() -> None:
    branches = torch.randn(2, 3, 2, 2, 2, dtype=torch.float64)
    a = torch.rand(3, 1, 1, 1, dtype=torch.float64)
    inputs = [branch.clone().requires_grad_() for branch in branches]
    assert torch.autograd.gradcheck(lambda x, y: Mix.apply(x, y, a, a), inputs)


def test_draws_are_uniform_and_independent() -> None:
    torch.manual_seed(0)
    images = 20_000
    x = torch.empty(1, 1, 1, 1).expand(images, 1, 1, 1)
    a, b = draw_branch_weights(x, "image")
    assert a.shape == b.shape == (images, 1, 1, 1)
    for weight in (a, b):
        counts = torch.histc(weight, bins=10, min=0, max=1)
        assert counts.sum() == images
        assert torch.all((counts - images / 10).abs() < 5 * (images / 10) ** 0.5)
    correlation = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
    assert abs(correlation) < 5 / images**0.5


def test_precision_does_not_change_the_draws() -> None:
    draws = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(3)
        a, b = draw_branch_weights(torch.empty(8, 1, 1, 1, dtype=dtype), "image")
        assert a.dtype == b.dtype == dtype
        draws.append(torch.stack([a, b]))
    assert torch.equal(draws[0].to(torch.bfloat16), draws[1])


def test_every_image_has_its_own_weights(drawn: list[tuple[Tensor, Tensor]]) -> None:
    branch1, branch2, mixture, grad1, grad2 = mixed(block())
    ((a, b),) = drawn
    assert len(set(a.flatten().tolist() + b.flatten().tolist())) == 12
    torch.testing.assert_close(mixture, a * branch1 + (1 - a) * branch2)
    torch.testing.assert_close(grad1, b.expand_as(grad1))
    torch.testing.assert_close(grad2, (1 - b).expand_as(grad2))


def test_level_batch_draws_one_weight_for_all_images(drawn: list[tuple[Tensor, Tensor]]) -> None:
    branch1, branch2, mixture, grad1, _ = mixed(block(shake_level="batch"))
    ((a, b),) = drawn
    assert a.numel() == b.numel() == 1
    torch.testing.assert_close(mixture, a.item() * branch1 + (1 - a.item()) * branch2)
    torch.testing.assert_close(grad1, torch.full_like(grad1, b.item()))


def test_without_backward_shake_the_forward_weights_are_used_again(drawn: list[tuple[Tensor, Tensor]]) -> None:
    branch1, branch2, mixture, grad1, grad2 = mixed(block(shake_backward=False))
    ((a, _),) = drawn
    torch.testing.assert_close(mixture, a * branch1 + (1 - a) * branch2)
    torch.testing.assert_close(grad1, a.expand_as(grad1))
    torch.testing.assert_close(grad2, (1 - a).expand_as(grad2))


def test_without_forward_shake_the_value_is_the_mean(drawn: list[tuple[Tensor, Tensor]]) -> None:
    branch1, branch2, mixture, grad1, _ = mixed(block(shake_forward=False))
    ((_, b),) = drawn
    torch.testing.assert_close(mixture, (branch1 + branch2) / 2)
    torch.testing.assert_close(grad1, b.expand_as(grad1))


@pytest.mark.parametrize("case", ["eval", "no shake"])
def test_half_of_each_branch_and_no_draw(case: str, drawn: list[tuple[Tensor, Tensor]]) -> None:
    made = block().eval() if case == "eval" else block(shake_forward=False, shake_backward=False)
    branch1, branch2, mixture, grad1, grad2 = mixed(made)
    assert torch.equal(mixture, 0.5 * (branch1 + branch2))
    assert torch.all(grad1 == 0.5) and torch.all(grad2 == 0.5)
    assert not drawn


def test_identity_shortcut_passes_negative_values_on() -> None:
    """The ReLU that opens the branches must not reach the shortcut, nor write into the block's input."""
    made = block().eval()
    for norm in (made.branch1[3], made.branch2[3]):
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.zeros_(norm.weight)  # both branches give 0
    x = torch.randn(2, CHANNELS, 6, 6)
    before = x.clone()
    passed, activated = made(x, x.relu())
    assert torch.equal(passed, before) and torch.equal(activated, before.relu())
    assert torch.equal(x, before)


def test_forward_draws_everything_so_that_a_seed_determines_the_gradient() -> None:
    torch.manual_seed(0)
    model = build_model(ShakeShakeConfig(depth=8, base_channels=4))
    images = torch.randn(3, 1, 28, 28)
    gradients = []
    for disturb in (False, True):
        torch.manual_seed(5)
        loss = model(images).square().sum()
        if disturb:
            torch.rand(11)
        state = torch.get_rng_state()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
        assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_shortcuts_pixels_and_their_gradient(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    found = EvenAndOdd.apply(x)
    sliced = x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]
    directions = torch.randn(2, 2, 3, 3, 2, dtype=torch.float64).unbind()
    grads = [torch.autograd.grad(pixels, x, directions)[0] for pixels in (found, sliced)]
    assert all(torch.equal(one, other) for one, other in zip(found, sliced, strict=True))
    assert torch.equal(*grads) and grads[0].is_contiguous(memory_format=layout)
