"""What every screen of the app shares: it hears from the feed through three methods it may override."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.screen import Screen

from fmnist_tui.runs.metrics import SystemRecord
from fmnist_tui.runs.store import Run

if TYPE_CHECKING:
    from fmnist_tui.tui.metric_lines import MetricRecord


class FeedScreen(Screen[None]):
    """A screen the app hands the feed's news to, also while another screen lies over it."""

    watched_run: str | None = None
    """Id of the run whose metrics this screen wants; the app tells the feed."""

    @property
    def watched_runs(self) -> frozenset[str]:
        """Ids of all runs whose metrics this screen wants: one, or of a screen that shows several, these."""
        return frozenset({self.watched_run} if self.watched_run else ())

    @property
    def is_seen(self) -> bool:
        """Whether the screen is on top, or under a box that leaves it visible (is_current says so of any second).

        One that is not must not change its widgets: Textual would draw everything above it anew each time, a
        third of what watching a run costs.
        """
        stack = self.app.screen_stack  # empty for a moment while the app closes
        return self.is_active or (bool(stack) and stack[-1].is_modal and self in stack[-2:])

    def say_why_not(self, key: str) -> None:
        """Say why a key of this screen does nothing now, where there is something to say. Called before it is done."""
        for binding in self.BINDINGS:
            if not isinstance(binding, Binding) or key not in binding.key.split(","):
                continue
            if text := self.refusal(binding.action):
                self.app.clear_notifications()
                self.notify(text, markup=False)

    def refusal(self, action: str) -> str:
        """Why an action (as a Binding has it) can't be done now; '' where it can, or its key is silent."""
        return ""

    def runs_listed(self, runs: list[Run]) -> None:
        """The list of runs changed (newest first)."""

    def run_advanced(self, run: Run, records: Sequence[MetricRecord], restarted: bool) -> None:
        """`watched_run` wrote new metric lines or its status changed; `restarted`: forget what came before."""

    def run_caught_up(self, run_id: str) -> None:
        """All that a run's long file of metric lines held has come; what follows comes as it is written."""

    def run_vanished(self, run_id: str) -> None:
        """`watched_run`'s directory is gone."""

    def system_sampled(self, sample: SystemRecord, gpu_problem: str) -> None:
        """GPU and host now; told while the screen is seen, and when it comes on top."""
