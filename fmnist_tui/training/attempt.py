"""One try to train a run, once torch is there: from the device to an Ending, whatever goes wrong.

Called by the worker (`__main__`), alone or as a rank. This module imports torch, so the worker imports it only when it
has said that it lives and its turn on the device has come.
"""

from __future__ import annotations

import traceback
from contextlib import nullcontext
from pathlib import Path

import torch

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.data import source
from fmnist_tui.remedies import Remedy, Told
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import ExitCode, State
from fmnist_tui.training import checkpoint, loop, precision
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.distributed import Team, execution_of_rank
from fmnist_tui.training.ending import Ending, first_line
from fmnist_tui.training.job import Job, RunDeleted, Stopped, Unwritten
from fmnist_tui.training.losses import NonFiniteLoss
from fmnist_tui.training.many import rank_device
from fmnist_tui.training.ranks import Rank
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.step import OutOfMemory
from fmnist_tui.training.turn import LeftQueue, Turn

OUT_OF_MEMORY = (
    "it was not in a training step's forward and backward pass, so no micro-batch helps; the last checkpoint is kept: "
    "free what others use of the device's memory, or take a smaller model or another device"
)


def attempt(
    run: RunDirectory,
    config: RunConfig,
    launch: LaunchRequest,
    turn: Turn | None,
    reporter: Reporter,
    stop_signal: StopSignal,
    rank: Rank | None = None,
) -> Ending:
    """Train; what goes wrong comes back as an Ending, but for a second signal and for LeftQueue."""
    try:
        again = reporter.status.retries_used > 0
        device = _device(launch, turn, again) if rank is None else rank_device(launch, rank)
        execution = precision.choose(config.training, device)
        reporter.update(now=True, phase="loading data", device=str(execution.device))
        with stop_signal.may_cut():
            images = source.load(config.data, Path(launch.data_dir) if launch.data_dir else None)
        team = None
        if rank is not None:
            execution, team = execution_of_rank(execution), Team(rank, execution.device)
        with nullcontext() if team is None else team.until_the_end():
            loop.train(Job(run, config, launch, images, execution, reporter, stop_signal, team))
    except LeftQueue:
        raise
    except Exception as error:
        return _foreseen(error, run, config) or _unforeseen(error, run)
    return Ending(State.FINISHED, None, ExitCode.DONE)


def _foreseen(error: Exception, run: RunDirectory, config: RunConfig) -> Ending | None:
    """What an error that says all there is to know makes of a training; None for any other."""
    match error:
        case Stopped():
            return Ending(State.STOPPED, None, ExitCode.STOPPED)
        case Unwritten():
            ending = _told(error, ExitCode.FAILED)
            return ending._replace(state=State.FINISHED, code=ExitCode.DONE) if run.result.exists() else ending
        case RunDeleted():
            return Ending(State.FAILED, str(error), ExitCode.FAILED, deleted=True)
        case source.DataError():
            return _told(error, ExitCode.DATA)
        case DeviceGone():
            return Ending(State.FAILED, str(error), ExitCode.FAILED, retry=True)
        case checkpoint.CheckpointError():
            return _told(error, ExitCode.USAGE)
        case ConfigError():
            return Ending(State.FAILED, str(error), ExitCode.USAGE)
        case NonFiniteLoss():
            return Ending(State.FAILED, f"{error}; {_non_finite_remedy(run, config)}", ExitCode.FAILED)
        case OutOfMemory():
            return _told(error, ExitCode.FAILED)
    return None


def _told(error: Told, code: int) -> Ending:
    """The ending of an error whose remedy whoever shows it puts into words."""
    if isinstance(error.remedy, Remedy):
        return Ending(State.FAILED, error.wrong, code, remedy=error.remedy)
    return Ending(State.FAILED, str(error), code)


def _unforeseen(error: Exception, run: RunDirectory) -> Ending:
    """The same of one that comes from below, with its traceback in worker.log."""
    traceback.print_exc()
    text = first_line(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):  # not in a step's forward and backward pass
        return Ending(State.FAILED, f"out of memory ({text}); {OUT_OF_MEMORY}", ExitCode.FAILED)
    if isinstance(error, OSError):
        error_text = f"{error.strerror or error}: {error.filename or run.path}"
        return Ending(State.FAILED, error_text, ExitCode.FAILED, deleted=not run.marker.exists())
    if isinstance(error, torch.AcceleratorError):
        return Ending(State.FAILED, f"the device failed: {text}", ExitCode.FAILED, retry=True)
    if "can't allocate memory" in str(error):  # torch's CPU allocator has no exception of its own
        return Ending(State.FAILED, f"out of memory ({text}); {OUT_OF_MEMORY}", ExitCode.FAILED)
    return Ending(State.FAILED, f"{type(error).__name__}: {text}", ExitCode.FAILED, retry=True)


class DeviceGone(Exception):
    """The device the run was on is not there any more."""


def _device(launch: LaunchRequest, turn: Turn | None, again: bool) -> torch.device:
    """The device whose turn it is. For 'auto' another turn, where torch can't use what the driver showed.

    A run that begins `again` after its device failed stays with it: a GPU that is lost must not leave a run of
    hours to the CPU. Raises DeviceGone then, else ConfigError for a device that is not there; and LeftQueue.
    """
    assert turn is not None
    if again and turn.device is not None:
        try:
            return precision.resolve_device(turn.device.name if launch.device == "auto" else launch.device)
        except ConfigError as error:
            raise DeviceGone(f"the device has not come back: {error}") from None
    if launch.device != "auto":
        return precision.resolve_device(launch.device)
    best = precision.resolve_device("auto")
    assert turn.device is not None
    if best.type != turn.device.name.partition(":")[0]:
        turn.wait(str(best))
    return precision.resolve_device(turn.device.name)


def _non_finite_remedy(run: RunDirectory, config: RunConfig) -> str:
    kept = "the last good checkpoint is kept" if run.checkpoint("last").exists() else "there was no checkpoint yet"
    tries = [f"a lower optimizer.lr (now {config.optimizer.lr:g})", "schedule.warmup_epochs"]
    if config.training.precision != "fp32":
        tries.append("training.precision=fp32")
    return f"{kept}; try {', '.join(tries[:-1])} or {tries[-1]}"
