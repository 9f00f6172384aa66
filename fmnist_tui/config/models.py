"""The model section: one class a family of networks, told apart by `kind`, with the family's own fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fmnist_tui.config.section import Section, Sizes, unit
from fmnist_tui.wording import cross_field

_KIND_HELP = "Family of the network; another family has other fields."


class WideResNetConfig(Section):
    """Wide ResNet, pre-activation (arXiv 1605.07146)."""

    kind: Literal["wide_resnet"] = Field("wide_resnet", description=_KIND_HELP)
    depth: int = Field(
        28,
        ge=10,
        le=202,
        description="Convolutional layers; must be 6n + 4.",
        json_schema_extra=unit("layers"),
    )
    widen_factor: int = Field(
        10,
        ge=1,
        le=20,
        description="Width of each group as a multiple of 16, 32 and 64.",
        json_schema_extra=unit("x"),
    )
    drop_rate: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Dropout between the two convolutions of a block.",
        json_schema_extra=unit("probability"),
    )

    @field_validator("depth")
    @classmethod
    def _depth(cls, depth: int) -> int:
        if (depth - 4) % 6:
            near = 6 * round((depth - 4) / 6) + 4
            raise ValueError(f"a Wide ResNet's depth is 6n + 4; the nearest is {max(near, 10)}")
        return depth


class DenseNetConfig(Section):
    """DenseNet and DenseNet-BC with three dense blocks (arXiv 1608.06993)."""

    kind: Literal["densenet"] = Field("densenet", description=_KIND_HELP)
    depth: int = Field(
        100,
        ge=7,
        le=400,
        description="Layers; 6n + 4 with bottleneck, 3n + 4 without.",
        json_schema_extra=unit("layers"),
    )
    growth_rate: int = Field(
        12, ge=1, le=128, description="Channels each layer appends.", json_schema_extra=unit("channels")
    )
    reduction: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        description="Share of the channels a transition keeps (theta; 1 is no compression).",
        json_schema_extra=unit("share"),
    )
    bottleneck: bool = Field(True, description="A 1x1 convolution to 4 x growth rate before each 3x3 (the B in BC).")
    drop_rate: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Dropout after each convolution but the first.",
        json_schema_extra=unit("probability"),
    )

    @model_validator(mode="after")
    def _depth(self) -> DenseNetConfig:
        factor = 6 if self.bottleneck else 3
        if (self.depth - 4) % factor or self.depth < factor + 4:
            near = max(factor * round((self.depth - 4) / factor) + 4, factor + 4)
            kind = "with bottleneck" if self.bottleneck else "without bottleneck"
            message = f"a DenseNet's depth {kind} is {factor}n + 4; the nearest is {near}"
            raise cross_field("model.depth", self.depth, message)
        return self


class DualPathNetConfig(Section):
    """A dual path network of basic blocks (arXiv 1707.01629)."""

    kind: Literal["dual_path_net"] = Field("dual_path_net", description=_KIND_HELP)
    blocks: Sizes = Field(
        (4, 4, 4),
        min_length=1,
        max_length=4,
        description="Units in each stage.",
        json_schema_extra=unit("units per stage"),
    )
    filters: Sizes = Field(
        (160, 320, 640),
        min_length=1,
        max_length=4,
        description="Channels of the residual path in each stage.",
        json_schema_extra=unit("channels per stage"),
    )
    growth_rate: Sizes = Field(
        (16, 32, 64),
        min_length=1,
        max_length=4,
        description="Channels the dense path grows by in each unit of a stage.",
        json_schema_extra=unit("channels per stage"),
    )

    @model_validator(mode="after")
    def _stages(self) -> DualPathNetConfig:
        sizes = {"blocks": self.blocks, "filters": self.filters, "growth_rate": self.growth_rate}
        lengths = [len(size) for size in sizes.values()]
        odd = min(sizes, key=lambda name: lengths.count(len(sizes[name])))
        if len(set(lengths)) > 1:
            message = "blocks, filters and growth_rate need one number for each stage; they hold {}, {} and {}"
            raise cross_field(f"model.{odd}", sizes[odd], message.format(*lengths))
        return self


class ShakeShakeConfig(Section):
    """Shake-Shake with two residual branches (arXiv 1705.07485)."""

    kind: Literal["shake_shake"] = Field("shake_shake", description=_KIND_HELP)
    depth: int = Field(26, ge=8, le=200, description="Layers; must be 6n + 2.", json_schema_extra=unit("layers"))
    base_channels: int = Field(
        96,
        ge=2,
        le=512,
        multiple_of=2,
        description="Width of the first stage (96 in 2x96d); it doubles twice.",
        json_schema_extra=unit("channels"),
    )
    shake_forward: bool = Field(True, description="Draw the branch weights at random in the forward pass (else 0.5).")
    shake_backward: bool = Field(
        True, description="Draw other branch weights in the backward pass (else the forward ones)."
    )
    shake_level: Literal["image", "batch"] = Field(
        "image", description="Draw one weight for each image, or one for the batch."
    )

    @field_validator("depth")
    @classmethod
    def _depth(cls, depth: int) -> int:
        if (depth - 2) % 6:
            near = 6 * round((depth - 2) / 6) + 2
            raise ValueError(f"a Shake-Shake network's depth is 6n + 2; the nearest is {max(near, 8)}")
        return depth


class TurboConfig(Section):
    """A small network for training in minutes: frozen whitening, then groups of two convolutions (arXiv 2404.00498)."""

    kind: Literal["turbo"] = Field("turbo", description=_KIND_HELP)
    widths: Sizes = Field(
        (48, 128, 256),
        min_length=1,
        max_length=3,
        description="Channels of each group; a group halves the image.",
        json_schema_extra=unit("channels per group"),
    )
    group_convs: int = Field(
        2,
        ge=2,
        le=4,
        description="Convolutions in a group; from 3 on, the result of the first is added to that of the last.",
        json_schema_extra=unit("convolutions"),
    )
    whitening_filters: int = Field(
        18,
        ge=2,
        le=18,
        multiple_of=2,
        description="Filters of the whitening 3x3 convolution: plus and minus the first eigenvectors of the patches.",
        json_schema_extra=unit("filters"),
    )
    whitening_epsilon: float = Field(
        5e-4,
        gt=0.0,
        le=1.0,
        description="Added to each eigenvalue before its root divides the eigenvector.",
        json_schema_extra=unit("variance"),
    )
    whitening_padding: int = Field(
        1,
        ge=0,
        le=1,
        description="Border the whitening convolution adds; without it the image loses a pixel on each side.",
        json_schema_extra=unit("pixels"),
    )
    whitening_bias_share: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Share of the run, from its start, in which the whitening's bias is trained; then it is frozen.",
        json_schema_extra=unit("share"),
    )
    bn_momentum: float = Field(
        0.1,
        gt=0.0,
        le=1.0,
        description="Weight of a new batch in batch norm's running statistics.",
        json_schema_extra=unit("share"),
    )
    head_scale: float = Field(
        0.1,
        gt=0.0,
        le=10.0,
        description="Factor on the logits, whose weights begin with deviation 1.",
        json_schema_extra=unit("x"),
    )


ModelConfig = Annotated[
    WideResNetConfig | DenseNetConfig | DualPathNetConfig | ShakeShakeConfig | TurboConfig, Field(discriminator="kind")
]
MODEL_KINDS: dict[str, type[Section]] = {
    "wide_resnet": WideResNetConfig,
    "densenet": DenseNetConfig,
    "dual_path_net": DualPathNetConfig,
    "shake_shake": ShakeShakeConfig,
    "turbo": TurboConfig,
}
