"""A screen that can measure: starts a calibration in a worker thread, keeps its results, ends it when left.

The base of the New run screen; the calibration itself is `tui.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from textual import work
from textual.message import Message
from textual.screen import ModalScreen
from textual.timer import Timer

from fmnist_tui.analysis.outlook import speed_key
from fmnist_tui.config import RunConfig
from fmnist_tui.tui import format as words
from fmnist_tui.tui.calibration import (
    COMMAND,
    SILENCE_SECONDS,
    Calibration,
    CalibrationCancelled,
    CalibrationError,
    Measurement,
)
from fmnist_tui.tui.forecast import Known, other_settings
from fmnist_tui.tui.screens.base import FeedScreen

TICK_SECONDS = 1.0
"""How often the time a calibration has taken is drawn anew."""


@dataclass(frozen=True)
class Outcome:
    """How a calibration ended: with a speed, or with why there is none."""

    of: Calibration
    beside: str
    """The run at work on the device when it began, '' where none was."""
    measured: Measurement | None = None
    failed: str = ""


class MeasuringScreen(FeedScreen):
    """One calibration at a time; what was measured is kept by settings and device."""

    calibration_command: ClassVar[Sequence[str]] = COMMAND
    calibration_silence: ClassVar[float] = SILENCE_SECONDS

    class Measured(Message):
        """News of a calibration; at its end `failed` says why there is no result ('' where there is one)."""

        def __init__(self, calibration: Calibration, so_far: Measurement, done: bool, failed: str = "") -> None:
            self.calibration = calibration
            self.so_far = so_far
            self.done = done
            self.failed = failed
            super().__init__()

    def __init__(self) -> None:
        super().__init__()
        self._calibration: Calibration | None = None
        self._so_far = Measurement()
        self._beside = ""
        self._began = 0.0
        self._tick: Timer | None = None
        self._outcomes: dict[tuple[Any, ...], Outcome] = {}
        self._newest: Outcome | None = None

    @property
    def measuring(self) -> str:
        """What the calibration at work is doing, '' where none is."""
        if self._calibration is None:
            return ""
        speed = self._so_far.images_per_second
        so_far = f", {words.speed(speed)} img/s so far" if speed else ""
        return (self._so_far.phase or "starting") + so_far

    def known(self, config: RunConfig, device: str) -> Known:
        """What is known of the speed of these settings on this device; of others where nothing is known of these."""
        running = running_of = of = ""
        if self._calibration is not None:
            running = f"{self.measuring}, {words.duration(monotonic() - self._began)}"
            running_of = other_settings(self._calibration.config, self._calibration.device, config, device)
        outcome = self._outcomes.get(speed_key(config, device))
        if outcome is None and not running and self._newest is not None:
            outcome = self._newest
            of = other_settings(outcome.of.config, outcome.of.device, config, device)
        if outcome is None:
            return Known(running, running_of)
        return Known(running, running_of, outcome.measured, outcome.failed, of, outcome.beside)

    def measuring_changed(self) -> None:
        """To be overridden: show what is known now."""

    def measure(self, config: RunConfig, device: str, data_dir: Path | None, beside: str = "") -> None:
        """Start a calibration (`beside` the run of that name on the device), or end the one at work."""
        if self._calibration is not None:
            self.end_calibration()
            return
        self._calibration = Calibration(
            config, device, data_dir, command=self.calibration_command, silence=self.calibration_silence
        )
        self._forget_failure()
        self._so_far, self._beside, self._began = Measurement(), beside, monotonic()
        self._tick = self.set_interval(TICK_SECONDS, self.measuring_changed)
        self._measure(self._calibration)
        self.measuring_changed()

    def _forget_failure(self) -> None:
        """A new try makes the last one's failure old news; what was measured stays."""
        if self._newest is not None and self._newest.failed:
            self._outcomes = {key: outcome for key, outcome in self._outcomes.items() if not outcome.failed}
            self._newest = None

    def end_calibration(self) -> None:
        """Kill the one at work, if there is one; returns without waiting."""
        if self._calibration is not None:
            self._calibration.cancel()

    @work(thread=True, group="calibration")
    def _measure(self, calibration: Calibration) -> None:
        def report(so_far: Measurement) -> None:
            self.post_message(self.Measured(calibration, so_far, done=False))

        so_far, failed = Measurement(), ""
        try:
            so_far = calibration.run(report)
        except CalibrationCancelled:
            failed = "cancelled"
        except CalibrationError as error:
            failed = str(error)
        self.post_message(self.Measured(calibration, so_far, done=True, failed=failed))

    def on_measuring_screen_measured(self, message: Measured) -> None:
        """Keep what came out, and show what is known."""
        if message.calibration is not self._calibration:
            return
        if message.done:
            self._done(message)
        else:
            self._so_far = message.so_far
        self.measuring_changed()

    def _done(self, message: Measured) -> None:
        """Take note of a calibration's end. One the user ended has measured what it told before."""
        calibration, self._calibration = message.calibration, None
        if self._tick is not None:
            self._tick.stop()
        if not message.failed:
            outcome = Outcome(calibration, self._beside, message.so_far)
        elif not calibration.cancelled:
            outcome = Outcome(calibration, self._beside, failed=message.failed)
        elif self._so_far.images_per_second:
            outcome = Outcome(calibration, self._beside, self._so_far)
        else:
            return
        self._newest = self._outcomes[speed_key(calibration.config, calibration.device)] = outcome

    def on_unmount(self) -> None:
        """A calibration ends with the screen."""
        self.end_calibration()

    def on_screen_suspend(self) -> None:
        """And when the user goes elsewhere while the app keeps the screen; a dialog over it is no leaving."""

        def left() -> None:
            if not isinstance(self.app.screen, ModalScreen):
                self.end_calibration()

        self.call_later(left)
