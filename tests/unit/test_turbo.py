"""The turbo family: an independent reading of its forward pass, its whitening, its costs, and how it trains images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_tui.config import IMAGE_SIZE, TurboConfig
from fmnist_tui.data import augment, source
from fmnist_tui.data.batches import normalize
from fmnist_tui.fields import with_changes
from fmnist_tui.models import begin_epoch, build_model, count_parameters, initialise_from
from fmnist_tui.models.count import activation_bytes_per_image, parameter_count, training_flops_per_image
from fmnist_tui.models.turbo import WHITENING_IMAGES, Group, Turbo, patch_covariance
from fmnist_tui.presets import load_preset
from fmnist_tui.training.progress import evaluated_epochs
from fmnist_tui.training.schedule import learning_rate, low_resolution_epochs, train_resolution, work

SMALL = TurboConfig(widths=(20, 24), whitening_epsilon=1e-6)
SIZES = [
    TurboConfig(),
    TurboConfig(widths=(64, 192, 256)),
    TurboConfig(widths=(5, 6, 8)),
    TurboConfig(widths=(5, 6), whitening_filters=16, whitening_padding=0),
    TurboConfig(widths=(30,), whitening_filters=2),
    TurboConfig(widths=(5, 6), group_convs=3),
    TurboConfig(widths=(5,), group_convs=4),
]


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """(2000, 28, 28) uint8 training images of the sample."""
    return torch.from_numpy(source.load_sample().train_images[:2000].copy())


def turbo(config: TurboConfig = SMALL, seed: int = 0) -> Turbo:
    torch.manual_seed(seed)
    model = build_model(config)
    assert isinstance(model, Turbo)
    return model


def reading(model: Turbo, images: Tensor, padding: int = 1, convs_per_group: int = 2) -> tuple[Tensor, Tensor]:
    """The words of the issue in float64, from the weights in order of creation: logits, and the whitened image.

    Batch norm as in training: with the batch's own mean and variance, its weight 1.
    """
    weights = {name: tensor.detach().double() for name, tensor in model.state_dict().items() if tensor.ndim}
    names = list(weights)

    def normed(x: Tensor, bias: Tensor) -> Tensor:
        centred = x - x.mean((0, 2, 3), keepdim=True)
        return centred / (centred.pow(2).mean((0, 2, 3), keepdim=True) + 1e-5).sqrt() + bias.view(1, -1, 1, 1)

    def gelu(x: Tensor) -> Tensor:
        return x * 0.5 * (1.0 + torch.special.erf(x / 2**0.5))

    def conv(x: Tensor, weight: Tensor, pad: int) -> Tensor:
        patches = F.unfold(x, 3, padding=pad)
        side = x.shape[2] - 2 + 2 * pad
        return (weight.flatten(1) @ patches).view(len(x), len(weight), side, side)

    whitened = conv(images.double(), weights["whitening.filters"], padding)
    x = gelu(whitened + weights["whitening.bias"].view(1, -1, 1, 1))
    convs = [name for name in names if "conv" in name]
    biases = [name for name in names if "norm" in name and name.endswith(".bias")]
    skip = torch.zeros(())
    for index, (conv_name, bias_name) in enumerate(zip(convs, biases, strict=True)):
        place = index % convs_per_group
        x = conv(x, weights[conv_name], 1)
        if place == 0:
            half = x.shape[2] // 2
            x = torch.stack([x[:, :, i : 2 * half : 2, j : 2 * half : 2] for i in (0, 1) for j in (0, 1)]).amax(0)
        x = normed(x, weights[bias_name])
        x = gelu(x + skip if place == convs_per_group - 1 > 1 else x)
        skip = x if place == 0 else skip
    return x.flatten(2).amax(2) @ weights["head.weight"].T * model.head_scale, whitened


@pytest.mark.parametrize(
    ("padding", "size", "convs"), [(1, 28, 2), (0, 28, 2), (1, 20, 2), (0, 20, 3), (1, 8, 2), (1, 28, 3), (1, 28, 4)]
)
def test_forward_is_an_independent_reading(pixels: Tensor, padding: int, size: int, convs: int) -> None:
    model = turbo(TurboConfig(widths=(20, 24), whitening_padding=padding, group_convs=convs))
    initialise_from(model, pixels)
    with torch.no_grad():  # away from the initial values, where a wrong bias would not show
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    images = augment.resize(normalize(pixels[:6]), size) if size != IMAGE_SIZE else normalize(pixels[:6])
    expected, _ = reading(model, images, padding, convs)
    torch.testing.assert_close(model(images).double(), expected, rtol=1e-4, atol=1e-4)
    spread = reading(turbo(), images)[0]
    assert not torch.allclose(expected, spread), "the reading tells one set of weights from another"


@pytest.mark.parametrize("config", SIZES, ids=repr)
def test_sizes_are_those_of_the_walk(config: TurboConfig) -> None:
    model = build_model(config)
    assert parameter_count(config) == count_parameters(model)
    multiply_adds = []

    def count(module: nn.Module, _inputs: object, output: Tensor) -> None:
        area = output.shape[2] * output.shape[3] if output.ndim == 4 else 1
        assert isinstance(module, nn.Conv2d | nn.Linear)
        multiply_adds.append(module.weight.numel() * area)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model(torch.rand(2, 1, 28, 28))
    side = 28 if config.whitening_padding else 26
    whitening = config.whitening_filters * 9 * side * side
    assert training_flops_per_image(config) == 6 * (sum(multiply_adds) + whitening)


def test_parameters_by_hand() -> None:
    """Filters of six convolutions, their norms' biases, the whitening's bias, the head: nothing that is frozen."""
    filters = 9 * (18 * 48 + 48 * 48 + 48 * 128 + 128 * 128 + 128 * 256 + 256 * 256)
    assert parameter_count(TurboConfig()) == filters + 2 * (48 + 128 + 256) + 18 + 2560 == 1_119_442


@pytest.mark.parametrize("config", SIZES[2:], ids=repr)
def test_activation_bytes_are_what_autograd_keeps(config: TurboConfig) -> None:
    model = build_model(config)
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.shape[0] == 7 and tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(torch.rand(7, 1, 28, 28))
    assert activation_bytes_per_image(config, 4) * 7 == sum(storage.nbytes() for storage in kept.values())


def test_whitened_patches_are_uncorrelated_with_variance_one(pixels: Tensor) -> None:
    model = turbo()
    initialise_from(model, pixels)
    _, whitened = reading(model, normalize(pixels), padding=0)
    inner = whitened.transpose(0, 1).flatten(1)
    covariance = torch.cov(inner[:9], correction=0)
    torch.testing.assert_close(covariance, torch.eye(9, dtype=torch.float64), rtol=0, atol=5e-4)
    torch.testing.assert_close(inner[9:], -inner[:9])


def test_patch_covariance_is_numpys(pixels: Tensor) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(normalize(pixels[:50])[:, 0].numpy(), (3, 3), axis=(1, 2))
    expected = np.cov(windows.reshape(-1, 9).astype(np.float64).T, bias=True)
    np.testing.assert_allclose(patch_covariance(pixels[:50]).numpy(), expected, rtol=1e-6, atol=1e-9)


def test_fewer_filters_are_the_first_eigenvectors_and_epsilon_damps_the_last(pixels: Tensor) -> None:
    whole, fewer = turbo(), turbo(SMALL.model_copy(update={"whitening_filters": 4}))
    damped = turbo(SMALL.model_copy(update={"whitening_epsilon": 1.0}))
    for model in (whole, fewer, damped):
        initialise_from(model, pixels)
    filters = whole.whitening.filters
    assert torch.equal(fewer.whitening.filters, filters[[0, 1, 9, 10]])
    norms, damped_norms = filters[:9].flatten(1).norm(dim=1), damped.whitening.filters[:9].flatten(1).norm(dim=1)
    assert torch.all(norms.diff() > 0), "the largest eigenvalue is divided by most"
    torch.testing.assert_close(damped_norms**-2, norms**-2 + 1.0, rtol=1e-3, atol=1e-5)


def test_whitening_is_the_same_again_and_of_the_first_images_only(pixels: Tensor) -> None:
    a, b = turbo(seed=0), turbo(seed=1)
    many = pixels.repeat(3, 1, 1)
    assert len(many) > WHITENING_IMAGES
    other = torch.cat([many[:WHITENING_IMAGES], 255 - many[WHITENING_IMAGES:]])
    initialise_from(a, many)
    initialise_from(b, other)
    assert torch.equal(a.whitening.filters, b.whitening.filters)


def test_first_filters_begin_as_the_identity() -> None:
    model = turbo(TurboConfig(widths=(20, 12), whitening_filters=16))
    x = torch.rand(2, 16, 6, 6)
    group, second = model.groups
    assert isinstance(group, Group) and isinstance(second, Group)
    torch.testing.assert_close(group.convs[0](x)[:, :16], x)
    narrowing = second.convs[0]  # 20 channels to 12: the first 12 pass
    y = torch.rand(2, 20, 6, 6)
    torch.testing.assert_close(narrowing(y), y[:, :12])


def test_the_bias_of_the_whitening_freezes_after_its_share(pixels: Tensor) -> None:
    model = turbo(TurboConfig(widths=(8,), whitening_bias_share=0.4))
    for epoch, trained in ((1, True), (2, True), (3, False), (5, False)):
        begin_epoch(model, epoch, 5)
        model.zero_grad()
        model(normalize(pixels[:4])).sum().backward()
        assert (model.whitening.bias.grad is not None) == trained, epoch
        assert all(p.grad is not None for n, p in model.named_parameters() if p.requires_grad and "whitening" not in n)


def test_pooling_of_the_deterministic_path_is_the_same() -> None:
    """What CUDA takes where it must be deterministic, against max_pool2d, odd sizes included."""
    x = torch.randn(3, 4, 7, 9)
    even = x[:, :, :6, :8]
    other = even.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))
    assert torch.equal(other, F.max_pool2d(x, 2))


# --- what happens to its images


def test_flips_alternate_by_epoch_and_differ_between_images() -> None:
    config = load_preset("turbo").augment
    first, second, third = (augment.epoch_flips(config, 1000, 3, epoch) for epoch in (1, 2, 3))
    assert first is not None and second is not None and third is not None
    assert torch.equal(first, ~second) and torch.equal(first, third) and 400 < int(first.sum()) < 600
    other_seed = augment.epoch_flips(config, 1000, 4, 1)
    assert other_seed is not None and not torch.equal(first, other_seed)
    for off in ({"flip": False}, {"flip_mode": "random"}):
        assert augment.epoch_flips(config.model_copy(update=off), 1000, 3, 1) is None


def test_resolution_of_each_epoch() -> None:
    config = with_changes(
        load_preset("turbo"),
        {"training.epochs": 7, "augment.low_resolution": 20, "augment.low_resolution_share": 0.33},
    )
    assert [train_resolution(epoch, config) for epoch in range(1, 8)] == [20, 20, 28, 28, 28, 28, 28]
    assert [train_resolution(epoch, config, 16) for epoch in (1, 5, 6, 16)] == [20, 20, 28, 28]
    whole = with_changes(config, {"augment.low_resolution_share": 1.0})
    assert {train_resolution(epoch, whole) for epoch in range(1, 8)} == {20}
    assert {train_resolution(epoch, load_preset("wrn")) for epoch in (1, 200)} == {28}
    assert work(7, config) == pytest.approx(2 * (20 / 28) ** 2 + 5) and work(1.5, load_preset("wrn")) == 1.5


def test_resized_images_keep_their_mean_and_layout(pixels: Tensor) -> None:
    config = load_preset("turbo").augment.model_copy(update={"crop_padding": 0, "cutout_size": 0})
    draws = augment.draw(8, config, torch.Generator(), "cpu")
    for memory_format in (torch.contiguous_format, torch.channels_last):
        full = augment.apply(pixels[:8], draws, config, torch.float32, memory_format)
        small = augment.apply(pixels[:8], draws, config, torch.float32, memory_format, 20)
        assert small.shape == (8, 1, 20, 20) and small.is_contiguous(memory_format=memory_format)
        assert (small.stride(1) == 1) == (memory_format is torch.channels_last) == (full.stride(1) == 1)
        torch.testing.assert_close(small.mean((1, 2, 3)), full.mean((1, 2, 3)), rtol=0, atol=0.03)
        assert torch.equal(augment.apply(pixels[:8], draws, config, torch.float32, memory_format, 28), full)


def test_resizing_is_pillows_bilinear(pixels: Tensor) -> None:
    """Antialiased as in Pillow, which computes in float for images of mode F."""
    image = pytest.importorskip("PIL.Image")
    picture = pixels[0].float()
    expected = np.asarray(image.fromarray(picture.numpy(), mode="F").resize((20, 20), image.Resampling.BILINEAR))
    np.testing.assert_allclose(augment.resize(picture[None, None], 20)[0, 0].numpy(), expected, rtol=0, atol=1e-3)


def test_linear_schedule_reaches_its_end_in_equal_steps() -> None:
    config = with_changes(load_preset("turbo"), {"optimizer.lr": 0.2, "schedule.min_lr": 0.1, "training.epochs": 5})
    rates = [learning_rate(step, config, 10) for step in range(51)]
    assert rates[0] == 0.2 and rates[50] == pytest.approx(0.1)
    np.testing.assert_allclose(np.diff(rates), -0.1 / 50)
    warm = with_changes(config, {"schedule.warmup_epochs": 1.0})
    assert learning_rate(4, warm, 10) == pytest.approx(0.1) and learning_rate(10, warm, 10) == 0.2
    assert learning_rate(50, warm, 10) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["turbo", "turbo-long"])
def test_presets_are_small_networks_on_the_references_split(name: str) -> None:
    config = load_preset(name)
    assert config.model.kind == "turbo" and config.optimizer.kind == "muon" and config.schedule.kind == "linear"
    assert (config.data.source, config.data.split, config.schedule.min_lr) == ("full", "custom", 0.0)
    assert 1.0e6 <= parameter_count(config.model) <= 2.5e6
    assert config.reference is None
    evaluated = evaluated_epochs(1, config.training.epochs, config.training.eval_every)
    assert min(evaluated) > low_resolution_epochs(config), "at full size the network is not good before"
