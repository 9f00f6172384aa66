"""RunConfig: every hyperparameter of a run with its bounds, unit and help text.

The one place that knows what a valid configuration is. The command line, the preset files, the app's
form and the trainer all read it from here; nothing repeats a bound or a help text. Values come from
REFERENCE.md's presets through `presets.py`; this module holds no preset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fmnist_tui.wording import cross_field, one_of, plain_words, shown
from fmnist_tui.wording import nearest as nearest

IMAGE_SIZE = 28
"""Side of a Fashion-MNIST image in pixels."""

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The ten class names in label order."""


def _unit(text: str) -> dict[str, Any]:
    return {"unit": text}


def _printable(text: str) -> str:
    if not text.isprintable():  # a terminal would obey control characters
        raise ValueError("must be printable text on one line")
    return text


Text = Annotated[str, AfterValidator(_printable)]
Sizes = Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=4096)], ...], Field(strict=False)]


class Section(BaseModel):
    """A part of a RunConfig: immutable, strict about types, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


_KIND_HELP = "Family of the network; another family has other fields."


class WideResNetConfig(Section):
    """Wide ResNet, pre-activation (arXiv 1605.07146)."""

    kind: Literal["wide_resnet"] = Field("wide_resnet", description=_KIND_HELP)
    depth: int = Field(
        28,
        ge=10,
        le=202,
        description="Convolutional layers; must be 6n + 4.",
        json_schema_extra=_unit("layers"),
    )
    widen_factor: int = Field(
        10,
        ge=1,
        le=20,
        description="Width of each group as a multiple of 16, 32 and 64.",
        json_schema_extra=_unit("x"),
    )
    drop_rate: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Dropout between the two convolutions of a block.",
        json_schema_extra=_unit("probability"),
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
        json_schema_extra=_unit("layers"),
    )
    growth_rate: int = Field(
        12, ge=1, le=128, description="Channels each layer appends.", json_schema_extra=_unit("channels")
    )
    reduction: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        description="Share of the channels a transition keeps (theta; 1 is no compression).",
        json_schema_extra=_unit("share"),
    )
    bottleneck: bool = Field(True, description="A 1x1 convolution to 4 x growth rate before each 3x3 (the B in BC).")
    drop_rate: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Dropout after each convolution but the first.",
        json_schema_extra=_unit("probability"),
    )

    @model_validator(mode="after")
    def _depth(self) -> DenseNetConfig:
        unit = 6 if self.bottleneck else 3
        if (self.depth - 4) % unit or self.depth < unit + 4:
            near = max(unit * round((self.depth - 4) / unit) + 4, unit + 4)
            kind = "with bottleneck" if self.bottleneck else "without bottleneck"
            message = f"a DenseNet's depth {kind} is {unit}n + 4; the nearest is {near}"
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
        json_schema_extra=_unit("units per stage"),
    )
    filters: Sizes = Field(
        (160, 320, 640),
        min_length=1,
        max_length=4,
        description="Channels of the residual path in each stage.",
        json_schema_extra=_unit("channels per stage"),
    )
    growth_rate: Sizes = Field(
        (16, 32, 64),
        min_length=1,
        max_length=4,
        description="Channels the dense path grows by in each unit of a stage.",
        json_schema_extra=_unit("channels per stage"),
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
    depth: int = Field(26, ge=8, le=200, description="Layers; must be 6n + 2.", json_schema_extra=_unit("layers"))
    base_channels: int = Field(
        96,
        ge=2,
        le=512,
        multiple_of=2,
        description="Width of the first stage (96 in 2x96d); it doubles twice.",
        json_schema_extra=_unit("channels"),
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
        json_schema_extra=_unit("channels per group"),
    )
    group_convs: int = Field(
        2,
        ge=2,
        le=4,
        description="Convolutions in a group; from 3 on, the result of the first is added to that of the last.",
        json_schema_extra=_unit("convolutions"),
    )
    whitening_filters: int = Field(
        18,
        ge=2,
        le=18,
        multiple_of=2,
        description="Filters of the whitening 3x3 convolution: plus and minus the first eigenvectors of the patches.",
        json_schema_extra=_unit("filters"),
    )
    whitening_epsilon: float = Field(
        5e-4,
        gt=0.0,
        le=1.0,
        description="Added to each eigenvalue before its root divides the eigenvector.",
        json_schema_extra=_unit("variance"),
    )
    whitening_padding: int = Field(
        1,
        ge=0,
        le=1,
        description="Border the whitening convolution adds; without it the image loses a pixel on each side.",
        json_schema_extra=_unit("pixels"),
    )
    whitening_bias_share: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Share of the run, from its start, in which the whitening's bias is trained; then it is frozen.",
        json_schema_extra=_unit("share"),
    )
    bn_momentum: float = Field(
        0.1,
        gt=0.0,
        le=1.0,
        description="Weight of a new batch in batch norm's running statistics.",
        json_schema_extra=_unit("share"),
    )
    head_scale: float = Field(
        0.1,
        gt=0.0,
        le=10.0,
        description="Factor on the logits, whose weights begin with deviation 1.",
        json_schema_extra=_unit("x"),
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


class DataConfig(Section):
    """Which images are trained on and which are tested on."""

    source: Literal["full", "sample"] = Field(
        "full", description="The full data set, or the small sample shipped with the program."
    )
    split: Literal["custom", "standard"] = Field(
        "custom",
        description="custom: train on the first half of the training images, test on the official test images and "
        "the other half (30,000 / 40,000). standard: the official 60,000 / 10,000.",
    )


class AugmentConfig(Section):
    """What is done to a training image before the network sees it."""

    crop_padding: int = Field(
        4,
        ge=0,
        le=IMAGE_SIZE // 2,
        description="Random crop: pad by this much on each side, crop 28x28; 0 is off.",
        json_schema_extra=_unit("pixels"),
    )
    flip: bool = Field(True, description="Mirror an image horizontally with probability 0.5.")
    flip_mode: Literal["random", "alternating"] = Field(
        "random",
        description="random: drawn for each image in each epoch. alternating: drawn in the first epoch, then mirrored "
        "in every second one (arXiv 2404.00498).",
    )
    cutout_size: int = Field(
        0,
        ge=0,
        le=IMAGE_SIZE,
        description="Side of the square Cutout fills with the mean; 0 is off (arXiv 1708.04552).",
        json_schema_extra=_unit("pixels"),
    )
    cutout_probability: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Share of the images that get a Cutout.",
        json_schema_extra=_unit("probability"),
    )
    cutout_inside: bool = Field(False, description="Keep the whole square inside the image; else only its centre.")
    low_resolution: int = Field(
        IMAGE_SIZE,
        ge=8,
        le=IMAGE_SIZE,
        multiple_of=4,
        description="Side of the images in the first part of the run, resized with antialiasing; 28 is full size.",
        json_schema_extra=_unit("pixels"),
    )
    low_resolution_share: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Share of the epochs, from the first, that train at the low resolution.",
        json_schema_extra=_unit("share"),
    )


class OptimizerConfig(Section):
    """Stochastic gradient descent, or Muon for the filters of convolutions and SGD for the rest."""

    kind: Literal["sgd", "muon"] = Field(
        "sgd",
        description="sgd: stochastic gradient descent. muon: orthogonalised updates for the filters of convolutions, "
        "SGD for biases and the head.",
    )
    lr: float = Field(
        0.1,
        gt=0.0,
        le=100.0,
        description="Initial learning rate (muon: of the filters); the schedule scales it.",
        json_schema_extra=_unit("lr"),
    )
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Momentum.", json_schema_extra=_unit("share"))
    nesterov: bool = Field(True, description="Nesterov momentum.")
    weight_decay: float = Field(
        5e-4,
        ge=0.0,
        le=1.0,
        description="L2 penalty on every parameter, batch-norm included (muon: all but the filters, "
        "whose norm is fixed).",
        json_schema_extra=_unit("1/step"),
    )
    muon_momentum: float = Field(
        0.7,
        ge=0.0,
        lt=1.0,
        description="Nesterov momentum of the filters (muon).",
        json_schema_extra=_unit("share"),
    )
    muon_steps: int = Field(
        3,
        ge=1,
        le=10,
        description="Newton-Schulz iterations that orthogonalise an update (muon).",
        json_schema_extra=_unit("iterations"),
    )
    bias_lr: float = Field(
        0.05,
        gt=0.0,
        le=100.0,
        description="Initial learning rate of biases and batch norm (muon); the schedule scales it alike.",
        json_schema_extra=_unit("lr"),
    )
    head_lr: float = Field(
        0.67,
        gt=0.0,
        le=100.0,
        description="Initial learning rate of the linear layer's weights (muon); the schedule scales it alike.",
        json_schema_extra=_unit("lr"),
    )

    @model_validator(mode="after")
    def _nesterov(self) -> OptimizerConfig:
        if self.nesterov and self.momentum == 0.0:
            message = "needs optimizer.momentum above 0, for example 0.9; or set nesterov = false"
            raise cross_field("optimizer.nesterov", self.nesterov, message)
        return self


class ScheduleConfig(Section):
    """The learning rate as a function of the step."""

    kind: Literal["step", "cosine", "linear", "constant", "one_cycle"] = Field(
        "step",
        description="step: times gamma at each milestone. cosine, linear: to min_lr over the run. "
        "one_cycle: up, then down to min_lr.",
    )
    milestones: Annotated[tuple[Annotated[int, Field(strict=True, ge=2)], ...], Field(strict=False)] = Field(
        (),
        max_length=64,
        description="Epochs, counted from 1, that are the first at the next lower rate (step).",
        json_schema_extra=_unit("epochs"),
    )
    gamma: float = Field(
        0.2, gt=0.0, le=1.0, description="Factor at each milestone (step).", json_schema_extra=_unit("x")
    )
    min_lr: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="Learning rate at the end of the run (cosine, linear, one_cycle).",
        json_schema_extra=_unit("lr"),
    )
    warmup_epochs: float = Field(
        0.0,
        ge=0.0,
        le=1000.0,
        description="Epochs over which the rate rises linearly to its value (the rise of one_cycle).",
        json_schema_extra=_unit("epochs"),
    )

    @model_validator(mode="after")
    def _milestones(self) -> ScheduleConfig:
        if any(b <= a for a, b in zip(self.milestones, self.milestones[1:], strict=False)):
            raise cross_field("schedule.milestones", self.milestones, "must rise from one to the next")
        return self


class TrainingConfig(Section):
    """How long, in which batches, and how the arithmetic is done."""

    epochs: int = Field(
        200,
        ge=1,
        le=100_000,
        description="Passes over the training images.",
        json_schema_extra=_unit("epochs"),
    )
    batch_size: int = Field(256, ge=1, le=65_536, description="Images in a step.", json_schema_extra=_unit("images"))
    micro_batch: Literal["full", "auto"] | Annotated[int, Field(strict=True, ge=1, le=65_536)] = Field(
        "full",
        description="Images on the device at once: full is the whole batch, auto splits it when memory runs out, "
        "a number splits it so. Gradients are accumulated.",
        json_schema_extra=_unit("images"),
    )
    sync_batch_norm: bool = Field(
        False,
        description="On several GPUs: batch-norm statistics of the whole batch. Without it they are of each GPU's own "
        "images, as those of micro-batches are, and need no exchange.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Share of each target spread evenly over the classes (arXiv 1512.00567); the training loss is "
        "with it, the test loss without.",
        json_schema_extra=_unit("share"),
    )
    eval_every: int = Field(
        1,
        ge=1,
        le=100_000,
        description="Epochs between evaluations; the last epoch is always evaluated.",
        json_schema_extra=_unit("epochs"),
    )
    tta: Literal["none", "flip"] = Field(
        "none",
        description="Test-time averaging: flip averages the logits of an image and its mirror image. Its accuracy is "
        "reported beside the test accuracy, never in its place.",
    )
    checkpoint_seconds: float = Field(
        120.0,
        ge=0.0,
        le=86_400.0,
        description="Longest time between checkpoints within an epoch; each epoch ends with one in any case.",
        json_schema_extra=_unit("s"),
    )
    max_steps: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Stop after this many steps, for smoke runs; none is no limit.",
        json_schema_extra=_unit("steps"),
    )
    stop_at_accuracy: Annotated[float, Field(gt=0.0, le=100.0)] | None = Field(
        None,
        description="Finish once a test accuracy reaches this; none is never.",
        json_schema_extra=_unit("%"),
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic of the network; auto takes what was measured faster on the device."
    )
    memory_format: Literal["auto", "channels_last", "contiguous"] = Field(
        "auto", description="Layout of image tensors; auto takes what was measured faster on the device."
    )
    compile: Literal["auto", "off", "default", "reduce-overhead", "max-autotune"] = Field(
        "auto",
        description="torch.compile mode; auto tries on a GPU what is faster, where the run is long enough for it.",
    )
    tf32: Literal["auto", "on", "off"] = Field(
        "auto",
        description="TensorFloat-32 on a GPU for what is computed in fp32: faster, 10 bits of mantissa. auto is on but "
        "where deterministic.",
    )
    cudnn_benchmark: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Let cuDNN time its algorithms for each shape and keep the fastest (GPU). auto is on but where "
        "deterministic.",
    )
    fused: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Update all parameters of SGD in one operation; auto is on where torch has it for the device.",
    )
    threads: Literal["auto"] | Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(
        "auto",
        description="CPU threads; auto takes what other processes leave free and follows it while a run on a CPU is at "
        "work (a deterministic run keeps its number).",
        json_schema_extra=_unit("threads"),
    )
    deterministic: bool = Field(
        False,
        description="Only deterministic algorithms: a resumed run equals an uninterrupted one bit for bit on one "
        "CPU device, at some cost in speed.",
    )

    @model_validator(mode="after")
    def _micro_batch(self) -> TrainingConfig:
        if isinstance(self.micro_batch, int) and self.micro_batch > self.batch_size:
            message = f"must not exceed training.batch_size = {self.batch_size}"
            raise cross_field("training.micro_batch", self.micro_batch, message)
        return self


class Reference(Section):
    """A row of the 2018 table a preset reproduces (REFERENCE.md); shown beside measured results, never trained on."""

    model_name: Text = Field(min_length=1, max_length=80, description="The reference's own name for the model.")
    parameters: int = Field(ge=1, description="Number of parameters it lists.")
    accuracy: float = Field(
        gt=0.0,
        le=100.0,
        description="Best test accuracy over all epochs, custom split.",
        json_schema_extra=_unit("%"),
    )
    epochs: int = Field(ge=1, description="Epochs it trained for.", json_schema_extra=_unit("epochs"))
    time: Text = Field(min_length=1, max_length=80, description="Its author's estimate of the time on one GTX 1080 Ti.")
    images_per_second: Annotated[float, Field(gt=0.0)] | None = Field(
        None,
        description="Training speed computed from its published logs.",
        json_schema_extra=_unit("images/s"),
    )


class RunConfig(Section):
    """Everything that determines a run but the device it runs on."""

    name: Text = Field("run", min_length=1, max_length=64, description="What the run is called; part of its id.")
    preset: Text | None = Field(None, max_length=64, description="The preset the run started from.")
    group: Text | None = Field(
        None, min_length=1, max_length=64, description="Runs that belong together, for example those of a sweep."
    )
    description: Text = Field("", max_length=200, description="One line for the list of presets.")
    seed: int = Field(
        40_000,
        ge=0,
        le=2**32 - 1,
        description="Seed of the initial weights, the shuffle, the augmentation and all noise.",
    )
    model: ModelConfig
    data: DataConfig = Field(default_factory=DataConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    reference: Reference | None = Field(None, description="The reference row this preset is measured against.")

    @field_validator("name")
    @classmethod
    def _visible(cls, name: str) -> str:
        if not name.strip():
            raise ValueError("must not be empty")
        return name

    @model_validator(mode="after")
    def _schedule(self) -> RunConfig:
        if self.schedule.kind == "step" and not self.schedule.milestones:
            message = (
                "schedule.kind = step needs some, for example [60, 120, 160]; for a fixed rate set kind = constant"
            )
            raise cross_field("schedule.milestones", self.schedule.milestones, message)
        if self.schedule.min_lr > self.optimizer.lr:
            message = f"must not exceed optimizer.lr = {self.optimizer.lr!r}"
            raise cross_field("schedule.min_lr", self.schedule.min_lr, message)
        if self.schedule.warmup_epochs >= self.training.epochs:
            message = f"must be below training.epochs = {self.training.epochs}"
            raise cross_field("schedule.warmup_epochs", self.schedule.warmup_epochs, message)
        return self


class FieldError(NamedTuple):
    """One thing wrong with a configuration: the dotted field ('' for the whole), the value, what to do."""

    field: str
    value: Any
    message: str

    def __str__(self) -> str:
        if not self.field:
            return self.message
        value = "" if self.value is None or isinstance(self.value, dict | BaseModel) else f" = {shown(self.value)}"
        return f"{self.field}{value}: {self.message}"


class ConfigError(ValueError):
    """A configuration that cannot be used; `errors` names each field, value and remedy."""

    def __init__(self, errors: Sequence[FieldError], where: str = "") -> None:
        self.errors = tuple(errors)
        self.where = where
        lines = [str(error) for error in self.errors]
        if len(lines) == 1:
            super().__init__(f"{where}: {lines[0]}" if where else lines[0])
        else:
            super().__init__("\n  ".join([f"{where or 'the configuration'}:", *lines]))


SECTIONS = ("model", "data", "augment", "optimizer", "schedule", "training")
"""Names of RunConfig's sections in the order people read them."""


def known_keys(parent: Sequence[str], data: Mapping[str, Any]) -> list[str]:
    """The fields a section has; of the model section, those of the family `data` names."""
    if not parent:
        return [key for key in RunConfig.model_fields if key != "preset"]
    section = parent[0]
    if section == "model":
        model = data.get("model", {})
        kind = model.get("kind", "") if isinstance(model, Mapping) else ""
        return list(MODEL_KINDS[kind].model_fields) if kind in MODEL_KINDS else []
    annotation = Reference if section == "reference" else RunConfig.model_fields[section].annotation
    assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return list(annotation.model_fields)


def _unknown_field_message(path: Sequence[str], data: Mapping[str, Any]) -> str:
    parent, key = path[:-1], path[-1]
    known = known_keys(parent, data)
    for section in SECTIONS:  # the right name in the wrong place
        if [section] != list(parent) and key in known_keys([section], data):
            return f"no such field; did you mean {section}.{key}?"
    families = [kind for kind, model in MODEL_KINDS.items() if key in model.model_fields]
    if list(parent) == ["model"] and families:
        return f"a field of {' and '.join(families)}; the fields here are {', '.join(known)}"
    if near := nearest(key, known):
        return f"no such field; did you mean {'.'.join([*parent, near])}?"
    return f"no such field; the fields here are {', '.join(known)}"


def _field_errors(error: ValidationError, data: Mapping[str, Any]) -> list[FieldError]:
    """pydantic's errors in our words, one a field."""
    found: dict[str, FieldError] = {}
    for item in error.errors():
        new = _field_error(item, data)
        if item["type"] == "too_short" and new.field in found:
            continue  # pydantic counts the good items only; the bad ones are said
        old = found.setdefault(new.field, new)
        if new.message.removeprefix("must be ") not in old.message:
            found[new.field] = old._replace(message=_joined(old.message, new.message))
    return list(found.values())


def _field_error(item: Mapping[str, Any], data: Mapping[str, Any]) -> FieldError:
    kind, value, path = item["type"], item["input"], [str(part) for part in item["loc"]]
    if kind == "cross_field":
        return FieldError(item["ctx"]["field"], item["ctx"]["value"], item["ctx"]["message"])
    if path == ["model"] and kind in ("union_tag_invalid", "union_tag_not_found", "missing"):
        value = value.get("kind") if kind != "missing" and isinstance(value, Mapping) else None
        return FieldError("model.kind", value, one_of(list(MODEL_KINDS), value))
    if path[:1] == ["model"] and len(path) > 1 and path[1] in MODEL_KINDS:
        del path[1]
    if kind == "extra_forbidden":
        return FieldError(".".join(path), None, _unknown_field_message(path, data))
    if kind == "missing":
        return FieldError(".".join(path), None, plain_words(item))
    message = plain_words(item)
    if len(path) > 2:  # an item of a list or a member of a union: the user wrote the field around it
        section = data.get(path[0])
        value = section.get(path[1]) if isinstance(section, Mapping) else value
        message = f"each {message}" if isinstance(item["loc"][-1], int) else message
    return FieldError(".".join(path[:2]), value, message)


def _joined(first: str, second: str) -> str:
    """Two messages about one field: of a list both hold, of a union either."""
    if second.startswith("each must be "):
        return f"{first}, and {second.removeprefix('each must be ')}"
    head, hint, near = first.partition("; did you mean ")
    return f"{head}, or {second.removeprefix('must be ')}{hint}{near}"


def parse_config(data: Mapping[str, Any], where: str = "") -> RunConfig:
    """A validated RunConfig from nested plain values (TOML, JSON, a form).

    `where` names the source in messages. Raises ConfigError naming each field, value and remedy.
    """
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_field_errors(error, data), where) from None
