"""The optimizer and schedule sections: how weights are updated, and the learning rate over the run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fmnist_tui.config.section import Section, unit
from fmnist_tui.wording import cross_field


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
        json_schema_extra=unit("lr"),
    )
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Momentum.", json_schema_extra=unit("share"))
    nesterov: bool = Field(True, description="Nesterov momentum.")
    weight_decay: float = Field(
        5e-4,
        ge=0.0,
        le=1.0,
        description="L2 penalty on every parameter, batch-norm included (muon: all but the filters, "
        "whose norm is fixed).",
        json_schema_extra=unit("1/step"),
    )
    muon_momentum: float = Field(
        0.7,
        ge=0.0,
        lt=1.0,
        description="Nesterov momentum of the filters (muon).",
        json_schema_extra=unit("share"),
    )
    muon_steps: int = Field(
        3,
        ge=1,
        le=10,
        description="Newton-Schulz iterations that orthogonalise an update (muon).",
        json_schema_extra=unit("iterations"),
    )
    bias_lr: float = Field(
        0.05,
        gt=0.0,
        le=100.0,
        description="Initial learning rate of biases and batch norm (muon); the schedule scales it alike.",
        json_schema_extra=unit("lr"),
    )
    head_lr: float = Field(
        0.67,
        gt=0.0,
        le=100.0,
        description="Initial learning rate of the linear layer's weights (muon); the schedule scales it alike.",
        json_schema_extra=unit("lr"),
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
        json_schema_extra=unit("epochs"),
    )
    gamma: float = Field(
        0.2, gt=0.0, le=1.0, description="Factor at each milestone (step).", json_schema_extra=unit("x")
    )
    min_lr: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="Learning rate at the end of the run (cosine, linear, one_cycle).",
        json_schema_extra=unit("lr"),
    )
    warmup_epochs: float = Field(
        0.0,
        ge=0.0,
        le=1000.0,
        description="Epochs over which the rate rises linearly to its value (the rise of one_cycle).",
        json_schema_extra=unit("epochs"),
    )

    @model_validator(mode="after")
    def _milestones(self) -> ScheduleConfig:
        if any(b <= a for a, b in zip(self.milestones, self.milestones[1:], strict=False)):
            raise cross_field("schedule.milestones", self.milestones, "must rise from one to the next")
        return self
