"""The worker: `python -m fmnist_tui.training RUN_DIR` trains one run to its end.

Every launcher starts this: the command line, the app, torchrun, Slurm. It says that it lives and
waits for its turn on the device before it imports torch, holds the run's lock, and turns whatever happens into
the final status and an exit code.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout
from pydantic import ValidationError

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.runs.files import remove_temporaries
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import stop_signals_held
from fmnist_tui.runs.records import NOT_QUEUED, SCHEMA_VERSION, ExitCode, LastWord, LaunchRequest, State, Status
from fmnist_tui.training.control import CutShort, StopSignal
from fmnist_tui.training.ranks import (
    Rank,
    RankSignal,
    SilentReporter,
    die_with_parent,
    last_word,
    rank_reporter,
    record_failure,
    say_last_word,
)
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.turn import LeftQueue, Turn

if TYPE_CHECKING:
    import torch


RETRY_SECONDS, MAX_RETRY_SECONDS = 5.0, 60.0
"""Before the first retry, doubled for each later one, up to the second: a driver's reset takes a while."""
OUT_OF_MEMORY = (
    "it was not in a training step's forward and backward pass, so no micro-batch helps; the last checkpoint is kept: "
    "free what others use of the device's memory, or take a smaller model or another device"
)


def main(arguments: list[str] | None = None) -> int:
    """Train the run in the directory the first argument names; returns the exit code.

    With `--join` this machine takes part in a run that another one has started.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    joining = "--join" in arguments
    arguments = [argument for argument in arguments if argument != "--join"]
    if len(arguments) != 1:
        print("usage: python -m fmnist_tui.training RUN_DIR [--join]", file=sys.stderr)
        return ExitCode.USAGE
    faulthandler.enable()
    rank = Rank.from_environment()
    stop_signal = StopSignal() if rank is None else RankSignal()
    if rank is not None:
        die_with_parent()
    if rank is None or not rank.launched:  # what our launcher is asked for reaches its ranks as a request
        stop_signal.install()
    run = RunDirectory(Path(arguments[0]).absolute())
    try:
        config = RunConfig.model_validate_json(run.config.read_bytes())
        status = Status.model_validate_json(run.status.read_bytes())
        launch = LaunchRequest()
        if run.launch.exists():
            launch = LaunchRequest.model_validate_json(run.launch.read_bytes())
    except (OSError, ValidationError) as error:
        print(f"{run.path}: is not a run that can be started: {error}", file=sys.stderr)
        return ExitCode.USAGE
    if max(status.schema_version, launch.schema_version) > SCHEMA_VERSION:
        print(f"{run.id}: written by a newer fmnist-tui; update this one to train it", file=sys.stderr)
        return ExitCode.USAGE
    if rank is not None and (rank.launched or rank.rank > 0):
        return work_as_rank(run, config, status, launch, stop_signal, rank)
    if joining:
        return join(run, config, status, launch, stop_signal)
    lock = FileLock(run.lock)
    try:
        lock.acquire(timeout=2.0)  # whoever only asks whether it is held has it for an instant
    except Timeout:
        print(f"{run.id}: another worker trains this run; nothing was changed", file=sys.stderr)
        return ExitCode.USAGE
    except OSError as error:
        print(f"{run.path}: cannot be written to ({error.strerror}); make it writable or copy it", file=sys.stderr)
        return ExitCode.USAGE
    with lock:
        if rank is not None:
            return work_as_rank(run, config, status, launch, stop_signal, rank)
        return work(run, config, status, launch, stop_signal)


def work(run: RunDirectory, config: RunConfig, status: Status, launch: LaunchRequest, stop_signal: StopSignal) -> int:
    """Wait for the device and train, with the run's lock held; the final status says how it ended.

    Where the device failed and a retry is left, this process begins anew and does not return.
    """
    for path in run.written_by_worker:
        remove_temporaries(path)  # of workers that were killed
    first = {"state": State.STARTING, "phase": "", "beside": None, **NOT_QUEUED}
    reporter = Reporter(run, status.model_copy(update=first))
    with Turn(run, config, launch, reporter, stop_signal) as turn:
        ending = _wait_and_train(run, config, launch, turn, reporter, stop_signal)
        if ending.deleted:
            reporter.abandon()
            return ending.code
        if ending.error:
            reporter.event("error" if ending.state is State.FAILED else "stop", ending.error)
        if ending.retry and reporter.status.retries_used < launch.retries and _paused(reporter, stop_signal):
            _begin_anew(run, turn, reporter)
        reporter.update(**NOT_QUEUED)
        reporter.close(ending.state, ending.error if ending.state is State.FAILED else None, ending.code)
        if ending.state is State.FINISHED:
            _rewrite_table(run)
    return ending.code


def join(run: RunDirectory, config: RunConfig, status: Status, launch: LaunchRequest, stop_signal: StopSignal) -> int:
    """Have this machine's ranks take part in a run whose launcher is elsewhere; writes nothing into the run."""
    if launch.rendezvous is None:
        print(f"{run.id}: trains on one machine; start it with --nnodes and --rdzv", file=sys.stderr)
        return ExitCode.USAGE
    reporter = SilentReporter(run, status, own_process=False)
    with Turn(run, config, launch, reporter, stop_signal) as turn:
        try:
            turn.wait(launch.device)
        except LeftQueue as left:
            print(left, file=sys.stderr)
            return ExitCode.STOPPED
        ending = _start_ranks(run, launch, turn, reporter, stop_signal, joining=True)
    if ending.error:
        print(ending.error, file=sys.stderr)
    return ending.code


def work_as_rank(
    run: RunDirectory, config: RunConfig, status: Status, launch: LaunchRequest, stop_signal: StopSignal, rank: Rank
) -> int:
    """Train as one of several processes. Returns 0 where the elastic agent has nothing to begin anew.

    Under our launcher it leaves its last word for it; under torchrun rank 0 writes the final status itself.
    """
    said = last_word(run) if rank.restarts else None
    if said is not None:  # no other try will do better
        return ExitCode.DONE if rank.launched else said.exit_code
    if not rank.launched and rank.rank == 0:
        run.last_word.unlink(missing_ok=True)  # of an earlier start; our launcher removes it itself
    reporter = rank_reporter(run, status, rank)
    reporter.update(state=State.STARTING, phase="loading torch", retries_used=rank.restarts, **NOT_QUEUED)
    reporter.start()
    ending = _train(run, config, launch, None, reporter, stop_signal, rank)
    word = LastWord(state=ending.state, error=ending.error, exit_code=ending.code)
    if ending.retry:
        record_failure(ending.error or "")
    elif not ending.deleted and (rank.rank == 0 or ending.error):
        say_last_word(run, word)
    if ending.deleted:
        reporter.abandon()
    elif rank.launched or rank.rank > 0:
        reporter.hand_over()
    else:
        reporter.close(word.state, word.error, word.exit_code)
        if word.state is State.FINISHED:
            _rewrite_table(run)
    return ExitCode.DONE if ending.state in (State.FINISHED, State.STOPPED) else word.exit_code


class Ending(NamedTuple):
    """How a training ended."""

    state: State
    error: str | None
    code: int
    retry: bool = False
    """Whether another try from the checkpoint may go better."""
    deleted: bool = False
    """There is no run directory any more to write to."""


def _wait_and_train(
    run: RunDirectory,
    config: RunConfig,
    launch: LaunchRequest,
    turn: Turn,
    reporter: Reporter,
    stop_signal: StopSignal,
) -> Ending:
    """Wait for the device, then train; whatever happens comes back as an Ending."""
    try:
        turn.wait(launch.device)
        reporter.update(now=True, phase="loading torch")
        reporter.start()
        if launch.gpus > 1 or launch.nodes > 1:
            return _start_ranks(run, launch, turn, reporter, stop_signal)
        return _train(run, config, launch, turn, reporter, stop_signal)
    except LeftQueue as left:
        return Ending(State.STOPPED, str(left), ExitCode.STOPPED, deleted=left.deleted)
    except CutShort:
        kept = "the checkpoint is as it was" if run.checkpoint("last").exists() else "a resume begins anew"
        by = stop_signal.received or "a request"
        return Ending(State.STOPPED, f"stopped by {by} before its first step; {kept}", ExitCode.STOPPED)
    except KeyboardInterrupt:
        return Ending(State.STOPPED, "stopped at once by a second signal", ExitCode.STOPPED)
    except Exception as error:
        traceback.print_exc()
        return Ending(State.FAILED, f"{type(error).__name__}: {_first_line(error)}", ExitCode.FAILED)


def _start_ranks(
    run: RunDirectory,
    launch: LaunchRequest,
    turn: Turn,
    reporter: Reporter,
    stop_signal: StopSignal,
    joining: bool = False,
) -> Ending:
    """Have several processes train the run, as this one's children, and wait for their end."""
    from fmnist_tui.training import launcher

    devices = [device.name for device in turn.devices]
    if len(devices) < launch.gpus:
        there = f"there {'is' if len(devices) == 1 else 'are'} {len(devices)} ({', '.join(devices)})"
        return Ending(State.FAILED, f"--gpus {launch.gpus}: {there}", ExitCode.USAGE)
    word = launcher.run_ranks(run, launch, devices, reporter, stop_signal, joining)
    return Ending(word.state, word.error, word.exit_code, deleted=not run.marker.exists())


def _train(
    run: RunDirectory,
    config: RunConfig,
    launch: LaunchRequest,
    turn: Turn | None,
    reporter: Reporter,
    stop_signal: StopSignal,
    rank: Rank | None = None,
) -> Ending:
    """Load torch and train; what goes wrong comes back as an Ending, but for a second signal."""
    if config.training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    try:
        with stop_signal.may_cut():
            import torch

            from fmnist_tui.data import source
            from fmnist_tui.training import checkpoint, loop, precision
            from fmnist_tui.training.desk import Job, RunDeleted, Stopped
            from fmnist_tui.training.distributed import Team, execution_of_rank
            from fmnist_tui.training.losses import NonFiniteLoss
            from fmnist_tui.training.step import OutOfMemory
    except Exception as error:
        traceback.print_exc()
        return Ending(State.FAILED, f"torch could not be loaded: {_first_line(error)}", ExitCode.FAILED)
    try:
        again = reporter.status.retries_used > 0
        device = _device(launch, turn, again) if rank is None else _rank_device(launch, rank)
        execution = precision.choose(config.training, device)
        reporter.update(now=True, phase="loading data", device=str(execution.device))
        with stop_signal.may_cut():
            images = source.load(config.data, Path(launch.data_dir) if launch.data_dir else None)
        team = None
        if rank is not None:
            execution, team = execution_of_rank(execution), Team(rank, execution.device)
        loop.train(Job(run, config, launch, images, execution, reporter, stop_signal, team))
    except Stopped:
        return Ending(State.STOPPED, None, ExitCode.STOPPED)
    except LeftQueue:
        raise
    except RunDeleted as error:
        print(f"{error}; training ends", file=sys.stderr)
        return Ending(State.FAILED, str(error), ExitCode.FAILED, deleted=True)
    except source.DataError as error:
        return Ending(State.FAILED, str(error), ExitCode.DATA)
    except DeviceGone as error:
        return Ending(State.FAILED, str(error), ExitCode.FAILED, retry=True)
    except (ConfigError, checkpoint.CheckpointError) as error:
        return Ending(State.FAILED, str(error), ExitCode.USAGE)
    except NonFiniteLoss as error:
        return Ending(State.FAILED, f"{error}; {_non_finite_remedy(run, config)}", ExitCode.FAILED)
    except OutOfMemory as error:
        return Ending(State.FAILED, str(error), ExitCode.FAILED)
    except (torch.OutOfMemoryError, MemoryError) as error:  # not in a step's forward and backward pass
        traceback.print_exc()
        return Ending(State.FAILED, f"out of memory ({_first_line(error)}); {OUT_OF_MEMORY}", ExitCode.FAILED)
    except OSError as error:
        traceback.print_exc()
        error_text = f"{error.strerror or error}: {error.filename or run.path}"
        return Ending(State.FAILED, error_text, ExitCode.FAILED, deleted=not run.marker.exists())
    except torch.AcceleratorError as error:
        traceback.print_exc()
        return Ending(State.FAILED, f"the device failed: {_first_line(error)}", ExitCode.FAILED, retry=True)
    except Exception as error:
        traceback.print_exc()
        if "can't allocate memory" in str(error):  # torch's CPU allocator has no exception of its own
            return Ending(State.FAILED, f"out of memory ({_first_line(error)}); {OUT_OF_MEMORY}", ExitCode.FAILED)
        return Ending(State.FAILED, f"{type(error).__name__}: {_first_line(error)}", ExitCode.FAILED, retry=True)
    return Ending(State.FINISHED, None, ExitCode.DONE)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


class DeviceGone(Exception):
    """The device the run was on is not there any more."""


def _device(launch: LaunchRequest, turn: Turn | None, again: bool) -> torch.device:
    """The device whose turn it is. For 'auto' another turn, where torch can't use what the driver showed.

    A run that begins `again` after its device failed stays with it: a GPU that is lost must not leave a run of
    hours to the CPU. Raises DeviceGone then, else ConfigError for a device that is not there; and LeftQueue.
    """
    from fmnist_tui.training import precision

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


def _paused(reporter: Reporter, stop_signal: StopSignal) -> bool:
    """Give a failed device time to come back; False where the run was asked to stop meanwhile."""
    seconds = min(RETRY_SECONDS * 2**reporter.status.retries_used, MAX_RETRY_SECONDS)
    reporter.update(now=True, phase=f"beginning anew in {seconds:.0f} s")
    until = time.monotonic() + seconds
    while stop_signal.received is None and time.monotonic() < until:
        time.sleep(0.2)
    return stop_signal.received is None


def _rank_device(launch: LaunchRequest, rank: Rank) -> torch.device:
    """The device the launcher has chosen for this rank, or under torchrun the GPU of its number. Raises ConfigError."""
    from fmnist_tui.training import precision

    if rank.devices:
        return precision.resolve_device(rank.devices[rank.local_rank])
    device = precision.resolve_device(launch.device)
    if device.type == "cuda" and launch.device in ("auto", "cuda"):
        return precision.resolve_device(f"cuda:{rank.local_rank}")
    return device


def _begin_anew(run: RunDirectory, turn: Turn, reporter: Reporter) -> None:
    """Replace this process by a fresh worker of the same run: same pid, new connection to the device."""
    used = reporter.status.retries_used + 1
    reporter.event("resume", f"beginning anew from the last checkpoint, retry {used}")
    reporter.update(now=True, state=State.STARTING, phase="", retries_used=used)
    reporter.abandon()
    turn.keep_for_new_program()
    with stop_signals_held():
        os.execv(sys.executable, [sys.executable, "-m", "fmnist_tui.training", str(run.path)])


def _non_finite_remedy(run: RunDirectory, config: RunConfig) -> str:
    kept = "the last good checkpoint is kept" if run.checkpoint("last").exists() else "there was no checkpoint yet"
    tries = [f"a lower optimizer.lr (now {config.optimizer.lr:g})", "schedule.warmup_epochs"]
    if config.training.precision != "fp32":
        tries.append("training.precision=fp32")
    return f"{kept}; try {', '.join(tries[:-1])} or {tries[-1]}"


def _rewrite_table(run: RunDirectory) -> None:
    from fmnist_tui.report import write_benchmarks

    try:
        write_benchmarks(run.path.parent)
    except OSError as error:
        print(f"BENCHMARKS.md could not be rewritten: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
