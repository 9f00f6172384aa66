"""Checkpoints: everything a run needs to go on as if it had never stopped.

`last.pt` is the newest, `previous.pt` the one before it, `best.pt` the one of the best test accuracy. A
checkpoint is written beside its place, forced to disk and moved there in one step, so that a kill or a
full disk at any moment leaves the older ones whole. Loaded with `weights_only=True`: a file can hold
tensors and plain values, never code.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from fmnist_tui.config import RunConfig
from fmnist_tui.remedies import Told, remedy
from fmnist_tui.runs.files import link, sync_directory
from fmnist_tui.runs.layout import RunDirectory

FORMAT = 1
"""Raised when a change makes older checkpoints unreadable."""


_DAMAGED = (RuntimeError, EOFError, ValueError, LookupError, zipfile.BadZipFile)
"""What torch and zipfile raise of a file that is not whole."""


class CheckpointError(Told, ValueError):
    """A checkpoint that can't be used; the text names the file and says why."""


def random_states(device: torch.device) -> dict[str, Any]:
    """Every random generator of torch a run may draw from: the CPU's, and the device's own."""
    states: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put the generators back; a state of a device kind that is not here is left out."""
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


def to_host(value: Any) -> Any:
    """A copy of nested dicts, lists and tensors on the CPU that later training steps do not change.

    From a GPU the copies are only on their way, into pinned memory: `arrival` tells when they are whole. Steps
    that follow in the stream change the weights after they were copied.
    """
    if isinstance(value, torch.Tensor) and value.is_cuda:
        pinned = torch.empty_like(value, device="cpu", pin_memory=True)  # torch keeps such memory for the next time
        return pinned.copy_(value.detach(), non_blocking=True)
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: to_host(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_host(item) for item in value)
    return value


def arrival(device: torch.device) -> torch.cuda.Event | None:
    """The moment by which all copies begun so far are whole; None where copies are made at once."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


def all_finite(model: nn.Module) -> bool:
    """Whether every parameter and buffer is finite; waits for the device."""
    tensors = [t for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()]
    return bool(torch.stack([norm.isfinite() for norm in torch._foreach_norm(tensors)]).all())


def save(run: RunDirectory, state: dict[str, Any]) -> None:
    """Make `state` the last checkpoint, and the last one the previous.

    Raises OSError where it can't be written; the older checkpoints are then as they were.
    """
    last = run.checkpoint("last")
    write(last, state, lambda: link(last, run.checkpoint("previous")) if last.exists() else None)


def mark_best(run: RunDirectory) -> None:
    """Make the last checkpoint the best one too. Raises OSError where there is no room for another name."""
    link(run.checkpoint("last"), run.checkpoint("best"))
    sync_directory(run.checkpoints)


def go_on_from(run: RunDirectory, which: str, is_best: bool) -> bool:
    """Make the checkpoint that a run goes on from its last one, and where it is of the best epoch the best one too.

    Else a run that was told to go on from another, and is killed before it writes one, would be taken up where it has
    no metric lines any more; and one killed before `mark_best` would keep the best of before. For the same reason no
    later one stays: returns whether best.pt was one and is removed. Raises OSError.
    """
    path, last = run.checkpoint(which), run.checkpoint("last")
    step = _step_of(path)
    if _step_of(run.checkpoint("previous")) > step:
        link(path, run.checkpoint("previous"))
    if not (last.exists() and last.samefile(path)):
        link(path, last)
        sync_directory(run.checkpoints)
    if is_best and which != "best":
        mark_best(run)
    elif _step_of(run.checkpoint("best")) > step:
        run.checkpoint("best").unlink()
        return True
    return False


def _step_of(path: Path) -> int:
    """The step of a checkpoint, without reading its tensors (5 ms of 300 MB); -1 of one that can't be read."""
    try:
        content = torch.load(path, mmap=True, map_location="cpu", weights_only=True)
        return int(content["progress"]["step"])
    except (OSError, pickle.UnpicklingError, *_DAMAGED):
        return -1


def write(path: Path, state: dict[str, Any], before: Callable[[], None] = lambda: None) -> None:
    """Replace a checkpoint in one step; `before` is called when the new one is whole and on the disk."""
    path.parent.mkdir(exist_ok=True)
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT} | state, file)
            file.flush()
            os.fsync(file.fileno())
        before()
        temporary.replace(path)
    except RuntimeError as error:  # torch's zip writer, which can't close what it could not write
        if isinstance(error.__context__, OSError):  # "No space left on device"
            raise error.__context__ from None
        raise OSError(f"torch could not write it: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def _temporary(path: Path) -> Path:
    """Where a checkpoint is written before it is moved to its place; `files.remove_temporaries` knows the form."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU. Raises CheckpointError where it is damaged or of another version."""
    try:
        _check_sums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError:  # torch's text advises weights_only=False, which would run what is in the file
        raise CheckpointError(f"{path}: is damaged, or holds more than tensors and plain values") from None
    except _DAMAGED:  # torch's words are about its zip reader
        what = "is damaged: " + ("it is empty" if path.stat().st_size == 0 else "it is not whole")
        raise CheckpointError(f"{path}: {what}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is not a checkpoint of this version of fmnist-tui")
    return content


def _check_sums(path: Path) -> None:
    """Raise BadZipFile where a part is not as it was written: torch itself would take changed weights for good ones.

    That takes 0.1 s of 300 MB. Parts that are said to be compressed are damaged, too: torch stores them as they are.
    """
    with zipfile.ZipFile(path) as parts:
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()) or parts.testzip() is not None:
            raise zipfile.BadZipFile


def read_of_run(run: RunDirectory, which: str) -> dict[str, Any]:
    """The content of a run's checkpoint to predict with. Raises CheckpointError as `read`, naming another one."""
    try:
        return read(run.checkpoint(which))
    except CheckpointError as error:
        other = "last" if which == "best" else "best"
        if not run.checkpoint(other).is_file():
            raise
        raise CheckpointError(error.problem, remedy("other checkpoint", other=other)) from None


class Newest(NamedTuple):
    """The checkpoint that a run goes on from."""

    content: dict[str, Any] | None
    """None where the run has none at all."""
    which: str
    problems: list[str]
    """What to tell the user about those that could not be used."""


def load_newest(run: RunDirectory, which: str = "last") -> Newest:
    """The checkpoint to resume from.

    Begins with `which`; for 'last', falls back to the previous one, or to the best one where that is later: it was the
    last one then. Raises CheckpointError where there are checkpoints and none can be read, or the run is finished and
    has none.
    """
    names = ("last", _stand_in(run)) if which == "last" else (which,)
    present = [name for name in names if run.checkpoint(name).exists()]
    problems: list[str] = []
    if which == "last" and present and present[0] != "last":
        problems.append(f"{run.checkpoint('last')}: is missing")
    for name in present:
        try:
            return Newest(read(run.checkpoint(name)), name, problems)
        except CheckpointError as error:
            problems.append(str(error))
    if not present and run.result.exists():  # a new start would train over what it has come to
        text = f"{run.id}: is finished, and has no checkpoint to go on from"
        raise CheckpointError(text, remedy("train anew", run=run.id))
    if present:
        helps = "try best" if which == "last" and run.checkpoint("best").exists() else "train anew"
        raise CheckpointError("; ".join([*problems, "no other checkpoint can be read"]), remedy(helps, run=run.id))
    return Newest(None, which, problems)


def _stand_in(run: RunDirectory) -> str:
    """Which is the newest but for the last. Where only the best one is left it may be much older: the user's choice."""
    previous, best = (_step_of(run.checkpoint(name)) for name in ("previous", "best"))
    return "best" if best > previous >= 0 else "previous"


def check_model(content: dict[str, Any], config: RunConfig, where: str) -> None:
    """Raise CheckpointError where a checkpoint is of another model than the configuration's."""
    saved, wanted = content["model_config"], config.model.model_dump(mode="json")
    if saved != wanted:
        keys = [key for key in {**saved, **wanted} if saved.get(key) != wanted.get(key)]
        differ = ", ".join(f"model.{key}: {saved.get(key)} there, {wanted.get(key)} here" for key in keys)
        raise CheckpointError(f"{where}: is a checkpoint of another model ({differ})")
