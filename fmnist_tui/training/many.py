"""A worker that is one of several processes: as their launcher, as another machine's, or as a rank. No torch at first.

Called by `__main__`, which does the same for a worker alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from fmnist_tui.config import RunConfig
from fmnist_tui.monitor import list_gpus
from fmnist_tui.remedies import remedy
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import NOT_QUEUED, ExitCode, LastWord, State, Status
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.ending import Ending, after_finish
from fmnist_tui.training.ranks import Rank, SilentReporter, last_word, rank_reporter, record_failure, say_last_word
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.turn import LeftQueue, Turn

if TYPE_CHECKING:
    import torch


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
        ending = start_ranks(run, launch, turn, reporter, stop_signal, joining=True)
    if ending.error:
        print(ending.error, file=sys.stderr)
    return ending.code


def work_as_rank(run: RunDirectory, status: Status, rank: Rank, train: Callable[[Reporter], Ending]) -> int:
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
    ending = train(reporter)
    word = LastWord(state=ending.state, error=ending.error, remedy=ending.remedy, exit_code=ending.code)
    if ending.retry:
        record_failure(ending.error or "")
    elif not ending.deleted and (rank.rank == 0 or ending.error):
        say_last_word(run, word)
    if ending.deleted:
        print(f"{ending.error}; training ends", file=sys.stderr)
        reporter.abandon()
    elif rank.launched or rank.rank > 0:
        reporter.hand_over()
    else:
        reporter.close(word.state, word.error, word.exit_code, word.remedy)
        if word.state is State.FINISHED:
            after_finish(run)
    if ending.state in (State.FINISHED, State.STOPPED):
        return ExitCode.DONE
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(word.exit_code)  # torch's threads that wait for other ranks would turn the interpreter's end into SIGABRT


def start_ranks(
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
        found = list_gpus()
        if not found.gpus:  # the device is only the one that was asked for
            there = found.problem or "this machine has no GPU"
        asked = f"{launch.gpus} GPUs were asked for: {there}"
        return Ending(State.FAILED, asked, ExitCode.USAGE, remedy=remedy("fewer GPUs"))
    word = launcher.run_ranks(run, launch, devices, reporter, stop_signal, joining)
    return Ending(word.state, word.error, word.exit_code, remedy=word.remedy, deleted=not run.marker.exists())


def rank_device(launch: LaunchRequest, rank: Rank) -> torch.device:
    """The device the launcher has chosen for this rank, or under torchrun the GPU of its number. Raises ConfigError."""
    from fmnist_tui.training import precision

    if rank.devices:
        return precision.resolve_device(rank.devices[rank.local_rank])
    device = precision.resolve_device(launch.device)
    if device.type == "cuda" and launch.device in ("auto", "cuda"):
        return precision.resolve_device(f"cuda:{rank.local_rank}")
    return device
