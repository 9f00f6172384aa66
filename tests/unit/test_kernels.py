"""The layers of `models.kernels` against torch's in float64: results, gradients, statistics; and what they leave."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_tui.config import (
    DenseNetConfig,
    DualPathNetConfig,
    ModelConfig,
    ShakeShakeConfig,
    TurboConfig,
    WideResNetConfig,
)
from fmnist_tui.models import build_model, kernels
from fmnist_tui.models.kernels import build
from fmnist_tui.models.kernels import norm as norm_file
from fmnist_tui.models.kernels.norm import Activation
from tests.unit import kernel_inputs
from tests.unit.kernel_inputs import CHANNELS_LAST, close, images, largest_term, norm

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}
SHAPES = [
    (4, 24, 7, 7),
    (3, 36, 5, 7),
    (2, 13, 3, 5),  # 32 pixels fill whole vectors, and there are 30
    (1, 1, 9, 9),
    (2, 64, 1, 1),  # fewer pixels than threads
    (37, 130, 3, 3),
    (2, 700, 4, 5),  # 8 pixels together would not fit
    (64, 48, 28, 28),
]


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("shape", SHAPES)
def test_training_is_torchs_in_float64(shape: tuple[int, ...], activation: Activation, threads: int) -> None:
    torch.set_num_threads(threads)
    x, ours, theirs = images(*shape), norm(shape[1]), norm(shape[1]).double()
    grad = images(*shape, seed=2)
    mine = x.clone(memory_format=torch.preserve_format).requires_grad_()
    result = kernels.norm_activation(ours, mine, activation)
    assert result.dtype == x.dtype and result.is_contiguous(memory_format=CHANNELS_LAST)
    assert "NormActivation" in type(result.grad_fn).__name__, "torch would have made this one as well"
    result.backward(grad)
    exact_x = x.double().requires_grad_()
    exact = ACTIVATIONS[activation](theirs(exact_x))
    exact.backward(grad.double())
    close(result, exact)
    assert mine.grad is not None and exact_x.grad is not None
    close(mine.grad, exact_x.grad, terms=largest_term(ours, x, grad))
    for (name, found), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert found.grad is not None and expected.grad is not None, name
        close(found.grad, expected.grad, 2e-5)
    for (name, buffer), moved in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        assert buffer.dtype == (torch.int64 if name == "num_batches_tracked" else torch.float32)
        close(buffer, moved, 2e-5)


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_uses_the_running_statistics(shape: tuple[int, ...], activation: Activation) -> None:
    bn = norm(shape[1])
    for seed in range(3):
        bn(images(*shape, seed=seed).float())
    x = images(*shape, seed=9)
    bn.eval()
    with torch.inference_mode():
        found = kernels.norm_activation(bn, x, activation)
        kernels.use(None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(norm_file, "_evaluated", None)
            exact = kernels.norm_activation(bn.double(), x.double(), activation)
    close(found, exact)


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("channels", [24, 36, 64])
@pytest.mark.parametrize("apart", ["slice", "whole", "transposed", "none"])
def test_a_gradient_from_beside_is_added(channels: int, apart: str) -> None:
    """As densenet passes it: the first channels of the gradient of a concatenation."""
    x, other = images(3, channels, 5, 5), images(3, 12, 5, 5, seed=5)
    both = images(3, channels + 12, 5, 5, seed=3)
    results = []
    for exact in (False, True):
        bn = norm(channels).double() if exact else norm(channels)
        leaf = (x.double() if exact else x.clone(memory_format=torch.preserve_format)).requires_grad_()
        kernels.use(None if exact else kernel_inputs.dtype)
        activated, beside = kernels.norm_activation_beside(bn, leaf, "relu")
        assert torch.equal(beside.double(), x.double())
        outputs, grads = [activated], [images(3, channels, 5, 5, seed=7)]
        if apart == "slice":
            outputs.append(torch.cat([beside, other.to(beside.dtype)], dim=1))
            grads.append(both)
        elif apart == "whole":
            outputs.append(beside * 1)
            grads.append(both[:, :channels].contiguous(memory_format=CHANNELS_LAST))
        elif apart == "transposed":
            outputs.append(beside.transpose(2, 3))
            grads.append(both[:, :channels].contiguous(memory_format=torch.contiguous_format))
        torch.autograd.backward(outputs, [grad.to(beside.dtype) for grad in grads])
        assert leaf.grad is not None
        results.append(leaf.grad)
    close(results[0], results[1])


@pytest.mark.usefixtures("kernels_used")
def test_only_the_input_passed_on_is_used() -> None:
    bn, x = norm(24), images(2, 24, 4, 4).requires_grad_()
    _, beside = kernels.norm_activation_beside(bn, x, "relu")
    beside.float().square().sum().backward()
    assert x.grad is not None and torch.equal(x.grad, 2 * x.detach())
    assert bn.weight.grad is None


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("shape", [(3, 24, 6, 8), (2, 13, 5, 7), (1, 1, 2, 2), (5, 192, 7, 7), (2, 40, 3, 4)])
def test_pooling_is_torchs_to_the_bit(shape: tuple[int, ...]) -> None:
    x = images(*shape)
    x.copy_((2 * x).round() / 2)  # many are equal
    x[0, 0, 0, 1] = float("nan")
    grad = images(*shape[:2], shape[2] // 2, shape[3] // 2, seed=4)
    results = []
    for on in (True, False):
        kernels.use(kernel_inputs.dtype if on else None)
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        pooled = kernels.max_pool(leaf)
        assert ("MaxPoolBackward" in type(pooled.grad_fn).__name__) is on
        pooled.backward(grad)
        assert leaf.grad is not None
        results.append((pooled.detach().float().nan_to_num(99), leaf.grad.float()))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


@pytest.mark.usefixtures("kernels_used")
def test_an_image_too_low_to_pool_is_torchs_to_refuse() -> None:
    with pytest.raises(RuntimeError, match="too small"):
        kernels.max_pool(images(2, 24, 1, 8))


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_not_a_number_spreads_as_in_torch(activation: Activation) -> None:
    """A run that diverges must be seen to."""
    x = images(2, 24, 4, 4)
    x[1, 3, 2, 2] = float("nan")
    bn = norm(24)
    found = kernels.norm_activation(bn, x, activation)
    assert found[:, 3].isnan().all() and not found[:, :3].isnan().any() and not found[:, 4:].isnan().any()
    assert bn.running_mean is not None and bool(bn.running_mean[3].isnan())


@pytest.mark.usefixtures("kernels_used")
def test_gelu_far_out() -> None:
    """Its exponential has a range: below it is 0, above it the identity."""
    bn = nn.BatchNorm2d(32).eval()
    values = torch.tensor([-1e30, -300.0, -13.0, -5.0, -1.0, -1e-3, 0.0, 1e-30, 1e-3, 1.0, 5.0, 13.0, 300.0, 1e30])
    x = values.to(kernel_inputs.dtype).view(-1, 1, 1, 1).expand(-1, 32, 1, 1).contiguous(memory_format=CHANNELS_LAST)
    with torch.inference_mode():
        found = kernels.norm_activation(bn, x, "gelu")[:, 0, 0, 0].double()
    exact = F.gelu(x[:, 0, 0, 0].double() / (1 + bn.eps) ** 0.5)
    rounding = 2**-7 if x.dtype == torch.bfloat16 else 1e-6
    assert torch.allclose(found, exact, rtol=rounding, atol=2e-6)


@pytest.mark.usefixtures("kernels_used")
def test_the_same_threads_give_the_same_bits() -> None:
    torch.set_num_threads(2)
    results = []
    for _ in range(3):
        bn, x = norm(36), images(16, 36, 14, 14).requires_grad_()
        kernels.norm_activation(bn, x, "gelu").backward(images(16, 36, 14, 14, seed=2))
        assert x.grad is not None and bn.weight.grad is not None and bn.running_var is not None
        results.append(torch.cat([part.float().flatten() for part in (x.grad, bn.weight.grad, bn.running_var)]))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize(
    "what", ["other dtype", "contiguous", "other batch norm", "no momentum", "off", "evaluation with grad"]
)
def test_what_does_not_fit_is_torchs(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError("by the kernels")

    monkeypatch.setattr(norm_file, "_trained", never)
    monkeypatch.setattr(norm_file, "_evaluated", never)
    bn, x = norm(24), images(4, 24, 6, 6)
    if what == "other dtype":
        x = x.float() if x.dtype == torch.bfloat16 else x.bfloat16()
    elif what == "contiguous":
        x = x.contiguous(memory_format=torch.contiguous_format)
    elif what == "other batch norm":

        class Other(nn.BatchNorm2d):
            pass

        bn = Other(24)
    elif what == "no momentum":
        bn = nn.BatchNorm2d(24, momentum=None)
    elif what == "off":
        kernels.use(None)
    else:
        bn.eval()
    expected = F.relu(bn(x))
    bn.reset_running_stats()
    assert torch.equal(kernels.norm_activation(bn, x, "relu"), expected)
    bn.reset_running_stats()
    found, beside = kernels.norm_activation_beside(bn, x, "relu")
    assert torch.equal(found, expected) and beside is x


@pytest.mark.usefixtures("kernels_used")
def test_statistics_of_one_value_are_torchs_to_refuse() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        kernels.norm_activation(norm(24), images(1, 24, 1, 1), "relu")


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("kernels_used", ["bf16"], indirect=True)
@pytest.mark.parametrize(
    "config",
    [
        DenseNetConfig(depth=16, growth_rate=8, bottleneck=True, reduction=0.5),
        DenseNetConfig(depth=10, growth_rate=8, bottleneck=False, reduction=1.0, drop_rate=0.1),
        TurboConfig(widths=(20, 24)),
        TurboConfig(widths=(20, 24), group_convs=3),
        WideResNetConfig(depth=10, widen_factor=2),
        DualPathNetConfig(blocks=(2, 2, 1), filters=(16, 24, 32), growth_rate=(4, 4, 8)),
        ShakeShakeConfig(depth=14, base_channels=12),
        ShakeShakeConfig(depth=8, base_channels=20, shake_level="batch", shake_backward=False),
    ],
)
def test_a_network_is_about_as_near_to_fp32_as_torchs(config: ModelConfig) -> None:
    """Loss and all gradients of a step, in bf16 with the kernels and without, by their distance from fp32.

    Convolutions in fewer multiplications round more: 1.4 to 1.7 times torch's distance, without them at most 1.5.
    """
    x = torch.randn((16, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(16) % 10
    results: dict[str, Tensor] = {}
    for how in ("exact", "torch", "kernels"):
        torch.manual_seed(0)
        model = build_model(config).to(memory_format=CHANNELS_LAST)
        kernels.use(torch.bfloat16 if how == "kernels" else None)
        torch.manual_seed(1)  # dropout, Shake-Shake's weights
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how != "exact"):
            logits = model(x if how == "exact" else x.to(torch.bfloat16, memory_format=CHANNELS_LAST))
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        results[how] = torch.cat([loss.detach()[None], *grads])
    by_torch = (results["torch"] - results["exact"]).norm()
    by_kernels = (results["kernels"] - results["exact"]).norm()
    most = 2.2 if build.convolves(torch.bfloat16) else 1.5
    assert 0 < by_kernels <= most * by_torch and not torch.equal(results["torch"], results["kernels"])
