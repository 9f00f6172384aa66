"""A screen that has a run's evaluations read: its confusion matrices, predictions and test images, as they come.

The base of the Mistakes screen. Worker threads read (`mistakes_data`, `mistakes_lists`) and post what they found;
nothing here waits for the disk.
"""

from __future__ import annotations

from pathlib import Path

from textual import on, work
from textual.message import Message
from textual.worker import WorkerState

from fmnist_tui.analysis.predictions import TestSet
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.mistakes_data import MistakesReader, Reading
from fmnist_tui.tui.mistakes_lists import Shared, comparable, key_of, read_always_wrong
from fmnist_tui.tui.screens.base import FeedScreen

TICK_SECONDS = 1.0
"""Between two looks whether there is another evaluation."""


class MistakesReading(FeedScreen):
    """What is known of the run; `draw` is called when that has changed."""

    class Read(Message):
        """The run's evaluations, read by a worker thread."""

        def __init__(self, reading: Reading) -> None:
            self.reading = reading
            super().__init__()

    class SharedRead(Message):
        """What every run gets wrong, read by a worker thread."""

        def __init__(self, shared: Shared) -> None:
            self.shared = shared
            super().__init__()

    def __init__(self, run_id: str, data_dir: Path | None) -> None:
        super().__init__()
        self.run_id = run_id
        self.run: Run | None = None
        self.reading: Reading | None = None
        self.shared: Shared | None = None
        """What every finished run gets wrong, where that was asked for."""
        self.gone = False
        """Whether the run's directory is no more; what was read stays."""
        self._reader = MistakesReader(data_dir)
        self._runs: list[Run] = []
        self._read_in: State | None = None

    # --- to be overridden

    @property
    def wants_shared(self) -> bool:
        """Whether what every run gets wrong is asked for."""
        raise NotImplementedError

    def reading_came(self) -> None:
        """Another reading is there; `draw` follows."""
        raise NotImplementedError

    def draw(self) -> None:
        """Show what is known now."""
        raise NotImplementedError

    # --- what comes in

    def on_mount(self) -> None:
        """Look every second."""
        self.set_interval(TICK_SECONDS, self._tick)

    def on_screen_resume(self) -> None:
        """See what came while another screen lay over this one."""
        self._tick()
        self.draw()

    def runs_listed(self, runs: list[Run]) -> None:
        """The run itself, and those to compare it with."""
        self._runs = runs
        found = next((run for run in runs if run.id == self.run_id), None)
        self.gone = found is None and bool(runs or self.run)
        self.run = found or self.run
        self._tick()
        self.compare_runs()
        self.draw()

    def run_vanished(self, run_id: str) -> None:
        """Say so; what was read stays."""
        self.gone = True
        self.draw()

    def _tick(self) -> None:
        """Have the files looked at while they may change; one reader at a time."""
        if self.run is None or self.gone or not self.is_seen:
            return
        if self._read_in is self.run.state and not self.run.state.alive:
            return
        busy = (WorkerState.PENDING, WorkerState.RUNNING)
        if not any(worker.group == "mistakes" and worker.state in busy for worker in self.workers):
            self._read_in = self.run.state
            self._read(self.run)

    @work(thread=True, group="mistakes")
    def _read(self, run: Run) -> None:
        reading = self._reader.read(run)
        if reading is not None:
            self.post_message(self.Read(reading))

    @on(Read)
    def _have_read(self, message: Read) -> None:
        self.reading = message.reading
        self.reading_came()
        self.compare_runs()
        self.draw()

    def compare_runs(self) -> None:
        """Have what every run gets wrong read, where that is asked for and the runs are other ones than before."""
        if not self.wants_shared or self.run is None or self.reading is None or self.reading.test is None:
            return
        runs = comparable(self.run, self._runs)
        if self.shared is None or self.shared.key != key_of(runs):
            self.shared = Shared(key_of(runs))
            self._read_shared(runs, self.reading.test)

    @work(thread=True, exclusive=True, group="shared")
    def _read_shared(self, runs: list[Run], test: TestSet) -> None:
        self.post_message(self.SharedRead(read_always_wrong(runs, test)))

    @on(SharedRead)
    def _have_shared(self, message: SharedRead) -> None:
        if self.shared is not None and message.shared.key == self.shared.key:
            self.shared = message.shared
            self.draw()
