"""End runs: `runs stop`. Called by `commands_runs`."""

from __future__ import annotations

import socket
import time

from fmnist_tui import paths
from fmnist_tui.console import words
from fmnist_tui.console.output import print_error, say
from fmnist_tui.console.summary import resume_hint
from fmnist_tui.console.watch import LOOK_SECONDS
from fmnist_tui.runs import process, stopping, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.status import ExitCode, State
from fmnist_tui.runs.store import Run

KILLED = "killed with 'runs stop --now'"
LOCK_SECONDS = 10.0
"""How long a killed worker's lock is waited for."""


_STANDS = {"asked": "the request stands", "signalled": "it has the signal"}


def stop(run: Run, after_epoch: bool, timeout: float | None) -> int:
    """Ask a run to stop with a checkpoint, at once or after its epoch, and wait up to `timeout` seconds.

    Without a timeout the request alone is made. Returns the exit code.
    """
    if not run.state.alive:
        return _not_at_work(run)
    queued = run if run.state is State.QUEUED else None
    answer = stopping.ask(run, after_epoch)
    if answer.how == "left":
        return _say_ended(store.load_run(run.directory), queued)
    if answer.how == "signalled":
        say(f"{run.id}: {answer.signal_words}.")
        if timeout is None:
            return ExitCode.DONE
    if timeout is None and queued:
        say(f"{run.id} was asked to leave the queue.")
        return ExitCode.DONE
    if timeout is None:
        asked = "asked to stop at once before, which holds" if answer.sooner else "asked to stop"
        later = after_epoch and not answer.sooner and run.status and run.status.epoch
        say(f"{run.id} was {asked}; it will {f'after epoch {later}' if later else 'soon'}, with a checkpoint.")
        return ExitCode.DONE
    until = time.monotonic() + timeout
    while run.state.alive or process.is_locked(run.directory):  # free for a resume only when its worker has left
        if time.monotonic() > until:
            runs_dir = run.directory.path.parent
            print_error(
                f"{run.id}: is still {run.state} after {words.duration(timeout)}; {_STANDS[answer.how]}. "
                f"Look with: {paths.command_line('runs', 'watch', run.id, of=runs_dir)}, "
                f"or kill it: {paths.command_line('runs', 'stop', run.id, '--now', of=runs_dir)}"
            )
            return ExitCode.FAILED
        time.sleep(LOOK_SECONDS)
        run = store.load_run(run.directory)
    if answer.how == "signalled" and run.state is State.LOST:
        say(f"{run.id} has stopped; where it stopped could not be written ({answer.why}). {resume_hint(run)}")
        return ExitCode.DONE
    return _say_ended(run, queued)


def _say_ended(run: Run, queued: Run | None) -> int:
    """What became of a run that was asked to stop, `queued` then; it may have begun, finished or failed meanwhile."""
    if queued and queued.status and run.state is State.STOPPED and run.status and run.status.step == queued.status.step:
        say(f"{run.id} was taken out of the queue. {resume_hint(run)}")
        return ExitCode.DONE
    if run.state is State.STOPPED and run.status is not None:
        say(f"{run.id} stopped {run.status.where()}. {resume_hint(run)}")
        return ExitCode.DONE
    if run.state is State.FINISHED:
        say(f"{run.id} has finished.")
        return ExitCode.DONE
    why = (run.status.error or "").splitlines() if run.status else []
    print_error(
        f"{run.id}: has {run.state if run.state is State.FAILED else 'been lost'}" + (f": {why[0]}" if why else "")
    )
    return ExitCode.FAILED


def _not_at_work(run: Run) -> int:
    hint = "" if run.state is State.FINISHED else f" {resume_hint(run)}"
    say(f"{run.id} is {run.state}; there is nothing to stop.{hint}")
    return ExitCode.DONE


def kill(run: Run) -> int:
    """Kill a run's worker and write down that it was. Raises RunError where it is not on this machine."""
    if not run.state.alive or run.status is None:
        return _not_at_work(run)
    if not stopping.killable(run, socket.gethostname()):
        raise RunError(f"{run.id}: runs on {run.status.host}; kill it there, or stop it from here without --now")
    if not stopping.kill(run):
        run = store.load_run(run.directory)
        if run.state.alive:
            raise RunError(f"{run.id}: is just starting and can't be killed yet; try again in a moment")
        return _not_at_work(run)
    until = time.monotonic() + LOCK_SECONDS  # its threads may hold the lock a moment longer than its pid lives
    while process.is_locked(run.directory) and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    if store.load_run(run.directory).state is State.STOPPED:  # a Slurm job is given the time to save
        return _say_ended(store.load_run(run.directory), None)
    store.mark_killed(run.directory, KILLED if run.state.at_work else f"{KILLED} while it was queued")
    say(f"{run.id} was killed. {resume_hint(run)}")
    return ExitCode.DONE
