"""Each network against an independent reading of REFERENCE.md, "Architectures".

`Reading` knows only the words of that page and the names of the weights. It computes with explicit formulas
(batch norm and the pixel shift included) and shares no code with fmnist_tui.models. Logits and the gradient
of every parameter must agree, in training mode (batch statistics) and in evaluation mode (running ones).
"""

from collections.abc import Callable, Iterator

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

EPSILON = 1e-5  # batch norm's, the field's usual value


class Reading:
    """The networks as functions of named weights. `branch_weights` yields (a, b) for each Shake-Shake block."""

    def __init__(
        self,
        weights: dict[str, Tensor],
        training: bool,
        branch_weights: Iterator[tuple[Tensor, Tensor]] | None = None,
        dropout: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        self.weights = weights
        self.training = training
        self.branch_weights = branch_weights
        self.dropout = dropout
        self.used: set[str] = set()

    def weight(self, name: str) -> Tensor:
        assert name not in self.used, f"{name} is used twice"
        self.used.add(name)
        return self.weights[name]

    def conv(self, name: str, x: Tensor, kernel: int, channels: tuple[int, int], stride: int = 1) -> Tensor:
        weight = self.weight(f"{name}.weight")
        assert weight.shape == (channels[1], channels[0], kernel, kernel), name
        return F.conv2d(x, weight, None, stride, padding=kernel // 2)

    def bn(self, name: str, x: Tensor) -> Tensor:
        if self.training:
            mean = x.mean(dim=(0, 2, 3))
            variance = (x - mean[None, :, None, None]).square().mean(dim=(0, 2, 3))
        else:
            mean, variance = self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"]
        scale = self.weight(f"{name}.weight") / (variance + EPSILON).sqrt()
        shift = self.weight(f"{name}.bias") - mean * scale
        return x * scale[None, :, None, None] + shift[None, :, None, None]

    def bn_relu(self, name: str, x: Tensor) -> Tensor:
        return self.bn(f"{name}.bn", x).clamp(min=0)

    def logits(self, x: Tensor) -> Tensor:
        average = x.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])
        return average @ self.weight("classifier.linear.weight").T + self.weight("classifier.linear.bias")

    def residual_block(self, name: str, x: Tensor, width: int, stride: int, shortcut: bool) -> Tensor:
        """Pre-activation basic block, 1x1 shortcut from the activated input."""
        channels = x.shape[1]
        activated = self.bn_relu(f"{name}.norm1", x)
        y = self.conv(f"{name}.conv1", activated, 3, (channels, width), stride)
        y = self.dropout(self.bn_relu(f"{name}.norm2", y))
        y = self.conv(f"{name}.conv2", y, 3, (width, width))
        if shortcut:
            return self.conv(f"{name}.shortcut", activated, 1, (channels, width), stride) + y
        return x + y

    def wide_resnet(self, images: Tensor, widths: tuple[int, int, int], blocks: int) -> Tensor:
        x = self.conv("stem", images, 3, (1, 16))
        for index in range(3 * blocks):
            width = widths[index // blocks]
            stride = 2 if index in (blocks, 2 * blocks) else 1
            x = self.residual_block(f"blocks.{index}", x, width, stride, shortcut=x.shape[1] != width)
        assert x.shape[2:] == (7, 7)
        return self.logits(self.bn_relu("norm", x))

    def densenet(
        self, images: Tensor, stem: int, growth: int, layers: int, compression: float, bottleneck: bool
    ) -> Tensor:
        x = self.conv("stem", images, 3, (1, stem))
        place = 0
        for block in range(3):
            for _ in range(layers):
                y = x
                if bottleneck:
                    y = self.bn_relu(f"blocks.{place}.bottleneck.0", y)
                    y = self.conv(f"blocks.{place}.bottleneck.1", y, 1, (x.shape[1], 4 * growth))
                    y = self.dropout(y)
                y = self.bn_relu(f"blocks.{place}.norm", y)
                y = self.dropout(self.conv(f"blocks.{place}.conv", y, 3, (y.shape[1], growth)))
                x = torch.cat((x, y), dim=1)
                place += 1
            if block < 2:
                y = self.bn_relu(f"blocks.{place}.norm", x)
                y = self.conv(f"blocks.{place}.conv", y, 1, (x.shape[1], int(x.shape[1] * compression)))
                y = self.dropout(y)
                x = (y[:, :, ::2, ::2] + y[:, :, 1::2, ::2] + y[:, :, ::2, 1::2] + y[:, :, 1::2, 1::2]) / 4
                place += 1
        assert x.shape[2:] == (7, 7)
        return self.logits(self.bn_relu("norm", x))

    def dual_path_net(self, images: Tensor, filters: tuple[int, ...], growth: tuple[int, ...], units: int) -> Tensor:
        x = self.conv("stem", images, 3, (1, 16))
        place = 0
        for stage, (wide, grow) in enumerate(zip(filters, growth, strict=True)):
            stride = (1, 2, 2)[stage]
            residual = self.residual_block(f"units.{place}.residual", x, wide, stride, shortcut=True)
            dense = self.conv(f"units.{place}.dense", x, 3, (x.shape[1], 2 * grow), stride)
            place += 1
            for _ in range(units - 1):
                x = torch.cat((residual, dense), dim=1)
                y = self.bn_relu(f"units.{place}.layers.0", x)
                y = self.conv(f"units.{place}.layers.1", y, 3, (x.shape[1], wide + grow))
                y = self.bn_relu(f"units.{place}.layers.2", y)
                y = self.conv(f"units.{place}.layers.3", y, 3, (wide + grow, wide + grow))
                added, appended = torch.split(y, [wide, grow], dim=1)
                residual, dense = residual + added, torch.cat((dense, appended), dim=1)
                place += 1
            x = torch.cat((residual, dense), dim=1)
        return self.logits(self.bn_relu("norm", x))

    def shake_shake(self, images: Tensor, base: int, blocks: int) -> Tensor:
        x = self.bn("stem.1", self.conv("stem.0", images, 3, (1, base)))
        for index in range(3 * blocks):
            name, width = f"blocks.{index}", base * 2 ** (index // blocks)
            stride = 2 if index in (blocks, 2 * blocks) else 1
            b1 = self.shake_branch(f"{name}.branch1", x, width, stride)
            b2 = self.shake_branch(f"{name}.branch2", x, width, stride)
            shortcut = x if x.shape[1] == width else self.shake_shortcut(f"{name}.shortcut", x, width)
            if self.branch_weights is None:
                mixture = 0.5 * b1 + 0.5 * b2
            else:
                a, b = next(self.branch_weights)
                # The value with a, the gradient with b
                backward = b * b1 + (1 - b) * b2
                mixture = backward + (a * b1 + (1 - a) * b2 - backward).detach()
            x = shortcut + mixture
        return self.logits(x.clamp(min=0))

    def shake_branch(self, name: str, x: Tensor, width: int, stride: int) -> Tensor:
        y = self.conv(f"{name}.0", x.clamp(min=0), 3, (x.shape[1], width), stride)
        y = self.conv(f"{name}.2", self.bn_relu(f"{name}.1", y), 3, (width, width))
        return self.bn(f"{name}.3", y)

    def shake_shortcut(self, name: str, x: Tensor, width: int) -> Tensor:
        x = x.clamp(min=0)
        shifted = torch.zeros_like(x)
        shifted[:, :, :-1, :-1] = x[:, :, 1:, 1:]
        halves = (
            self.conv(f"{name}.conv_even", x[:, :, ::2, ::2], 1, (x.shape[1], width // 2)),
            self.conv(f"{name}.conv_odd", shifted[:, :, ::2, ::2], 1, (x.shape[1], width // 2)),
        )
        return self.bn(f"{name}.norm", torch.cat(halves, dim=1))


Read = Callable[[Reading, Tensor], Tensor]

# The configuration, and what REFERENCE.md's words make of it; small widths, then the presets' own sizes.
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
