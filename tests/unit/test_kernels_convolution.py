"""3x3 convolutions by `models.kernels` against torch's in float64: results, gradients, and what is left to torch."""

from __future__ import annotations

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
from fmnist_tui.models.kernels import build, convolution
from fmnist_tui.models.layers import conv3x3
from tests.unit import kernel_inputs
from tests.unit.kernel_inputs import CHANNELS_LAST, close, images

SHAPES = [  # images, channels, outputs, height, width
    (4, 24, 16, 8, 8),
    (3, 13, 37, 9, 10),  # neither channels nor pixels fill anything
    (1, 16, 12, 4, 4),
    (2, 18, 64, 28, 28),
    (5, 130, 20, 7, 7),
    (6, 96, 97, 3, 3),  # more outputs than a share of the filters' gradient
    (50, 64, 48, 14, 14),  # not all at a time
    (33, 160, 160, 7, 7),
    (9, 20, 36, 5, 5),  # images that share sheets, of which the last lacks some
    (17, 64, 48, 14, 14),
    (8, 24, 20, 10, 10),
    (30, 16, 16, 2, 2),
    (11, 16, 18, 5, 14),
    (2, 13, 20, 9, 39),  # tiles of a row in two parts
]
BF16_DISTANCES = {"result": 0.015, "images": 0.03, "filters": 0.01}
"""Of the result and of the gradients of images and filters from the exact ones, relative to their norm. torch's own are
0.003, 0.003 and 0.002."""
pytestmark = pytest.mark.usefixtures("kernels_used")
in_both = pytest.mark.parametrize("kernels_used", ["fp32", "bf16"], indirect=True)
in_fp32 = pytest.mark.parametrize("kernels_used", ["fp32"], indirect=True)


@pytest.fixture(autouse=True)
def _has_convolutions(kernels_used: None) -> None:
    if not build.convolves(kernel_inputs.dtype):
        pytest.skip("this processor has no products of bf16, or torch's are faster")


def near(found: Tensor, exact: Tensor, what: str) -> None:
    """What the kernels make, for images of their dtype."""
    if kernel_inputs.dtype == torch.float32:
        close(found, exact, 3e-5)
    else:
        assert found.shape == exact.shape
        assert (found.double() - exact).norm() <= BF16_DISTANCES[what] * exact.norm()


def convolution_of(channels: int, outputs: int) -> nn.Conv2d:
    conv = conv3x3(channels, outputs)
    filters = torch.randn(conv.weight.shape, generator=torch.Generator().manual_seed(1)) / (9 * channels) ** 0.5
    conv.weight = nn.Parameter(filters.contiguous(memory_format=CHANNELS_LAST))
    return conv


def by_torch(conv: nn.Conv2d, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Result and gradients of images and filters in float64."""
    exact_x, filters = x.detach().double().requires_grad_(), conv.weight.detach().double().requires_grad_()
    result = F.conv2d(exact_x, filters, padding=1)
    result.backward(grad.double())
    assert exact_x.grad is not None and filters.grad is not None
    return result.detach(), exact_x.grad, filters.grad


@in_both
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs_in_float64(shape: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(convolution.LEAST_SAVED, torch.bfloat16, convolution.LEAST_SAVED[torch.float32])
    torch.set_num_threads(threads)
    count, channels, outputs, *size = shape
    conv, x, grad = convolution_of(channels, outputs), images(count, channels, *size), images(count, outputs, *size)
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    result = conv(leaf)
    assert "Convolution3x3" in type(result.grad_fn).__name__, "torch would have made this one as well"
    assert result.is_contiguous(memory_format=CHANNELS_LAST)
    result.backward(grad)
    assert leaf.grad is not None and conv.weight.grad is not None
    assert conv.weight.grad.is_contiguous(memory_format=CHANNELS_LAST)
    found = (result.detach(), leaf.grad, conv.weight.grad)
    for one, exact, what in zip(found, by_torch(conv, x, grad), BF16_DISTANCES, strict=True):
        near(one, exact, what)


@in_both
def test_what_saves_too_little_in_bf16_is_torchs() -> None:
    """Images of 5x1 pixels, of which sheets of 2x2 make 3 tiles."""
    conv, x = convolution_of(20, 36), images(9, 20, 5, 1)
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        result = conv(x.requires_grad_())
    assert ("Convolution3x3" in type(result.grad_fn).__name__) == (x.dtype == torch.float32)


@in_both
def test_the_images_of_a_batch_are_taken_in_parts() -> None:
    """Else the case above with many images would show nothing."""
    sheets, beside = convolution._sheets(images(50, 64, 14, 14), 48)
    assert sheets * beside**2 < 50


@in_both
@pytest.mark.parametrize(("size", "beside"), [(2, 3), (5, 2), (7, 1), (10, 3), (14, 3), (28, 1)])
def test_images_share_sheets_where_that_makes_fewer_tiles(size: int, beside: int) -> None:
    assert convolution._sheets(images(500, 320, size, size), 320)[1] == beside
    assert convolution._sheets(images(1, 320, size, size), 320) == (1, 1)


@in_both
def test_no_more_is_computed_at_a_time_than_a_cache_holds() -> None:
    """In bf16 two sheets of 9 images of 14x14 pixels have 242 tiles."""
    assert convolution._sheets(images(500, 160, 14, 14), 160)[1] == (1 if kernel_inputs.dtype == torch.bfloat16 else 3)


@in_both
def test_images_that_share_sheets_may_be_part_of_wider_ones_and_normalised_on_the_way() -> None:
    conv, x = convolution_of(20, 36), images(11, 20, 5, 5)
    coefficients = torch.randn(2, 20, generator=torch.Generator().manual_seed(5))
    wide = torch.full((11, 50, 5, 5), 7.0, dtype=x.dtype).contiguous(memory_format=CHANNELS_LAST)
    convolution.run_forward(x, conv.weight, wide[:, 10:46], coefficients)
    scale, shift = (values.double()[:, None, None] for values in coefficients)
    exact = F.conv2d(torch.relu(x.double() * scale + shift), conv.weight.detach().double(), padding=1)
    near(wide[:, 10:46], exact, "result")
    assert bool((wide[:, :10] == 7).all() and (wide[:, 46:] == 7).all())


@in_both
def test_an_odd_sheet_has_a_word_of_its_own() -> None:
    """In bf16 the filters' gradient adds up two sheets' numbers at once; what an odd one has beside it must be 0."""
    conv = convolution_of(64, 48)
    for count in (1, 3, 25):  # the last are three sheets
        x, grad = images(count, 64, 14, 14), images(count, 48, 14, 14, seed=3)
        conv.weight.grad = None
        conv(x).backward(grad)
        assert conv.weight.grad is not None
        near(conv.weight.grad, by_torch(conv, x, grad)[2], "filters")


@in_both
@pytest.mark.parametrize("wanted", ["images", "filters"])
def test_one_gradient_alone_may_be_wanted(wanted: str) -> None:
    conv, x, grad = convolution_of(16, 24), images(3, 16, 8, 8), images(3, 24, 8, 8, seed=3)
    x.requires_grad_(wanted == "images")
    conv.weight.requires_grad_(wanted == "filters")
    conv(x).backward(grad)
    _, dx, filters = by_torch(conv, x, grad)
    found, other = (x.grad, conv.weight.grad) if wanted == "images" else (conv.weight.grad, x.grad)
    assert found is not None and other is None
    near(found, dx if wanted == "images" else filters, wanted)


@in_both
def test_a_gradient_may_lie_otherwise_in_memory() -> None:
    found = []
    for layout in (CHANNELS_LAST, torch.contiguous_format):
        conv, x = convolution_of(16, 24), images(3, 16, 8, 8).requires_grad_()
        conv(x).backward(images(3, 24, 8, 8, seed=3).contiguous(memory_format=layout))
        assert x.grad is not None and conv.weight.grad is not None
        found.append((x.grad, conv.weight.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


@in_both
@pytest.mark.parametrize(("channels", "outputs"), [(64, 48), (48, 16)], ids=["shared", "each its own images"])
def test_the_bits_do_not_depend_on_the_number_of_threads(channels: int, outputs: int) -> None:
    assert convolution._alone(channels, outputs) == (channels == 48)
    found = []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        conv, x = convolution_of(channels, outputs), images(50, channels, 14, 14).requires_grad_()
        result = conv(x)
        result.backward(images(50, outputs, 14, 14, seed=3))
        assert x.grad is not None and conv.weight.grad is not None
        found.append(torch.cat([part.detach().flatten() for part in (result, x.grad, conv.weight.grad)]))
    assert all(torch.equal(found[0], other) for other in found[1:])


@in_fp32
def test_what_is_compiled_is_torchs() -> None:
    """Tracing it has tensors without memory: the library would read at address 0."""
    conv, x = convolution_of(16, 24), images(3, 16, 8, 8)
    found = torch.compile(conv, backend="eager", fullgraph=True)(x)
    assert torch.equal(found, F.conv2d(x, conv.weight, padding=1))
    assert not torch.equal(found, conv(x)), "by the kernel"


@in_both
def test_not_a_number_spreads_as_in_torch() -> None:
    """And over the rest of its tiles; but not to an image that shares none of them."""
    conv, x = convolution_of(16, 24), images(3, 16, 12, 12)
    x[1, 3, 6, 6] = float("nan")
    found = conv(x)
    assert found[1, :, 5:8, 5:8].isnan().all()
    assert not found[0].isnan().any() and not found[2].isnan().any()


@in_fp32
@pytest.mark.parametrize(
    "what",
    [
        "off",
        "bf16",
        "contiguous",
        "filters contiguous",
        "halving",
        "bias",
        "groups",
        "no padding",
        "few channels",
        "1x1",
    ],
)
def test_what_does_not_fit_is_torchs(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "Convolution3x3", None)
    channels, size = (8 if what == "few channels" else 16), (1 if what == "1x1" else 8)
    conv, x = convolution_of(channels, 24), images(3, channels, size, size)
    if what == "off":
        kernels.use(None)
    elif what == "bf16":
        conv, x = conv.bfloat16(), x.bfloat16()
    elif what == "contiguous":
        x = x.contiguous(memory_format=torch.contiguous_format)
    elif what == "filters contiguous":
        conv.weight = nn.Parameter(conv.weight.detach().contiguous(memory_format=torch.contiguous_format))
    elif what == "halving":
        conv.stride = (2, 2)
    elif what == "bias":
        conv.bias = nn.Parameter(torch.ones(24))
    elif what == "groups":
        conv.groups = 2
        conv.weight = nn.Parameter(conv.weight.detach()[:, :8].contiguous(memory_format=CHANNELS_LAST))
    elif what == "no padding":
        conv.padding = (0, 0)
    expected = F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    assert torch.equal(conv(x), expected)


@in_fp32
@pytest.mark.parametrize(
    "config",
    [
        DenseNetConfig(depth=16, growth_rate=12, bottleneck=True, reduction=0.5),
        TurboConfig(widths=(20, 24)),
        WideResNetConfig(depth=10, widen_factor=2),
        DualPathNetConfig(blocks=(2, 2, 1), filters=(16, 24, 32), growth_rate=(4, 4, 8)),
        ShakeShakeConfig(depth=8, base_channels=20),
    ],
)
def test_a_network_is_nearly_the_one_in_float64(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and all gradients of a step; a ReLU that rounding turns on or off moves a gradient by some 1e-4."""
    x = torch.randn((16, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(16) % 10
    results: dict[str, Tensor] = {}
    by_kernels = list[torch.Size]()
    run = convolution.run_forward

    def noted(x: Tensor, weight: Tensor, y: Tensor, coefficients: Tensor | None = None) -> None:
        by_kernels.append(weight.shape)
        run(x, weight, y, coefficients)

    monkeypatch.setattr(convolution, "run_forward", noted)
    for how in ("exact", "kernels"):
        torch.manual_seed(0)
        model = build_model(config).to(memory_format=CHANNELS_LAST)
        kernels.use(torch.float32 if how == "kernels" else None)
        torch.manual_seed(1)  # Shake-Shake's weights
        inputs = x.contiguous(memory_format=CHANNELS_LAST)
        loss = F.cross_entropy(model.double()(inputs.double()) if how == "exact" else model(inputs), labels)
        loss.backward()
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        results[how] = torch.cat([loss.detach()[None], *grads]).double()
    assert by_kernels
    distance = (results["kernels"] - results["exact"]).norm() / results["exact"].norm()
    assert distance < 2e-3, float(distance)
