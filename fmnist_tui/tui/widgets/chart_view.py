"""The part of the time axis that is shown and the cursor on it: one TimeView is shared by all charts of a run.

Pure; x is in epochs. The Run screen changes it from keys and mouse, the charts read it.
"""

from __future__ import annotations

from fmnist_tui.analysis.axis import nice_ceiling

MIN_SPAN = 0.02
"""Epochs; no zoom goes further in."""
LOOK_AHEAD = 1.6
"""A run at work is shown up to the next round epoch (1, 2, 5, 10, 20, 50, ...) beyond this many times what is done,
so that the first epochs of a long run are not a few dots at the edge."""


class TimeView:
    """Window and cursor. Without a window of its own it shows what is done and some of what is to come."""

    def __init__(self) -> None:
        self.total = 1.0
        """Epochs of the run."""
        self.latest = 0.0
        """Epochs there is data for."""
        self.ended = False
        self.window: tuple[float, float] | None = None
        """What was zoomed or panned to."""
        self.whole = False
        """Whether the axis goes to the end of the run, however little of it is done."""
        self.follow = False
        """Whether the right edge stays at the newest point."""
        self.cursor: float | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """First and last epoch shown."""
        if self.follow:
            right = max(self.latest, MIN_SPAN)
            span = min(self.window[1] - self.window[0], right) if self.window else right
            return right - span, right
        return self.window or (0.0, self._extent())

    def _extent(self) -> float:
        if self.ended:
            return max(self.latest, MIN_SPAN) if self.latest else self.total
        soon = self.total if self.whole else min(self.total, nice_ceiling(LOOK_AHEAD * self.latest))
        return max(soon, self.latest)

    @property
    def words(self) -> str:
        """What is shown, for the chart's title: 'whole run', 'so far', 'latest', 'zoomed'; '' for the usual."""
        if self.follow:
            return "latest" if self.window else "so far"
        if self.window:
            return "zoomed"
        return "whole run" if self.whole and not self.ended else ""

    @property
    def is_changed(self) -> bool:
        """Whether something else than the usual is shown."""
        return self.window is not None or self.follow or self.whole

    def reset(self) -> None:
        """Show the usual again."""
        self.window, self.follow, self.whole = None, False, False

    def toggle_whole(self) -> None:
        """Show the whole run, or the usual again."""
        whole = not self.whole or self.window is not None or self.follow
        self.reset()
        self.whole = whole

    def toggle_follow(self) -> None:
        """Keep the newest point at the right edge, or stop doing so and show the usual."""
        if self.follow:
            self.reset()
        else:
            self.follow = True

    def zoom(self, factor: float, center: float | None = None) -> None:
        """Show `factor` times as much, around `center` (the cursor, the newest point when following, the middle)."""
        low, high = self.limits
        if center is None:
            center = self.cursor if self.cursor is not None and low <= self.cursor <= high else (low + high) / 2
        if self.follow:
            center = high
        whole = self._extent()
        span = max(MIN_SPAN, (high - low) * factor)
        if span >= whole:
            self.window = None
            return
        low = center - (center - low) * span / (high - low)
        self._set(low, span)

    def pan(self, share: float) -> None:
        """Move by a share of what is shown; stops at both ends of the run, and stops following."""
        low, high = self.limits
        if self.window is None and not self.follow:
            return
        self.follow = False
        self._set(low + share * (high - low), high - low)

    def _set(self, low: float, span: float) -> None:
        extent = max(self._extent(), self.latest)
        low = min(max(0.0, low), max(0.0, extent - span))
        self.window = (low, low + span)

    def move_cursor(self, columns: int, width: int) -> None:
        """Move the cursor by columns of a chart `width` columns wide; it begins at the newest point shown."""
        low, high = self.limits
        step = (high - low) / max(1, width)
        if self.cursor is None:
            self.place_cursor(min(self.latest, high), width)
        else:
            at = int((self.cursor - low) / step + 1e-9) + columns
            self.place_cursor(low + (min(max(at, 0), width - 1) + 0.5) * step, width)

    def place_cursor(self, x: float, width: int) -> None:
        """Put the cursor into the column that holds `x`; on a whole epoch where there is one in the column."""
        low, high = self.limits
        step = (high - low) / max(1, width)
        column = min(max(int((x - low) / step), 0), width - 1)
        left, right = low + column * step, low + (column + 1) * step
        whole = round((left + right) / 2)
        self.cursor = float(whole) if left <= whole < right else (left + right) / 2
