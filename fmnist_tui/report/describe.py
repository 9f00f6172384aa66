"""A configuration in the words of a hyperparameter table: network, optimizer, schedule, augmentation."""

from __future__ import annotations

from typing import Any

from fmnist_tui.config import (
    IMAGE_SIZE,
    AugmentConfig,
    DenseNetConfig,
    DualPathNetConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    ShakeShakeConfig,
    TurboConfig,
    WideResNetConfig,
)
from fmnist_tui.fields import exact, field_value


def network_name(model: ModelConfig) -> str:
    """The name its family's papers give a network of these sizes, for example 'WRN-28-10'."""
    if isinstance(model, WideResNetConfig):
        return f"WRN-{model.depth}-{model.widen_factor}"
    if isinstance(model, DenseNetConfig):
        kind = "DenseNet" + ("-" if model.bottleneck or model.reduction < 1 else "")
        kind += ("B" if model.bottleneck else "") + ("C" if model.reduction < 1 else "")
        return f"{kind}-{model.depth}-{model.growth_rate}"
    if isinstance(model, DualPathNetConfig):
        return f"DualPathNet-{'-'.join(map(str, model.blocks))}"
    if isinstance(model, ShakeShakeConfig):
        return f"Shake-Shake-{model.depth} 2x{model.base_channels}d"
    if isinstance(model, TurboConfig):
        depth = f" x{model.group_convs}" if model.group_convs > 2 else ""
        return f"Turbo-{'-'.join(map(str, model.widths))}{depth}"
    return str(model.kind)


def network(model: ModelConfig) -> str:
    """Every size of a network by its field's name: 'depth 28, widen_factor 10, drop_rate 0'."""
    return ", ".join(f"{key} {field_value(value)}" for key, value in model.model_dump(exclude={"kind"}).items())


def optimizer(config: OptimizerConfig) -> str:
    """'SGD, momentum 0.9, Nesterov'; of Muon both parts: what moves the filters, and what moves the rest."""
    sgd = f"SGD, momentum {exact(config.momentum)}" + (", Nesterov" if config.nesterov else "")
    if config.kind == "sgd":
        return sgd
    muon = f"Muon, momentum {exact(config.muon_momentum)}, {config.muon_steps} iterations"
    return f"{muon}; biases (lr {exact(config.bias_lr)}) and head (lr {exact(config.head_lr)}): {sgd}"


def schedule(config: ScheduleConfig) -> str:
    """The learning rate's way in words: 'x0.2 at epochs 60, 120, 160', 'cosine to 0, warm-up 5 epochs'."""
    said = {
        "step": f"x{exact(config.gamma)} at epochs {', '.join(map(str, config.milestones))}",
        "cosine": f"cosine to {exact(config.min_lr)}",
        "linear": f"linear to {exact(config.min_lr)}",
        "one_cycle": f"one cycle to {exact(config.min_lr)}",
    }.get(config.kind, config.kind)
    return said + (f", warm-up {exact(config.warmup_epochs)} epochs" if config.warmup_epochs else "")


def augmentation(config: AugmentConfig) -> str:
    """'crop (pad 4), flip, Cutout 16'; 'none' where nothing is done."""
    said = [f"crop (pad {config.crop_padding})"] if config.crop_padding else []
    said += ["flip" + (" alternating" if config.flip_mode == "alternating" else "")] if config.flip else []
    if config.cutout_size and config.cutout_probability:
        share = "" if config.cutout_probability == 1 else f" (p {exact(config.cutout_probability)})"
        said.append(f"Cutout {config.cutout_size}{share}" + (" inside" if config.cutout_inside else ""))
    if config.cutmix_probability and config.cutmix_share:
        until = "" if config.cutmix_share == 1 else f" in the first {config.cutmix_share:.0%} of the epochs"
        said.append(f"CutMix (p {exact(config.cutmix_probability)}){until}")
    if config.low_resolution < IMAGE_SIZE and config.low_resolution_share:
        size = config.low_resolution
        said.append(f"first {config.low_resolution_share:.0%} of the epochs at {size}x{size}")
    return ", ".join(said) or "none"


def changes(changed: dict[str, tuple[Any, Any]]) -> str:
    """Changed hyperparameters as 'training.epochs 200 -> 20, optimizer.lr 0.1 -> 0.05'; '' for none.

    Of another model family its own fields are told, not that the preset's are gone.
    """
    told = dict(changed)
    if "model.kind" in told:
        told = {key: (old, new) for key, (old, new) in told.items() if not key.startswith("model.") or new is not None}
    return ", ".join(f"{key} {field_value(old)} -> {field_value(new)}" for key, (old, new) in told.items())
