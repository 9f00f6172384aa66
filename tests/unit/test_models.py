"""Sizes, costs, initial weights and layouts of the networks."""

import math
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fmnist_tui.config import (
    DenseNetConfig,
    DualPathNetConfig,
    ModelConfig,
    ShakeShakeConfig,
    TurboConfig,
    WideResNetConfig,
    parse_config,
)
from fmnist_tui.models import build_model, count_parameters
from fmnist_tui.models.count import activation_bytes_per_image, parameter_count, training_flops_per_image

PRESETS = Path(__file__).parents[2] / "presets"

# name: parameters, and training operations per image in units of 1e9 (counted by hand), of the reference's networks
REFERENCE = {
    "wrn": (36_478_906, 24.1),
    "densenet": (768_730, 1.2),
    "dpn": (47_751_450, 31.3),
    "shake-shake-96": (26_330_026, 18.0),
    "shake-shake-64": (11_708_362, 8.0),
}

SMALL: list[ModelConfig] = [
    WideResNetConfig(depth=16, widen_factor=1),
    WideResNetConfig(depth=10, widen_factor=3, drop_rate=0.3),
    DenseNetConfig(depth=16, growth_rate=5, reduction=0.45),
    DenseNetConfig(depth=16, growth_rate=4, reduction=1.0),
    DenseNetConfig(depth=13, growth_rate=6, reduction=1.0, bottleneck=False),
    DenseNetConfig(depth=13, growth_rate=6, reduction=0.5, bottleneck=False, drop_rate=0.2),
    DualPathNetConfig(blocks=(1, 3), filters=(16, 12), growth_rate=(4, 5)),
    DualPathNetConfig(blocks=(2, 1, 2, 2), filters=(8, 12, 16, 20), growth_rate=(2, 3, 4, 5)),
    ShakeShakeConfig(depth=14, base_channels=6),
    ShakeShakeConfig(depth=8, base_channels=10, shake_forward=False, shake_level="batch"),
]


def preset(name: str) -> ModelConfig:
    return parse_config(tomllib.loads((PRESETS / f"{name}.toml").read_text())).model


def build_without_weights(config: ModelConfig) -> nn.Module:
    with torch.device("meta"):
        return build_model(config)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("config", [*SMALL[::2], TurboConfig(widths=(8, 12, 16))], ids=lambda config: config.kind)
def test_every_network_works_with_the_batch_norm_of_several_gpus(config: ModelConfig, training: bool) -> None:
    """torch's layer for it is no BatchNorm2d; in a process of its own it computes what that does."""
    torch.manual_seed(0)
    images = torch.randn(6, 1, 28, 28)
    found = []
    for convert in (lambda model: model, nn.SyncBatchNorm.convert_sync_batchnorm):
        torch.manual_seed(1)
        model = convert(build_model(config)).train(training)
        torch.manual_seed(2)
        found.append(model(images))
    torch.testing.assert_close(found[1], found[0])


@st.composite
def model_configs(draw: st.DrawFn) -> ModelConfig:
    kind = draw(st.sampled_from(["wide_resnet", "densenet", "dual_path_net", "shake_shake"]))
    small = st.integers(1, 40)
    if kind == "wide_resnet":
        return WideResNetConfig(depth=6 * draw(st.integers(1, 4)) + 4, widen_factor=draw(st.integers(1, 12)))
    if kind == "densenet":
        bottleneck = draw(st.booleans())
        return DenseNetConfig(
            depth=(6 if bottleneck else 3) * draw(st.integers(1, 6)) + 4,
            growth_rate=draw(small),
            reduction=draw(st.floats(0.001, 1.0)),
            bottleneck=bottleneck,
        )
    if kind == "dual_path_net":
        stages = draw(st.integers(1, 4))
        sizes = st.tuples(*[small] * stages)
        blocks = draw(st.tuples(*[st.integers(1, 4)] * stages))
        return DualPathNetConfig(blocks=blocks, filters=draw(sizes), growth_rate=draw(sizes))
    return ShakeShakeConfig(
        depth=6 * draw(st.integers(1, 4)) + 2, base_channels=2 * draw(small), shake_forward=draw(st.booleans())
    )


@pytest.mark.parametrize("name", REFERENCE)
def test_presets_have_exactly_the_reference_parameters(name: str) -> None:
    config = preset(name)
    assert count_parameters(build_without_weights(config)) == REFERENCE[name][0]
    assert parameter_count(config) == REFERENCE[name][0]


@settings(max_examples=60, deadline=None)
@given(model_configs())
def test_parameter_count_is_that_of_the_built_network(config: ModelConfig) -> None:
    assert parameter_count(config) == count_parameters(build_without_weights(config))


@pytest.mark.parametrize("name", REFERENCE)
def test_training_operations_of_the_presets(name: str) -> None:
    assert round(training_flops_per_image(preset(name)) / 1e9, 1) == REFERENCE[name][1]


@pytest.mark.parametrize("config", SMALL, ids=repr)
def test_training_operations_are_those_of_the_layers_that_run(config: ModelConfig) -> None:
    multiply_adds = 0

    def count(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal multiply_adds
        if isinstance(module, nn.Conv2d):
            multiply_adds += module.weight.numel() * output.shape[2] * output.shape[3]
        elif isinstance(module, nn.Linear):
            multiply_adds += module.weight.numel()

    model = build_model(config)
    for module in model.modules():
        module.register_forward_hook(count)
    model(torch.rand(1, 1, 28, 28).expand(2, -1, -1, -1))
    assert training_flops_per_image(config) == 6 * multiply_adds


@pytest.mark.parametrize("config", SMALL, ids=repr)
def test_activation_bytes_are_what_autograd_keeps(config: ModelConfig) -> None:
    """Sum the storages autograd saves of tensors that grow with the batch (batch norm's statistics do not)."""
    config = config.model_copy(update={"drop_rate": 0.0}) if hasattr(config, "drop_rate") else config
    model = build_model(config)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    batch = 7  # no layer above has 7 channels
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        is_branch_weight = tensor.shape == (batch, 1, 1, 1)
        if tensor.shape[0] == batch and storage.data_ptr() not in weights and not is_branch_weight:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(torch.rand(batch, 1, 28, 28))
    measured = sum(storage.nbytes() for storage in kept.values())
    assert activation_bytes_per_image(config, 4) * batch == measured
    assert activation_bytes_per_image(config, 2) * batch * 2 == measured


@pytest.mark.parametrize("kind", [WideResNetConfig, DenseNetConfig])
def test_dropout_keeps_more_for_the_backward_pass(kind: type[WideResNetConfig] | type[DenseNetConfig]) -> None:
    assert activation_bytes_per_image(kind(drop_rate=0.3), 2) > activation_bytes_per_image(kind(), 2)


def test_wide_resnet_dropout_memory_counted_by_hand() -> None:
    # One block a group: 16 x 28 x 28, 32 x 14 x 14 and 64 x 7 x 7 elements, each again as dropout's result
    # (2 bytes) and as its mask (1 byte).
    plain, dropped = (WideResNetConfig(depth=10, widen_factor=1, drop_rate=rate) for rate in (0.0, 0.5))
    elements = 16 * 28 * 28 + 32 * 14 * 14 + 64 * 7 * 7
    assert activation_bytes_per_image(dropped, 2) - activation_bytes_per_image(plain, 2) == 3 * elements


def test_counting_needs_no_torch() -> None:
    code = (
        "import sys, fmnist_tui.models, fmnist_tui.models.count as count\n"
        "from fmnist_tui.config import WideResNetConfig\n"
        "config = WideResNetConfig()\n"
        "print(count.parameter_count(config), count.training_flops_per_image(config) > 0,\n"
        "      count.activation_bytes_per_image(config, 2) > 0, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["36478906", "True", "True", "False"]


@pytest.mark.parametrize("config", SMALL, ids=repr)
def test_seed_determines_the_initial_weights(config: ModelConfig) -> None:
    def build(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return build_model(config).state_dict()

    first, again, other = build(40_000), build(40_000), build(40_001)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("config", SMALL, ids=repr)
def test_initial_weights(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = build_model(config)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            weight, (out_channels, _, height, width) = module.weight, module.weight.shape
            he = math.sqrt(2 / (out_channels * height * width))
            # Five standard errors of the estimates from this many weights
            assert abs(weight.std().item() - he) < 5 * he / math.sqrt(2 * weight.numel()), name
            assert abs(weight.mean().item()) < 5 * he / math.sqrt(weight.numel()), name
            assert module.bias is None, name
        elif isinstance(module, nn.BatchNorm2d):
            assert torch.all(module.weight == 1) and torch.all(module.bias == 0), name
        elif isinstance(module, nn.Linear):
            assert torch.all(module.bias == 0), name
            bound = 1 / math.sqrt(module.in_features)
            assert 0.8 * bound < module.weight.abs().max().item() <= bound, name
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("config", SMALL, ids=repr)
def test_bfloat16_autocast_trains_every_parameter(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = build_model(config)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randn(4, 1, 28, 28))
    assert logits.shape == (4, 10) and logits.dtype == torch.bfloat16
    loss = nn.functional.cross_entropy(logits.float(), torch.arange(4))
    parameters = dict(model.named_parameters())
    for name, gradient in zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True):
        assert torch.isfinite(gradient).all() and gradient.any(), name


@pytest.mark.parametrize("config", SMALL, ids=repr)
def test_channels_last_survives_every_layer(config: ModelConfig) -> None:
    """One layer that falls back to the other layout would copy every feature map after it."""

    def check(module: nn.Module, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        for result in output if isinstance(output, tuple) else (output,):
            assert result.ndim != 4 or result.is_contiguous(memory_format=torch.channels_last), module

    torch.manual_seed(0)
    model = build_model(config).eval()
    images = torch.randn(4, 1, 28, 28)
    expected = model(images)
    model.to(memory_format=torch.channels_last)
    for module in model.modules():
        module.register_forward_hook(check)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)
    model.train()(images)


@pytest.mark.parametrize(
    ("config", "backend"),
    [
        (WideResNetConfig(depth=10, widen_factor=1, drop_rate=0.3), "eager"),
        (DenseNetConfig(depth=10, growth_rate=4), "eager"),
        (DualPathNetConfig(blocks=(1, 2), filters=(8, 8), growth_rate=(2, 2)), "eager"),
        # This backend also splits forward from backward, which is where draws could change places.
        (ShakeShakeConfig(depth=8, base_channels=4), "aot_eager"),
    ],
    ids=["wide_resnet", "densenet", "dual_path_net", "shake_shake"],
)
def test_traces_into_one_graph(config: ModelConfig, backend: str) -> None:
    """torch.compile and CUDA graphs need a step without graph breaks; same draws, same result, same gradient."""
    torch.manual_seed(0)
    model = build_model(config)
    images = torch.randn(3, 1, 28, 28)
    torch.compiler.reset()
    results = []
    for forward in (model, torch.compile(model, backend=backend, fullgraph=True)):
        torch.manual_seed(1)
        logits = forward(images)
        gradients = torch.autograd.grad(logits.square().sum(), list(model.parameters()))
        results.append([logits.detach(), *gradients])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)
