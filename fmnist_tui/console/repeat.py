"""`run repeat`: a new run with an older one's configuration and seed, and what is not as it was then, in words.

Called by `commands_run`. The environment is asked for in a process that imports torch, as a worker would see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fmnist_tui.config import RunConfig
from fmnist_tui.console.doctor import probe_torch
from fmnist_tui.console.launch import Start, get_data, start_new
from fmnist_tui.console.output import console
from fmnist_tui.fields import notes, with_changes
from fmnist_tui.monitor.devices import devices_for
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import lengths
from fmnist_tui.runs.provenance import differences, recorded
from fmnist_tui.runs.result import Provenance
from fmnist_tui.runs.store import Run


def repeat(run: Run, start: Start) -> int:
    """Start the run again as a new one; returns the exit code. Raises RunError or DataError."""
    if run.config is None:
        raise RunError(f"{run.id}: cannot be repeated: {run.problem}")
    images = get_data(run.config.data, start.data_dir)
    with console(stderr=True).status("comparing with what is here ..."):  # shown on a terminal only
        torch_sees, problem = probe_torch()
    if problem:
        raise RunError(f"{run.id}: cannot be repeated: {problem}")
    now = Provenance.model_validate(torch_sees["environment"] | {"data_sha256": images.sha256})
    config, pinned = _with_its_threads(run, run.config, now.threads)
    names = {device["device"]: device["name"] for device in torch_sees["cuda_devices"]}
    # What GPUs a Slurm job is going to have nobody knows yet: only the versions of this machine are compared.
    device = devices_for(start.device)[0].name if start.slurm is None or run.status is None else run.status.device
    said = [*_what_differs(run, now, device, names), *_what_to_expect(config, run)]
    return start_new(config, [*notes(config), f"repeats {run.id} with seed {config.seed}", *pinned, *said], start)


def _with_its_threads(run: Run, config: RunConfig, here: int | None) -> tuple[RunConfig, list[str]]:
    """The configuration, with the CPU threads the run had where a deterministic one would take another number here.

    Another number adds up in another order, and so gives other weights.
    """
    made = recorded(run)
    used = (run.result.threads if run.result else None) or (made.threads if made else None)
    if not config.training.deterministic or config.training.threads != "auto" or used in (None, here):
        return config, []
    note = f"training.threads: set to {used}, as then; auto would take {here} here"
    return with_changes(config, {"training.threads": used}), [note]


def _what_differs(run: Run, now: Provenance, device: str, gpu_names: Mapping[str, str]) -> list[str]:
    """What is not as it was, in words; `device` is where the repeat goes to, `gpu_names` what GPUs are called."""
    then = recorded(run)
    if then is None:
        return ["what it was made with was not recorded, so nothing could be compared"]
    # A deterministic run has its threads back (_with_its_threads), the others' follow the load.
    said = differences(then, now.model_copy(update={"threads": then.threads}))
    if run.status is not None and run.status.device_name:  # else it never came to its device
        before, after = (run.status.device, run.status.device_name), (device, gpu_names.get(device, ""))
        if before[0].partition(":")[0] != device.partition(":")[0]:
            said.append(f"device: {before[0]} then, {device} now")
        elif after[1] and before[1] != after[1]:
            said.append(f"device: {before[1]} then, {after[1]} now")
    return said


def _to_stop(accuracy: float | None) -> str:
    return "not to stop at an accuracy" if accuracy is None else f"to stop at {accuracy:g} %"


def _what_to_expect(config: RunConfig, run: Run) -> Sequence[str]:
    """Why the repeat may come out differently even where nothing differs."""
    said = []
    own, length = lengths(run.directory, config, run.status)
    if length.epochs != own.epochs:
        said.append(
            f"{run.id} was changed on the way to {length.epochs} epochs; this one trains for the {own.epochs} "
            "of its configuration"
        )
    if length.stop_at_accuracy != own.stop_at_accuracy:
        said.append(
            f"{run.id} was changed on the way {_to_stop(length.stop_at_accuracy)}; "
            f"this one is {_to_stop(own.stop_at_accuracy)}, as its configuration says"
        )
    if run.result is not None and run.result.devices > 1:
        said.append(f"{run.id} trained on {run.result.devices} GPUs; this one trains on as many as --gpus says")
    if not config.training.deterministic:
        said.append("training.deterministic is false: expect results that are close, not the same weights")
    return said
