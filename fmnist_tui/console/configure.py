"""From a preset or a file and the options of `run` to the RunConfig that is trained. Called by `commands_run`.

Checks the options that a configuration does not hold (device, number of GPUs) as well, for the other commands too. No
torch: what the monitor sees decides whether a CUDA device is there.
"""

from __future__ import annotations

import ipaddress
import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_tui.config import ConfigError, FieldError, RunConfig
from fmnist_tui.console.output import UsageError
from fmnist_tui.fields import notes, parse_value, scale_schedule, with_changes
from fmnist_tui.wording import nearest

DEVICE = re.compile(r"auto|cpu|cuda|cuda:\d{1,3}|mps")

OPTION_OF = {
    "training.epochs": "--epochs",
    "seed": "--seed",
    "name": "--name",
    "group": "--group",
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

    `options` holds the fields of OPTION_OF, None where the option was not given, and of a sweep's run the swept ones;
    `scale` moves the schedule with the number of epochs. Raises ConfigError or UsageError.
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


MOST_PROCESSES = 64
"""On the CPU; every one of them loads torch, which takes about 300 MB."""


def check_gpus(text: str, device: str) -> int:
    """The number that `--gpus` means on this machine. Raises UsageError for one that is not there, naming what is."""
    if device == "cpu":
        return _processes(text)
    if text != "all" and not re.fullmatch(r"[1-9]\d{0,3}", text):
        raise UsageError(f"--gpus {text}: must be a number from 1, or all")
    if text == "1":
        return 1
    if device == "mps" or ":" in device:
        means = "Apple's GPU" if device == "mps" else "one GPU"
        raise UsageError(f"--gpus {text}: --device {device} is {means}; for several leave --device out")
    from fmnist_tui.monitor import list_gpus

    found = list_gpus()
    count = len(found.gpus) if text == "all" else int(text)
    if count > len(found.gpus) or not found.gpus:
        there = f"this machine has {len(found.gpus)}" if found.gpus else found.problem or "this machine has no GPU"
        raise UsageError(f"--gpus {text}: {there}; processes on the CPU can be tried with --device cpu --gpus 2")
    return count


def check_job(gpus: str, device: str, rendezvous: str | None, now: bool, nodes: int) -> int:
    """The GPUs or processes of each node that a Slurm job is to have: what is in this machine says nothing about them.

    Raises UsageError for options that mean nothing there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: with --launcher slurm it is auto, cpu or cuda; Slurm gives the GPUs")
    if rendezvous is not None:
        raise UsageError(f"--rdzv {rendezvous}: not with --launcher slurm; its nodes meet at the first of them")
    if now:
        raise UsageError("--now: not with --launcher slurm; Slurm says when a job starts")
    if not 1 <= nodes <= 1024:
        raise UsageError(f"--nodes {nodes}: must be from 1 to 1024")
    if device == "cpu":
        return _processes(gpus)
    if not re.fullmatch(r"[1-9]\d{0,2}", gpus):
        raise UsageError(f"--gpus {gpus}: with --launcher slurm it is the number of GPUs of each node")
    return int(gpus)


def check_slurm_settings(settings: Sequence[str], launcher: str) -> None:
    """Raises UsageError for `--set slurm.KEY=VALUE` where no job is submitted."""
    if settings and launcher != "slurm":
        raise UsageError(f"--set {settings[0]}: is for a Slurm job; add --launcher slurm")


def check_only_slurm(settings: Sequence[str]) -> None:
    """Raises UsageError for a `--set` of a run's configuration, where that is fixed."""
    if settings:
        raise UsageError(f"--set {settings[0]}: the run keeps its configuration; only slurm.KEY=VALUE can be set here")


def _processes(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d?", text) or int(text) > MOST_PROCESSES:
        raise UsageError(f"--gpus {text}: with --device cpu it is a number of processes, 1 to {MOST_PROCESSES}")
    return int(text)


def check_rendezvous(nodes: int, rendezvous: str | None) -> None:
    """Raises UsageError where `--nnodes` and `--rdzv` do not fit together or are of another form."""
    if not 1 <= nodes <= 1024:
        raise UsageError(f"--nnodes {nodes}: must be from 1 to 1024")
    if nodes > 1 and rendezvous is None:
        raise UsageError(f"--nnodes {nodes}: needs --rdzv HOST:PORT, an address of this machine that the others reach")
    if rendezvous is None:
        return
    if nodes == 1:
        raise UsageError(f"--rdzv {rendezvous}: needs --nnodes N, the number of machines")
    if wrong := _wrong_with_endpoint(rendezvous):
        raise UsageError(f"--rdzv {rendezvous}: {wrong}")


def _wrong_with_endpoint(text: str) -> str:
    """What keeps this from being HOST:PORT, and what would be; '' where it is."""
    if _is_ipv6(text) or _is_ipv6(text.rpartition(":")[0]):
        return "an IPv6 address stands in brackets, and its port after them: [fd00::1]:29500"
    host, colon, port = ("", "", "") if text.endswith("]") else text.rpartition(":")
    if not colon:
        return f"names no port; must be HOST:PORT, for example {text or '10.0.0.1'}:29500"
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65_536:
        return f"the port is {port!r}; must be a number from 1 to 65535, for example {host or '10.0.0.1'}:29500"
    if host.startswith("[") or host.endswith("]"):
        if not (host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1])):
            return f"the host, {host}, is no IPv6 address in brackets, such as [fd00::1]"
    elif not re.fullmatch(r"[\w.-]+", host):  # what torch takes for one
        return f"the host is {host!r}; must be a name or an address, for example 10.0.0.1:{port}"
    return ""


def _is_ipv6(text: str) -> bool:
    """Whether this is an IPv6 address as torch takes it: without the name of an interface."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


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
