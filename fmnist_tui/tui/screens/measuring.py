"""A screen that can measure: starts a calibration in a worker thread, keeps its results, ends it when left.

The base of the New run screen; the calibration itself is `tui.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.message import Message
from textual.screen import ModalScreen

from fmnist_tui.config import RunConfig
from fmnist_tui.tui import format as words
from fmnist_tui.tui.calibration import (
    COMMAND,
    TIMEOUT_SECONDS,
    Calibration,
    CalibrationCancelled,
    CalibrationError,
    Measurement,
)
from fmnist_tui.tui.outlook import speed_key
from fmnist_tui.tui.screens.base import FeedScreen


class MeasuringScreen(FeedScreen):
    """One calibration at a time; what was measured is kept by settings and device."""

    calibration_command: ClassVar[Sequence[str]] = COMMAND
    calibration_timeout: ClassVar[float] = TIMEOUT_SECONDS

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
        self._progress = ""
        self._results: dict[tuple[Any, ...], Measurement] = {}
        self._failures: dict[tuple[Any, ...], str] = {}

    @property
    def measuring(self) -> str:
        """What the calibration at work is doing, '' where none is."""
        return self._progress if self._calibration else ""

    def measured(self, config: RunConfig, device: str) -> tuple[Measurement | None, str]:
        """The newest result for these settings on this device, and why the last try gave none."""
        key = speed_key(config, device)
        return self._results.get(key), self._failures.get(key, "")

    def measuring_changed(self) -> None:
        """To be overridden: show what is known now."""

    def measure(self, config: RunConfig, device: str, data_dir: Path | None) -> None:
        """Start a calibration, or end the one at work."""
        if self._calibration is not None:
            self.end_calibration()
            return
        self._calibration = Calibration(
            config, device, data_dir, command=self.calibration_command, timeout=self.calibration_timeout
        )
        self._progress = "starting"
        self._failures.pop(speed_key(config, device), None)
        self._measure(self._calibration)
        self.measuring_changed()

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
        """Keep a result, and show what is known."""
        if message.calibration is not self._calibration:
            return
        speed = message.so_far.images_per_second
        so_far = f", {words.speed(speed)} img/s so far" if speed else ""
        self._progress = (message.so_far.phase or "training") + so_far
        if message.done:
            key = speed_key(message.calibration.config, message.calibration.device)
            self._calibration = None
            if not message.failed:
                self._results[key] = message.so_far
            elif not message.calibration.cancelled:
                self._failures[key] = message.failed
        self.measuring_changed()

    def on_unmount(self) -> None:
        """A calibration ends with the screen."""
        self.end_calibration()

    def on_screen_suspend(self) -> None:
        """And when the user goes elsewhere while the app keeps the screen; a dialog over it is no leaving."""

        def left() -> None:
            if not isinstance(self.app.screen, ModalScreen):
                self.end_calibration()

        self.call_later(left)
