"""An app that hears from the feed's threads, and hands each of its screens the news that concern it.

The base of `FmnistApp`: owns the threads, what they said last, and which runs they watch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from textual.app import App
from textual.notifications import SeverityLevel

from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import session
from fmnist_tui.tui.endings import endings, newly_ended
from fmnist_tui.tui.feed import Feed, LogAdvanced, SystemFeed
from fmnist_tui.tui.machine import History
from fmnist_tui.tui.messages import FeedProblem, RunAdvanced, RunsListed, RunVanished, SystemSampled
from fmnist_tui.tui.reading import RunList
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.screens.log import LogScreen
from fmnist_tui.tui.screens.runs import RunsScreen
from fmnist_tui.tui.terminal import keep_choice, kept_choice
from fmnist_tui.tui.widgets.header import TopBar


class ListeningApp(App[None]):
    """See the module."""

    def __init__(self, runs_dir: Path) -> None:
        super().__init__()
        self.runs_dir = runs_dir
        self.runs: list[Run] = []
        """The newest list of runs."""
        self.feed = Feed(RunList(runs_dir), self.post_message)
        disk = next((place for place in (runs_dir, *runs_dir.parents) if place.exists()), Path("/"))
        self._system_feed = SystemFeed(disk, self.post_message)
        self._sample: SystemSampled | None = None
        self.history = History()
        self._settled = False
        self.rings = kept_choice("bell") != "off"
        """Whether the terminal's bell says that a run has ended: tmux and screen mark a window that rings."""
        self.coming: set[FeedScreen] = set()
        """Screens being mounted: they can't show anything yet."""

    @property
    def kept_screens(self) -> Iterable[FeedScreen]:
        """To be overridden: screens that hear the news also while they are not on the stack."""
        return ()

    def on_mount(self) -> None:
        """Start the threads."""
        self.screen_change_signal.subscribe(self, lambda _: self._screen_changed())
        self.feed.start()
        self._system_feed.start()

    def on_unmount(self) -> None:
        """Stop the threads."""
        self.feed.stop()
        self._system_feed.stop()

    def feed_screens(self) -> list[FeedScreen]:
        """Every screen that hears from the feed, shown or not. One still being mounted is told by `brief`.

        None once the app ends: their widgets are being taken away.
        """
        if not self.is_running:
            return []
        stacked = [screen for screen in self.screen_stack if isinstance(screen, FeedScreen)]
        screens = [*stacked, *(screen for screen in self.kept_screens if screen not in stacked)]
        return [screen for screen in screens if screen not in self.coming and screen.is_attached]

    def on_runs_listed(self, message: RunsListed) -> None:
        """The list changed."""
        if not self._settled:
            self._settled = True
            session.calm_the_collector()
            self.run_worker(session.import_the_rest(), group="imports", exit_on_error=False)
        before, self.runs = {run.id: run.state for run in self.runs}, message.runs
        self._tell_endings(newly_ended(before, self.runs))
        for screen in self.feed_screens():
            screen.runs_listed(message.runs)
            if isinstance(screen, RunsScreen):
                screen.left_out = message.left_out

    def _tell_endings(self, runs: list[Run]) -> None:
        """Ring for runs that have just ended, and name those that no screen in front shows."""
        if not runs or not self.is_running:  # while it closes it has no screens
            return
        if self.rings:
            self.bell()
        if isinstance(self.screen, RunsScreen):
            return
        watched = self.screen.watched_runs if isinstance(self.screen, FeedScreen) else frozenset()
        if elsewhere := [run for run in runs if run.id not in watched]:
            good = all(run.state is State.FINISHED for run in elsewhere)
            severity: SeverityLevel = "information" if good else "warning"
            self.notify(endings(elsewhere), severity=severity, timeout=10, markup=False)

    def action_toggle_bell(self) -> None:
        """Ring when a run ends, or no more; kept for the next time."""
        self.rings = not self.rings
        self.run_worker(partial(keep_choice, "bell", "on" if self.rings else "off"), thread=True, group="bell")
        self.notify("The bell rings when a run ends." if self.rings else "The bell is off.")

    def on_run_advanced(self, message: RunAdvanced) -> None:
        """A watched run wrote something."""
        try:
            for screen in self.feed_screens():
                if message.run.id in screen.watched_runs:
                    screen.run_advanced(message.run, message.records, message.restarted)
                    if message.caught_up:
                        screen.run_caught_up(message.run.id)
        finally:
            self.feed.taken(message.run.id)

    def on_run_vanished(self, message: RunVanished) -> None:
        """A watched run was deleted."""
        for screen in self.feed_screens():
            if message.run_id in screen.watched_runs:
                screen.run_vanished(message.run_id)

    def on_log_advanced(self, message: LogAdvanced) -> None:
        """A watched log grew."""
        for screen in self.screen_stack:
            if isinstance(screen, LogScreen) and screen.watched_log == message.run_id:
                screen.log_advanced(message.lines, message.restarted)

    def on_system_sampled(self, message: SystemSampled) -> None:
        """GPU and host, for the bar of the screen that is seen and those that show more."""
        self._sample = message
        self.history.add(message.sample)
        for screen in self.feed_screens():
            if screen.is_seen:
                self._deliver_sample(screen)

    def on_feed_problem(self, message: FeedProblem) -> None:
        """Something can't be read."""
        for screen in self.screen_stack:
            if isinstance(screen, RunsScreen):
                screen.problem = message.text
        self.notify(message.text, severity="warning", timeout=10, markup=False)

    def _deliver_sample(self, screen: FeedScreen) -> None:
        if self._sample is not None:
            for bar in screen.query(TopBar):
                bar.show_system(self._sample.sample, self._sample.gpu_problem)
            screen.system_sampled(self._sample.sample, self._sample.gpu_problem)

    def _screen_changed(self) -> None:
        """Another screen is on top: it may not have heard of the machine for a while."""
        self._update_watch()
        if self.is_running and isinstance(self.screen, FeedScreen) and self.screen not in self.coming:
            self._deliver_sample(self.screen)

    def _update_watch(self) -> None:
        """Tell the feed whose metrics and logs are on the stack of screens (but of no screen still being mounted)."""
        screens = [screen for screen in self.screen_stack if screen not in self.coming]
        runs = {run for screen in screens if isinstance(screen, FeedScreen) for run in screen.watched_runs}
        logs = {screen.watched_log for screen in screens if isinstance(screen, LogScreen)}
        self.feed.watch(runs, logs)

    def brief(self, screen: FeedScreen) -> None:
        """Tell a screen that has just come what the feed said last; from now on it hears the news itself."""
        self.coming.discard(screen)
        screen.runs_listed(self.runs)
        self._deliver_sample(screen)
        self.feed.read_again(screen.watched_runs)  # a screen below may have had their lines already
        self._update_watch()
