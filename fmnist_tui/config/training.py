"""The training section: how long, in which batches, and how the arithmetic is done."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fmnist_tui.config.section import Section, unit
from fmnist_tui.wording import cross_field


class TrainingConfig(Section):
    """How long, in which batches, and how the arithmetic is done."""

    epochs: int = Field(
        200,
        ge=1,
        le=100_000,
        description="Passes over the training images.",
        json_schema_extra=unit("epochs"),
    )
    batch_size: int = Field(256, ge=1, le=65_536, description="Images in a step.", json_schema_extra=unit("images"))
    micro_batch: Literal["full", "auto"] | Annotated[int, Field(strict=True, ge=1, le=65_536)] = Field(
        "full",
        description="Images on the device at once: full is the whole batch, auto splits it when memory runs out, "
        "a number splits it so. Gradients are accumulated.",
        json_schema_extra=unit("images"),
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
        json_schema_extra=unit("share"),
    )
    eval_every: int = Field(
        1,
        ge=1,
        le=100_000,
        description="Epochs between evaluations; the last epoch is always evaluated.",
        json_schema_extra=unit("epochs"),
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
        json_schema_extra=unit("s"),
    )
    max_steps: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Stop after this many steps, for smoke runs; none is no limit.",
        json_schema_extra=unit("steps"),
    )
    stop_at_accuracy: Annotated[float, Field(gt=0.0, le=100.0)] | None = Field(
        None,
        description="Finish once a test accuracy reaches this; none is never.",
        json_schema_extra=unit("%"),
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic of the network; auto takes what was measured faster on the device."
    )
    memory_format: Literal["auto", "channels_last", "contiguous"] = Field(
        "auto", description="Layout of image tensors; auto takes what was measured faster on the device."
    )
    compile: Literal["auto", "off", "default", "reduce-overhead", "max-autotune"] = Field(
        "auto",
        description="torch.compile mode, without its own CUDA graphs (see cuda_graphs); auto tries on a GPU whether it "
        "pays.",
    )
    cuda_graphs: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Record a training step on a GPU and replay it; auto is on but where deterministic, in fp16 and on "
        "several GPUs.",
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
    cpu_kernels: Literal["auto", "on", "off"] = Field(
        "auto",
        description="On a CPU, batch norm with its activation and pooling in fewer passes over memory, and 3x3 "
        "convolutions in fewer multiplications; built with the C compiler. auto is on where there is one, but where "
        "deterministic.",
    )
    threads: Literal["auto"] | Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(
        "auto",
        description="CPU threads; auto takes what other processes leave free and follows it while a run on a CPU is at "
        "work (a deterministic run keeps its number).",
        json_schema_extra=unit("threads"),
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
