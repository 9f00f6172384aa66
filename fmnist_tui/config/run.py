"""RunConfig: the sections together, and the rules that hold between them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from fmnist_tui.config.images import AugmentConfig, DataConfig
from fmnist_tui.config.models import ModelConfig
from fmnist_tui.config.optimization import OptimizerConfig, ScheduleConfig
from fmnist_tui.config.section import Section, Text, unit
from fmnist_tui.config.training import TrainingConfig
from fmnist_tui.wording import cross_field

SECTIONS = ("model", "data", "augment", "optimizer", "schedule", "training")
"""Names of RunConfig's sections in the order people read them."""


class Reference(Section):
    """A row of the 2018 table a preset reproduces (see the README); shown beside measured results, never trained on."""

    model_name: Text = Field(min_length=1, max_length=80, description="The reference's own name for the model.")
    parameters: int = Field(ge=1, description="Number of parameters it lists.")
    accuracy: float = Field(
        gt=0.0,
        le=100.0,
        description="Best test accuracy over all epochs, custom split.",
        json_schema_extra=unit("%"),
    )
    epochs: int = Field(ge=1, description="Epochs it trained for.", json_schema_extra=unit("epochs"))
    time: Text = Field(min_length=1, max_length=80, description="Its author's estimate of the time on one GTX 1080 Ti.")
    images_per_second: Annotated[float, Field(gt=0.0)] | None = Field(
        None,
        description="Training speed computed from its published logs.",
        json_schema_extra=unit("images/s"),
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

    @property
    def measured_against(self) -> Reference | None:
        """The reference row, where accuracies are of the images that it was measured on."""
        data = self.data
        same = data.source == "full" and data.split == "custom" and not data.hold_out
        return self.reference if same else None

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
