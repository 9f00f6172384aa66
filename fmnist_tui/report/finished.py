"""A finished run as the table sees it: its result beside the preset it came from and the reference's row.

Made by `rows.collect` and `summary`; reads presets, no run directories.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from fmnist_tui import fields, presets
from fmnist_tui.config import ConfigError, Reference, RunConfig
from fmnist_tui.report.describe import network_name
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import State

NOT_COMPARED = (
    "seed",
    "training.precision",
    "training.memory_format",
    "training.compile",
    "training.cuda_graphs",
    "training.cpu_kernels",
    "training.deterministic",
    "training.tf32",
    "training.cudnn_benchmark",
    "training.fused",
    "training.threads",
    "training.micro_batch",
    "training.eval_every",
    "training.tta",
    "training.checkpoint_seconds",
    "training.max_steps",
)
"""Fields that make no other experiment: the seed, how the arithmetic is done, how often is looked. What they
came to stands in the result, and `max_steps` in its `complete`. (So do `data.source` and `data.split`.)"""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run with what the table says of its configuration."""

    id: str
    config: RunConfig
    result: Result
    model_name: str
    """The reference's name for this network where it has one, else the family with its sizes."""
    origin: str
    """'shipped', 'own' (a preset of the user's) or 'none' (a configuration file)."""
    changed: dict[str, tuple[Any, Any]]
    """Hyperparameters that differ from the preset's: (the preset's value, the run's)."""
    reference: Reference | None
    """The reference row it may be compared with; None where that would not be like with like."""
    resumed: State | None = None
    """The state of a run that was resumed after this result, and has no other yet."""

    @property
    def label(self) -> str:
        """The preset's name, or the run's where it came from none."""
        return self.config.preset or self.result.name

    @property
    def micro_batch(self) -> int | None:
        """Images on the device at once where that was less than the batch: it changes batch norm's statistics."""
        batch_size = self.config.training.batch_size
        return self.result.micro_batch if self.result.micro_batch < batch_size else None

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The fields that make the experiment, with the epochs really trained."""
        return _experiment(self.config, self.result)

    @property
    def group(self) -> Hashable:
        """Runs whose groups are equal differ in nothing but the seed and share a row."""
        result = self.result
        return (
            (self.origin, self.label, tuple(self.hyperparameters.items()), self.reference),
            (result.data_source, result.split, result.hold_out, result.train_images, result.test_images),
            (result.epochs, result.complete, result.complete or result.steps),
            (result.parameters, result.device_name or result.device, result.devices),
            (result.precision, result.compile, result.deterministic, self.micro_batch),
            self.config.training.eval_every,
        )


def preset_base(preset: str | None) -> tuple[RunConfig | None, str]:
    """The preset hyperparameters are compared with, where it can be found, and its origin (FinishedRun.origin)."""
    if preset is None:
        return None, "none"
    if shipped := presets.shipped_preset(preset):
        return shipped, "shipped"
    try:
        return presets.load_preset(preset), "own"
    except ConfigError:  # deleted, renamed or broken since
        return None, "own"


def finished_run(
    result: Result,
    config: RunConfig,
    run_id: str = "",
    base_of: Callable[[str | None], tuple[RunConfig | None, str]] = preset_base,
) -> FinishedRun:
    """A run's result with what its configuration changed and the reference it may be compared with."""
    base, origin = base_of(config.preset)
    changed: dict[str, tuple[Any, Any]] = {}
    if base is not None:
        before, after = _experiment(base), _experiment(config, result)
        pairs = {key: (before.get(key), after.get(key)) for key in before | after}
        changed = {key: (old, new) for key, (old, new) in pairs.items() if old != new}
    # What ships with the program has one reference; a user's configuration may bring its own.
    reference = base.reference if base is not None and origin == "shipped" else config.reference
    if reference is not None and origin == "shipped" and reference.parameters != result.parameters:
        reference = None  # another network
    return FinishedRun(
        id=run_id or result.id,
        config=config,
        result=result,
        model_name=reference.model_name if reference else network_name(config.model),
        origin=origin,
        changed=changed,
        reference=reference if _comparable(result) else None,
    )


def _comparable(result: Result) -> bool:
    """Whether a result is of the whole run on the split and the data the reference was measured on."""
    whole = result.complete and not result.hold_out
    return whole and result.data_source == "full" and result.split == "custom"


def _experiment(config: RunConfig, result: Result | None = None) -> dict[str, Any]:
    """The fields that make the experiment. A finished run trained for the epochs its result says.

    (They may have been changed on the way, by a resume, an edit or `stop_at_accuracy`.)
    """
    flat = fields.flatten(config)
    if result is not None and result.complete:
        flat["training.epochs"] = result.epochs
    return {key: value for key, value in flat.items() if key not in NOT_COMPARED and not key.startswith("data.")}
