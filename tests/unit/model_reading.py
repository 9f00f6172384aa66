"""The reference's networks, read anew from its papers and its code, for the tests to compare ours with.

`Reading` knows only what these say in words and the names of the weights. It computes with explicit formulas
(batch norm and the pixel shift included) and shares no code with fmnist_tui.models.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

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
