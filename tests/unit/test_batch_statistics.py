"""Batch statistics that several batch norms share compute what each would have computed for itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnist_tui.config import DenseNetConfig
from fmnist_tui.models import batch_statistics, build_model, densenet
from fmnist_tui.models.batch_statistics import BatchStatistics, can_share

CONFIGS = {
    "bottleneck": DenseNetConfig(depth=22, growth_rate=5, drop_rate=0.2),
    "no bottleneck": DenseNetConfig(depth=13, growth_rate=6, bottleneck=False, reduction=1.0, drop_rate=0.2),
}


def built(config: DenseNetConfig, memory_format: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return model.to(memory_format=memory_format)


def trained_on(model: nn.Module, images: Tensor, labels: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Logits, gradients and buffers of one forward and backward pass."""
    torch.manual_seed(1)  # dropout's noise
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        logits = model(images)
    F.cross_entropy(logits.float(), labels).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {"logits": logits.detach(), **gradients, **dict(model.named_buffers())}


def distance(found: Tensor, right: Tensor) -> float:
    return float((found.float() - right.float()).norm() / right.float().norm().clamp_min(1e-3))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_shared_statistics_change_no_result(
    config: DenseNetConfig, memory_format: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randn(8, 1, 28, 28).contiguous(memory_format=memory_format)
    labels = torch.arange(8)
    shared, shared_bf16 = (
        trained_on(built(config, memory_format), images, labels, dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    monkeypatch.setattr(densenet, "can_share", lambda model, x: False)
    apart, apart_bf16 = (
        trained_on(built(config, memory_format), images, labels, dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    assert shared.keys() == apart.keys() == shared_bf16.keys()
    for name, value in apart.items():
        if not value.is_floating_point():
            assert torch.equal(shared[name], value) and torch.equal(shared_bf16[name], value), name
            continue
        assert distance(shared[name], value) < 2e-5, name
        # In bf16 both are off by rounding, and neither further than the other.
        assert distance(shared_bf16[name], value) < 1.5 * distance(apart_bf16[name], value) + 0.02, name


def test_each_feature_map_is_summed_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    summed_up: list[int] = []
    compute = batch_statistics.batch_statistics

    def counted(x: Tensor) -> BatchStatistics:
        summed_up.append(x.shape[1])
        return compute(x)

    monkeypatch.setattr(densenet, "batch_statistics", counted)
    build_model(CONFIGS["bottleneck"])(torch.randn(4, 1, 28, 28))
    assert summed_up == [10, 5, 5, 5, 12, 5, 5, 5, 13, 5, 5, 5]


def test_statistics_are_means_and_biased_variances() -> None:
    x = torch.randn(6, 3, 5, 7, dtype=torch.bfloat16)
    found = batch_statistics.batch_statistics(x)
    assert found.mean.dtype == found.variance.dtype == torch.float32
    torch.testing.assert_close(found.mean, x.float().mean((0, 2, 3)))
    torch.testing.assert_close(found.variance, x.float().var((0, 2, 3), correction=0))


def test_statistics_are_not_shared_where_others_count() -> None:
    model, x = build_model(CONFIGS["bottleneck"]), torch.randn(4, 1, 28, 28)
    assert can_share(model, x)
    assert not can_share(nn.SyncBatchNorm.convert_sync_batchnorm(build_model(CONFIGS["bottleneck"])), x)
    assert not can_share(model, x.to("meta"))
    assert not can_share(model.eval(), x)
