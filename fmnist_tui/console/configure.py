"""From a preset or a file and the options of `run` to the RunConfig that is trained. Called by `commands_run`.

Checks the options that a configuration does not hold (device, number of GPUs) as well. No torch: what the
monitor sees decides whether a CUDA device is there.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_tui.config import ConfigError, FieldError, RunConfig, nearest
from fmnist_tui.console.output import UsageError
from fmnist_tui.fields import notes, parse_value, scale_schedule, with_changes

DEVICE = re.compile(r"auto|cpu|cuda|cuda:\d{1,3}|mps")

OPTION_OF = {
    "training.epochs": "--epochs",
    "seed": "--seed",
    "name": "--name",
    "data.source": "--data",
    "data.split": "--split",
}
"""The options that are short for a field."""


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """The fields that `--set KEY=VALUE` options name, by dotted key. Raises UsageError for one of another form."""
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"--set {setting!r}: must be KEY=VALUE, for example --set optimizer.lr=0.05")
        value = parse_value(text, key)
        if key in changes and changes[key] != value:
            raise UsageError(f"--set {key}: given twice, as {changes[key]!r} and as {value!r}; give it once")
        changes[key] = value
    return changes


def configure(
    base: RunConfig, settings: Sequence[str], options: Mapping[str, Any], scale: bool = False
) -> tuple[RunConfig, list[str]]:
    """The configuration with what the command line changes, and what to tell the user about it.

    `options` holds the fields of OPTION_OF, None where the option was not given; `scale` moves the schedule
    with the number of epochs. Raises ConfigError or UsageError.
    """
    changes = parse_settings(settings)
    for key, value in options.items():
        if value is None:
            continue
        if key in changes and changes[key] != value:
            raise UsageError(f"{OPTION_OF[key]} {value}: but --set {key}={changes[key]}; give one of them")
        changes[key] = value
    said = []
    epochs = changes.get("training.epochs")
    if scale:
        if not isinstance(epochs, int):
            raise UsageError("--scale-schedule: needs the new number of epochs; add --epochs N")
        base = scale_schedule(with_changes(base, {}), _positive(epochs))
    elif isinstance(epochs, int) and 0 < epochs <= base.schedule.warmup_epochs and _keeps_warmup(changes):
        warmup = round(base.schedule.warmup_epochs * epochs / base.training.epochs, 4)
        said.append(
            f"schedule.warmup_epochs: {base.schedule.warmup_epochs:g} do not fit into {epochs}; "
            f"moved in proportion, to {warmup:g}"
        )
        changes["schedule.warmup_epochs"] = warmup
    config = with_changes(base, changes)
    return config, said + notes(config)


def _keeps_warmup(changes: Mapping[str, Any]) -> bool:
    return "schedule.warmup_epochs" not in changes


def _positive(epochs: int) -> int:
    if epochs < 1:
        raise ConfigError([FieldError("training.epochs", epochs, "must be greater than or equal to 1")])
    return epochs


def check_device(device: str) -> None:
    """Raises UsageError for a device that has no such form, or that is not in this machine, naming what is."""
    if not DEVICE.fullmatch(device):
        word = device.lower()
        near = "cuda" if word.startswith(("gpu", "nvidia")) else nearest(word, ["auto", "cpu", "cuda", "cuda:0", "mps"])
        hint = f"; did you mean {near}?" if near else ""
        raise UsageError(f"--device {device}: must be auto, cpu, cuda, cuda:N or mps{hint}")
    if device == "mps" and (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        raise UsageError("--device mps: this machine has no Apple GPU; choose auto or cpu")
    if device.startswith("cuda"):
        _check_cuda(device)


def check_gpus(gpus: int) -> None:
    """Raises UsageError for any number but 1."""
    if gpus != 1:
        raise UsageError(
            f"--gpus {gpus}: training on several GPUs is not in this version yet; leave the option out, "
            "or start one run on each GPU with --device cuda:N"
        )


def _check_cuda(device: str) -> None:
    from fmnist_tui.monitor import list_gpus

    found = list_gpus()
    ordinal = int(device.partition(":")[2] or 0)
    if ordinal < len(found.gpus):
        return
    if not found.gpus:
        raise UsageError(f"--device {device}: {found.problem}; choose auto or cpu")
    there = ", ".join(f"cuda:{gpu.ordinal} ({gpu.name})" for gpu in found.gpus)
    problem = f" ({found.problem})" if found.problem else ""
    raise UsageError(f"--device {device}: there is no such GPU; this machine has {there}{problem}")
