"""Watch a run until it ends: follow its files, drive a view, turn Ctrl-C into requests.

Called by `run` and `runs watch`. The worker is another process and needs nobody to watch it: it goes on whatever
happens here.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from fmnist_tui.console.feed import RunFeed
from fmnist_tui.console.views import JsonView, PlainView, View, describe
from fmnist_tui.runs import stopping, store
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.lost import death, why_lost
from fmnist_tui.runs.status import ExitCode, State
from fmnist_tui.runs.store import Run

LOOK_SECONDS = 0.2
"""Between two looks at the files: five redraws a second."""
EXIT_SECONDS = 15.0
"""A worker that has said it is done gets this long to leave before it is left to itself."""
RECENT_LINES = 10
"""Earlier evaluations and events shown when one begins to watch a run that is under way."""

STOPPING = "Stopping; a checkpoint is being written. Ctrl-C again kills the run."
LEAVING = "Leaving the queue. Ctrl-C again kills the run."


class Interrupts:
    """Counts Ctrl-C (SIGINT) and SIGTERM instead of dying of them, while it is entered."""

    def __init__(self) -> None:
        self.interrupts = 0
        self.terminations = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._count)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _count(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self.interrupts += 1
        else:
            self.terminations += 1


@contextmanager
def opened_view(as_json: bool) -> Iterator[View]:
    """The view that fits stdout; gives the terminal back at the end, also after an error."""
    view = _choose_view(as_json)
    try:
        yield view
    finally:
        view.close()


def _choose_view(as_json: bool) -> View:
    """JSON lines where they were asked for, the live display on a terminal, else plain lines."""
    from fmnist_tui.console.output import console

    if as_json:
        return JsonView()
    stdout = console()
    if stdout.is_terminal and not stdout.is_dumb_terminal:
        from fmnist_tui.console.live import LiveView

        return LiveView(stdout)
    return PlainView(stdout)


class Attendant:
    """Watches a worker of our own until it has left.

    Ctrl-C or SIGTERM asks it to stop with a checkpoint, Ctrl-C after that kills it. A death without a word is
    written into the run on its behalf.
    """

    def __init__(self, directory: RunDirectory, worker: subprocess.Popen[bytes] | None, interrupts: Interrupts) -> None:
        """Without a `worker` Slurm starts it: then the run itself says when it has ended."""
        self._directory = directory
        self._worker = worker
        self._interrupts = interrupts
        self._asked_after: int | None = None
        self._killed = False
        self._said_done: float | None = None

    def watch(self, view: View, since: str = "") -> Run:
        """The run as it stands when its worker has left; passes over metric lines before `since`."""
        feed = RunFeed(self._directory, since)
        run, lines = feed.read()
        view.start(run)
        while self._goes_on(run):
            view.update(run, lines)
            self._answer_interrupts(run, view)
            time.sleep(LOOK_SECONDS)
            run, lines = feed.read()
        self._write_down_death(run)
        final, last_lines = feed.read()
        view.update(final, [*lines, *last_lines])
        view.end(final)
        return final

    def _goes_on(self, run: Run) -> bool:
        if self._worker is None:
            return run.state.alive
        return self._worker.poll() is None and not self._stays_on(run)

    def _stays_on(self, run: Run) -> bool:
        """Whether the worker is still there long after its last word."""
        if run.status is None or run.status.state.alive:
            return False
        self._said_done = self._said_done or time.monotonic()
        return time.monotonic() - self._said_done > EXIT_SECONDS

    def _answer_interrupts(self, run: Run, view: View) -> None:
        pressed = self._interrupts.interrupts
        if self._asked_after is None and pressed + self._interrupts.terminations > 0:
            self._asked_after = min(pressed, 1)
            view.say(LEAVING if run.state is State.QUEUED else STOPPING)
            self._ask_to_stop(run, view)
        if self._asked_after is not None and pressed > self._asked_after and not self._killed:
            self._killed = True
            if (run.status is None or not stopping.kill(run)) and self._worker is not None:
                self._worker.kill()  # it has not yet written down its pid

    def _ask_to_stop(self, run: Run, view: View) -> None:
        try:
            answer = stopping.ask(run)
        except ValueError:
            if self._worker is None:
                raise
            self._worker.send_signal(signal.SIGTERM)  # it has not yet written down its pid
            return
        if answer.how == "signalled":
            view.say(f"A full disk, or the like: {answer.signal_words}.")

    def _write_down_death(self, run: Run) -> None:
        code = self._worker.poll() if self._worker is not None else None
        if code is None and (self._worker is not None or run.state is not State.LOST):
            return
        if self._killed:
            store.mark_killed(self._directory, "killed by the user")
            return
        why = death(self._directory, code) if code is not None else why_lost(run)
        store.mark_failed(self._directory, why, ExitCode.FAILED)


def follow(directory: RunDirectory, view: View, interrupts: Interrupts) -> tuple[Run, bool]:
    """Watch a run of anybody's until it has ended, or until Ctrl-C or SIGTERM: the run, and whether it has ended."""
    feed = RunFeed(directory)
    run, lines = feed.read()
    if not isinstance(view, JsonView):
        lines = [line for line in lines if describe(line.record, 0) is not None][-RECENT_LINES:]
    view.start(run)
    while under_way(run) and not interrupts.interrupts + interrupts.terminations:
        view.update(run, lines)
        time.sleep(LOOK_SECONDS)
        run, lines = feed.read()
    final, last_lines = feed.read()
    view.update(final, [*lines, *last_lines])
    view.end(final)
    return final, not under_way(final)


def under_way(run: Run) -> bool:
    """Whether there is more to come from a run."""
    return run.state.alive


def exit_code(run: Run) -> int:
    """What the command line answers for a run that has ended."""
    if run.status is not None and run.status.exit_code is not None:
        return run.status.exit_code
    return {State.FINISHED: ExitCode.DONE, State.STOPPED: ExitCode.STOPPED}.get(run.state, ExitCode.FAILED)
