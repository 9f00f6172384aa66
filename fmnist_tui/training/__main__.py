"""The worker: `python -m fmnist_tui.training RUN_DIR` trains one run to its end.

Every launcher starts this: the command line, the app, torchrun, a Slurm job. It says that it lives and
waits for its turn on the device before it imports torch, holds the run's lock, and turns whatever happens into
the final status and an exit code.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from fmnist_tui.config import RunConfig
from fmnist_tui.runs import jobs
from fmnist_tui.runs.files import remove_temporaries
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import JOB, RENDEZVOUS, stop_signals_held
from fmnist_tui.runs.records import SCHEMA_VERSION
from fmnist_tui.runs.status import NOT_QUEUED, ExitCode, State, Status
from fmnist_tui.training.control import CutShort, StopSignal
from fmnist_tui.training.ending import Ending, after_finish, first_line
from fmnist_tui.training.many import join, start_ranks, work_as_rank
from fmnist_tui.training.ranks import Rank, RankSignal, die_with_launcher
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.turn import LeftQueue, Turn
from fmnist_tui.training.worker_log import forgive_full_disks

RETRY_SECONDS, MAX_RETRY_SECONDS = 5.0, 60.0
"""Before the first retry, doubled for each later one, up to the second: a driver's reset takes a while."""

_EVENTS = {State.FAILED: "error", State.STOPPED: "stop", State.FINISHED: "warning"}
"""Under which an ending's error is told."""


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
    stop_signal = _stop_signal(rank)
    run = RunDirectory(Path(arguments[0]).absolute())
    asked = _read(run)
    if asked is None:
        return ExitCode.USAGE
    config, status, launch = asked
    if launch.launcher == "slurm" and (joining or (rank is not None and rank.launched)):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm may send it to all; the first worker answers for them

    def train_as_rank(reporter: Reporter) -> Ending:
        return _train(run, config, launch, None, reporter, stop_signal, rank)

    if rank is not None and (rank.launched or rank.rank > 0):
        return work_as_rank(run, status, rank, train_as_rank)
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
            return work_as_rank(run, status, rank, train_as_rank)
        return work(run, config, status, launch, stop_signal)


def _stop_signal(rank: Rank | None) -> StopSignal:
    """What this process has to do with signals, begun at once: one that waits in its queue is to be answered too."""
    if rank is None:
        stop_signal = StopSignal()
        stop_signal.install()
        return stop_signal
    die_with_launcher()
    of_rank = RankSignal()
    if rank.launched:  # what our launcher is asked for reaches its ranks as a request
        of_rank.listen_to_launcher()
    else:
        of_rank.install()
    return of_rank


def _read(run: RunDirectory) -> tuple[RunConfig, Status, LaunchRequest] | None:
    """What is to be trained and how, as the launcher wrote it; None, and a word on stderr, where that can't be."""
    try:
        config = RunConfig.model_validate_json(run.config.read_bytes())
        status = Status.model_validate_json(run.status.read_bytes())
        launch = LaunchRequest()
        if run.launch.exists():
            launch = LaunchRequest.model_validate_json(run.launch.read_bytes())
    except (OSError, ValidationError) as error:
        print(f"{run.path}: is not a run that can be started: {error}", file=sys.stderr)
        return None
    if max(status.schema_version, launch.schema_version) > SCHEMA_VERSION:
        print(f"{run.id}: written by a newer fmnist-tui; update this one to train it", file=sys.stderr)
        return None
    return config, status, _as_it_is_now(launch, status)


def _as_it_is_now(launch: LaunchRequest, status: Status) -> LaunchRequest:
    """The launch request with what only this start knows.

    Where the nodes of a Slurm job meet; and that a start whose training has begun goes on from its last checkpoint when
    it begins again, not from the one it was once told to: that became the last one then.
    """
    update: dict[str, object] = {}
    if RENDEZVOUS in os.environ:
        update["rendezvous"] = os.environ[RENDEZVOUS]
    if status.launched == launch.time:
        update["checkpoint"] = "last"
    return launch.model_copy(update=update)


def work(run: RunDirectory, config: RunConfig, status: Status, launch: LaunchRequest, stop_signal: StopSignal) -> int:
    """Wait for the device and train, with the run's lock held; the final status says how it ended.

    Where the device failed and a retry is left, this process begins anew and does not return.
    """
    for path in run.written_by_worker:
        remove_temporaries(path)  # of workers that were killed
    job = jobs.own_job(os.environ[JOB]) if JOB in os.environ else None
    first = {"state": State.STARTING, "phase": "", "beside": None, "job": job, **NOT_QUEUED}
    reporter = Reporter(run, status.model_copy(update=first))
    with Turn(run, config, launch, reporter, stop_signal) as turn:
        ending = _wait_and_train(run, config, launch, turn, reporter, stop_signal)
        if ending.deleted:  # its open files lie where it was moved to, and take this
            reporter.abandon()
            reporter.event("error", f"{ending.error}; training ends", gone=True)
            return ending.code
        if ending.error:
            reporter.event(_EVENTS[ending.state], ending.error, remedy=ending.remedy)
        if ending.retry and reporter.status.retries_used < launch.retries and _paused(reporter, stop_signal):
            _begin_anew(run, turn, reporter)
        reporter.update(**NOT_QUEUED)
        if ending.state is State.STOPPED and job is not None and stop_signal.received == "SIGTERM":
            reporter.leave_to_slurm()
            return ending.code
        error = None if ending.state is State.STOPPED else ending.error
        reporter.close(ending.state, error, ending.code, ending.remedy)
        if ending.state is State.FINISHED:
            after_finish(run)
    return ending.code


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
            return start_ranks(run, launch, turn, reporter, stop_signal)
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
        return Ending(State.FAILED, f"{type(error).__name__}: {first_line(error)}", ExitCode.FAILED)


def _train(
    run: RunDirectory,
    config: RunConfig,
    launch: LaunchRequest,
    turn: Turn | None,
    reporter: Reporter,
    stop_signal: StopSignal,
    rank: Rank | None = None,
) -> Ending:
    """Load torch and train; what goes wrong comes back as an Ending, but for a second signal and for LeftQueue."""
    try:
        with stop_signal.may_cut():
            from fmnist_tui.training.attempt import attempt
    except Exception as error:
        traceback.print_exc()
        return Ending(State.FAILED, f"torch could not be loaded: {first_line(error)}", ExitCode.FAILED)
    return attempt(run, config, launch, turn, reporter, stop_signal, rank)


def _paused(reporter: Reporter, stop_signal: StopSignal) -> bool:
    """Give a failed device time to come back; False where the run was asked to stop meanwhile."""
    seconds = min(RETRY_SECONDS * 2**reporter.status.retries_used, MAX_RETRY_SECONDS)
    reporter.update(now=True, phase=f"beginning anew in {seconds:.0f} s")
    until = time.monotonic() + seconds
    while stop_signal.received is None and time.monotonic() < until:
        time.sleep(0.2)
    return stop_signal.received is None


def _begin_anew(run: RunDirectory, turn: Turn, reporter: Reporter) -> None:
    """Replace this process by a fresh worker of the same run: same pid, new connection to the device."""
    used = reporter.status.retries_used + 1
    reporter.event("resume", f"beginning anew from the last checkpoint, retry {used}")
    reporter.update(now=True, state=State.STARTING, phase="", retries_used=used)
    reporter.abandon()
    turn.keep_for_new_program()
    with stop_signals_held():
        os.execv(sys.executable, [sys.executable, "-m", "fmnist_tui.training", str(run.path)])


if __name__ == "__main__":
    forgive_full_disks()
    sys.exit(main())
