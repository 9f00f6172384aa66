"""The feed: one thread that reads runs directories and posts what is new to the app. It never does anything else.

The app starts it, tells it which runs and logs are on screen (`watch`), and hands its messages to the screens.
It is cheap by looking at modification times first: a run's files are replaced by renaming, which changes the
time of its directory, so one stat a run tells whether anything in it has to be read again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from textual.message import Message

from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.launching import Children
from fmnist_tui.tui.messages import FeedProblem, RunAdvanced, RunsListed, RunVanished, SystemSampled
from fmnist_tui.tui.reading import LogReader, MetricsReader, RunList
from fmnist_tui.tui.remedies import told

WATCH_SECONDS = 0.2
"""Between two looks at a run or log on screen: at most 5 RunAdvanced a second a run."""
LIST_SECONDS = 1.0
"""Between two looks at all runs; a run that comes or goes is seen within WATCH_SECONDS."""
SYSTEM_SECONDS = 1.0
"""Between two samples of GPUs and host."""


class LogAdvanced(Message):
    """New lines of a watched run's worker.log; `restarted` says to forget what came before."""

    def __init__(self, run_id: str, lines: list[str], restarted: bool) -> None:
        self.run_id = run_id
        self.lines = lines
        self.restarted = restarted
        super().__init__()


class _Watched:
    """A run on screen: its reader, and whether the app still has a message of it to take."""

    def __init__(self, run: Run) -> None:
        self.reader = MetricsReader(run.directory)
        self.sent: Run | None = None
        self.untaken = False


class Feed(threading.Thread):
    """Polls the runs directory; started by the app when it opens, stopped when it closes.

    `post` is the app's `post_message`. Exceptions never end the thread: they are posted as FeedProblem, each
    once until it changes.
    """

    def __init__(self, runs: RunList, post: Callable[[Message], object]) -> None:
        super().__init__(name="feed", daemon=True)
        self.children = Children()
        self._runs = runs
        self._post_message = post
        self._wake = threading.Event()
        self._stopping = False
        self._wanted: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._watched: dict[str, _Watched] = {}
        self._logs: dict[str, LogReader] = {}
        self._vanished: set[str] = set()
        self._again: deque[str] = deque()
        """Runs to be read from the beginning once more; the app appends, this thread takes out."""
        self._problems: dict[str, str] = {}
        self._listed = False
        self._next_list = 0.0
        self._next_watch = 0.0

    def watch(self, runs: Iterable[str], logs: Iterable[str] = ()) -> None:
        """What is on screen from now on, by run id; called by the app."""
        wanted = (frozenset(runs), frozenset(logs))
        if wanted != self._wanted:
            self._wanted = wanted
            self._next_watch = 0.0
            self._wake.set()

    def read_again(self, runs: Iterable[str]) -> None:
        """Post these runs' metrics from their beginning once more: a new screen wants them, where another has them."""
        self._again.extend(runs)

    def taken(self, run_id: str) -> None:
        """The app has handled a run's RunAdvanced: the next may be read. A slow screen gets fewer, larger ones."""
        watched = self._watched.get(run_id)
        if watched is not None:
            watched.untaken = False
            if watched.reader.more:
                self._wake.set()

    def look(self) -> None:
        """Look at everything now: the app has just changed something."""
        self._next_list = self._next_watch = 0.0
        self._wake.set()

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread and wait for it."""
        self._stopping = True
        self._wake.set()
        if self.is_alive():
            self.join(timeout)

    def run(self) -> None:
        """Look, post, sleep, until stopped."""
        while not self._stopping:
            self._wake.clear()
            now = time.monotonic()
            self._attempt("the list of runs", self._look_at_list, now)
            self._attempt("a run", self._look_at_watched, now)
            self._attempt("a worker's end", self._look_at_children)
            backlog = any(watched.reader.more and not watched.untaken for watched in self._watched.values())
            if not backlog:
                self._wake.wait(max(0.0, min(self._next_watch, now + WATCH_SECONDS) - time.monotonic()))

    def _attempt(self, what: str, look: Callable[..., bool], *values: float) -> None:
        """Call one part of the loop, which says whether it was due; its exception becomes a FeedProblem."""
        try:
            looked = look(*values)
        except Exception as error:
            text = told(error) if isinstance(error, RunError) else f"Reading {what} went wrong: {error!r}"
            if self._problems.get(what) != text:
                self._problems[what] = text
                self._post(FeedProblem(text))
        else:
            if looked:
                self._problems.pop(what, None)

    def _post(self, message: Message) -> None:
        try:
            self._post_message(message)
        except RuntimeError:  # the app's event loop has closed between our look and our word
            self._stopping = True

    def _look_at_list(self, now: float) -> bool:
        if now < self._next_list and not self._runs.directory_changed():
            return False
        self._next_list = now + LIST_SECONDS
        if self._runs.scan() or not self._listed:
            self._listed = True
            self._post(RunsListed(self._runs.newest_first(), self._runs.left_out))
        return True

    def _look_at_watched(self, now: float) -> bool:
        runs, logs = self._wanted
        self._forget(self._watched, runs)
        while self._again:
            self._watched.pop(self._again.popleft(), None)
        self._forget(self._logs, logs)
        self._vanished &= runs
        due = now >= self._next_watch
        if due:
            self._next_watch = now + WATCH_SECONDS
        for run_id in runs - self._vanished:
            watched = self._watched.get(run_id)
            if due or (watched is not None and watched.reader.more):
                self._look_at_run(run_id, watched)
        for run_id in logs if due else ():
            self._look_at_log(run_id)
        return due

    @staticmethod
    def _forget(held: dict[str, _Watched] | dict[str, LogReader], wanted: frozenset[str]) -> None:
        for run_id in [run_id for run_id in held if run_id not in wanted]:
            del held[run_id]

    def _look_at_run(self, run_id: str, watched: _Watched | None) -> None:
        if watched is not None and watched.untaken:
            return
        run = self._runs.refresh(run_id)
        if run is None:
            self._watched.pop(run_id, None)
            self._vanished.add(run_id)
            self._post(RunVanished(run_id))
            return
        if watched is None:
            watched = self._watched[run_id] = _Watched(run)
        behind = watched.reader.more
        records, restarted = watched.reader.read()
        caught_up = behind and not watched.reader.more
        if records or restarted or caught_up or run is not watched.sent:
            watched.sent, watched.untaken = run, True
            self._post(RunAdvanced(run, records, restarted, caught_up))

    def _look_at_log(self, run_id: str) -> None:
        reader = self._logs.get(run_id)
        if reader is None:
            reader = self._logs[run_id] = LogReader(self._runs.run_directory(run_id))
        lines, restarted = reader.read()
        if lines or restarted:
            self._post(LogAdvanced(run_id, lines, restarted))

    def _look_at_children(self) -> bool:
        if self.children.reap():
            self._next_list = 0.0
        return True


class SystemFeed(threading.Thread):
    """Samples GPUs and host once a second, in a thread of its own: a driver that hangs must not stop the runs' feed."""

    def __init__(self, disk_path: Path, post: Callable[[Message], object]) -> None:
        super().__init__(name="system-feed", daemon=True)
        self._disk_path = disk_path
        self._post = post
        self._ended = threading.Event()

    def stop(self, timeout: float = 0.3) -> None:
        """End the thread; one that hangs in the driver is left behind (it is a daemon)."""
        self._ended.set()
        if self.is_alive():
            self.join(timeout)

    def run(self) -> None:
        """Sample, post, sleep, until stopped."""
        from fmnist_tui.monitor import Monitor  # the driver's library: not on the way to the first frame

        monitor: Monitor | None = None
        said = ""
        while not self._ended.is_set():
            try:
                monitor = monitor or Monitor(self._disk_path)
                message: Message = SystemSampled(monitor.sample(), monitor.gpu_problem)
                said = ""
            except Exception as error:
                text = f"GPUs and host cannot be read: {error!r}"
                message, said, repeated = FeedProblem(text), text, text == said
                if repeated:
                    self._ended.wait(SYSTEM_SECONDS)
                    continue
            with contextlib.suppress(RuntimeError):  # the app's event loop has closed
                self._post(message)
            self._ended.wait(SYSTEM_SECONDS)
        if monitor is not None:
            monitor.close()
