"""Each network against an independent reading of the reference's (`model_reading`).

Logits and the gradient of every parameter must agree, in training mode (batch statistics) and in evaluation mode
(running ones).
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnist_tui.config import (
    DenseNetConfig,
    DualPathNetConfig,
    ModelConfig,
    ShakeShakeConfig,
    WideResNetConfig,
)
from fmnist_tui.models import build_model, shake_shake
from tests.unit.model_reading import Reading

Read = Callable[[Reading, Tensor], Tensor]

# The configuration, and what the reference's words make of it; small widths, then the presets' own sizes.
SMALL: dict[str, tuple[ModelConfig, Read]] = {
    "wrn": (
        WideResNetConfig(depth=16, widen_factor=2),
        lambda r, x: r.wide_resnet(x, (32, 64, 128), blocks=2),
    ),
    "wrn with an identity in its first block": (
        WideResNetConfig(depth=10, widen_factor=1),
        lambda r, x: r.wide_resnet(x, (16, 32, 64), blocks=1),
    ),
    "densenet": (
        DenseNetConfig(depth=22, growth_rate=5),
        lambda r, x: r.densenet(x, stem=10, growth=5, layers=3, compression=0.5, bottleneck=True),
    ),
    "densenet without bottleneck": (
        DenseNetConfig(depth=13, growth_rate=6, bottleneck=False, reduction=1.0),
        lambda r, x: r.densenet(x, stem=16, growth=6, layers=3, compression=1.0, bottleneck=False),
    ),
    "dpn": (
        DualPathNetConfig(blocks=(3, 3, 3), filters=(12, 16, 20), growth_rate=(3, 4, 5)),
        lambda r, x: r.dual_path_net(x, (12, 16, 20), (3, 4, 5), units=3),
    ),
    "shake-shake-96": (
        ShakeShakeConfig(depth=14, base_channels=6),
        lambda r, x: r.shake_shake(x, base=6, blocks=2),
    ),
    "shake-shake-64": (
        ShakeShakeConfig(depth=20, base_channels=4),
        lambda r, x: r.shake_shake(x, base=4, blocks=3),
    ),
}
FULL: dict[str, tuple[ModelConfig, Read]] = {
    "wrn": (WideResNetConfig(), lambda r, x: r.wide_resnet(x, (160, 320, 640), blocks=4)),
    "densenet": (
        DenseNetConfig(),
        lambda r, x: r.densenet(x, stem=24, growth=12, layers=16, compression=0.5, bottleneck=True),
    ),
    "dpn": (DualPathNetConfig(), lambda r, x: r.dual_path_net(x, (160, 320, 640), (16, 32, 64), units=4)),
    "shake-shake-96": (ShakeShakeConfig(), lambda r, x: r.shake_shake(x, base=96, blocks=4)),
    "shake-shake-64": (
        ShakeShakeConfig(base_channels=64),
        lambda r, x: r.shake_shake(x, base=64, blocks=4),
    ),
}


def build_with_random_norms(config: ModelConfig) -> nn.Module:
    """Batch norms and biases away from their initial values, which would hide a misplaced one."""
    torch.manual_seed(0)
    model = build_model(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.bias)
    return model


def force_branch_weights(monkeypatch: pytest.MonkeyPatch, like: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Make every draw of Shake-Shake a known one; returns the list the draws are added to."""
    generator = torch.Generator().manual_seed(7)
    drawn: list[tuple[Tensor, Tensor]] = []

    def draw(x: Tensor, level: str) -> tuple[Tensor, Tensor]:
        assert level == "image"
        a, b = torch.rand((2, x.shape[0], 1, 1, 1), generator=generator).to(like.dtype)
        drawn.append((a, b))
        return a, b

    monkeypatch.setattr(shake_shake, "draw_branch_weights", draw)
    return drawn


def leaf_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies of everything in the state dict; parameters collect gradients of their own."""
    parameters = dict(model.named_parameters())
    return {
        name: tensor.detach().clone().requires_grad_(name in parameters) for name, tensor in model.state_dict().items()
    }


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", SMALL)
def test_network_equals_the_reading(name: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    config, read = SMALL[name]
    model = build_with_random_norms(config).double().train(training)
    weights = leaf_weights(model)  # before the forward pass, which moves the running statistics
    images = torch.randn(4, 1, 28, 28, dtype=torch.float64)
    drawn = force_branch_weights(monkeypatch, images)

    logits = model(images)
    is_shaken = isinstance(config, ShakeShakeConfig) and training
    reading = Reading(weights, training, iter(drawn) if is_shaken else None)
    expected = read(reading, images)
    assert logits.shape == (4, 10)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    assert reading.used == {parameter for parameter, _ in model.named_parameters()}
    blocks = (config.depth - 2) // 2 if isinstance(config, ShakeShakeConfig) else 0
    assert len(drawn) == (blocks if training else 0)

    direction = torch.randn(4, 10, dtype=torch.float64)
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(logits, list(parameters.values()), direction)
    read_gradients = torch.autograd.grad(expected, [weights[key] for key in parameters], direction)
    torch.testing.assert_close(
        dict(zip(parameters, gradients, strict=True)),
        dict(zip(parameters, read_gradients, strict=True)),
        rtol=1e-7,
        atol=1e-7,
    )


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", FULL)
def test_preset_equals_the_reading_at_full_size(name: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    config, read = FULL[name]
    model = build_with_random_norms(config).train(training)
    weights = model.state_dict()
    images = torch.randn(2, 1, 28, 28)
    drawn = force_branch_weights(monkeypatch, images)
    with torch.no_grad():
        logits = model(images)
        is_shaken = isinstance(config, ShakeShakeConfig) and training
        expected = read(Reading(weights, training, iter(drawn) if is_shaken else None), images)
    scale = expected.abs().max().item()
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize(
    ("config", "read"),
    [
        (
            WideResNetConfig(depth=10, widen_factor=1, drop_rate=0.3),
            lambda r, x: r.wide_resnet(x, (16, 32, 64), blocks=1),
        ),
        (
            DenseNetConfig(depth=16, growth_rate=4, drop_rate=0.3),
            lambda r, x: r.densenet(x, stem=8, growth=4, layers=2, compression=0.5, bottleneck=True),
        ),
    ],
    ids=["wide_resnet", "densenet"],
)
def test_where_dropout_stands(config: ModelConfig, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a dropout that is no longer random: every second channel goes, the rest doubles."""

    def drop(x: Tensor) -> Tensor:
        mask = torch.arange(x.shape[1]) % 2 * 2
        return x * mask[None, :, None, None]

    def dropout(x: Tensor, p: float, training: bool) -> Tensor:
        assert p == 0.3
        return drop(x) if training else x

    monkeypatch.setattr(F, "dropout", dropout)
    model = build_with_random_norms(config).double()
    weights = leaf_weights(model)
    images = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    expected = read(Reading(weights, training=True, dropout=drop), images)
    torch.testing.assert_close(model(images), expected, rtol=1e-9, atol=1e-9)
    weights = leaf_weights(model.eval())
    torch.testing.assert_close(model(images), read(Reading(weights, training=False), images), rtol=1e-9, atol=1e-9)


def test_dropout_is_random_in_training_only() -> None:
    torch.manual_seed(0)
    model = build_model(WideResNetConfig(depth=10, widen_factor=1, drop_rate=0.5))
    images = torch.randn(2, 1, 28, 28)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
