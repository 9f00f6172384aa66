"""What a watched run looks like on stdout: plain lines for pipes and logs, JSON lines for scripts.

`watch` drives a view: `start`, then `update` several times a second, then `end`. The live display for
terminals is in `live`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.text import Text

from fmnist_tui.console import words
from fmnist_tui.console.feed import AnyRecord, Line
from fmnist_tui.console.output import as_json, print_json, say, status_values, write_json_line
from fmnist_tui.runs.metrics import EvalRecord, EventRecord
from fmnist_tui.runs.store import Run

QUIET_EVENTS = frozenset({"checkpoint", "choice", "error", "finish"})
"""Events of every epoch, and those whose news the summary at the end brings; `runs logs` shows them all."""

EVENT_STYLES = {"warning": "yellow", "stop": "yellow"}


class View(Protocol):
    """Shows one watched run."""

    def start(self, run: Run) -> None:
        """Before the first update."""

    def update(self, run: Run, lines: Sequence[Line]) -> None:
        """The run as it stands and its new metric lines; called at least five times a second."""

    def say(self, message: str) -> None:
        """A line of the watcher's own."""

    def end(self, run: Run) -> None:
        """The last of the run's news, once it has ended or is no longer watched."""

    def close(self) -> None:
        """Give the terminal back; called last, also after an error."""


def describe(record: AnyRecord, epochs: int) -> Text | None:
    """A metric record as one line of a log: an evaluation or an event; None for all others."""
    if isinstance(record, EvalRecord):
        width = len(str(epochs))
        return Text.assemble(
            (f"epoch {record.epoch:>{width}}/{epochs}", "bold"),
            f"  test {words.percent(record.test_accuracy)}",
            f"  train {words.percent(record.train_accuracy)}",
            f"  test loss {words.number(record.test_loss)}",
            f"  train loss {words.number(record.train_loss)}",
        )
    if isinstance(record, EventRecord) and record.event not in QUIET_EVENTS:
        return Text(f"{record.event}: {record.told()}", style=EVENT_STYLES.get(record.event, "dim"))
    return None


class PlainView:
    """One line for each evaluation and each event; no control codes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self, run: Run) -> None:
        """The run's id."""
        self._print(Text(f"run {run.id}"))

    def update(self, run: Run, lines: Sequence[Line]) -> None:
        """The lines that say something to a reader."""
        epochs = run.status.epochs if run.status else 0
        for line in lines:
            if (text := describe(line.record, epochs)) is not None:
                self._print(text)

    def say(self, message: str) -> None:
        """The message as it is."""
        self._print(Text(message))

    def end(self, run: Run) -> None:
        """Nothing is left to print."""

    def close(self) -> None:
        """Nothing was taken."""

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


class JsonView:
    """The run, its metric lines as they come, its last status and its result: one JSON object a line."""

    def start(self, run: Run) -> None:
        """Which run it is."""
        print_json({"kind": "run", "id": run.id, "directory": str(run.directory.path)})

    def update(self, run: Run, lines: Sequence[Line]) -> None:
        """The new metric lines, byte for byte."""
        for line in lines:
            write_json_line(line.raw.decode())
        if lines:
            sys.stdout.flush()

    def say(self, message: str) -> None:
        """For the user's eyes, so on stderr."""
        say(message)

    def end(self, run: Run) -> None:
        """The status, with the state every view shows, and the result of a finished run."""
        print_json(status_object(run))
        if run.result is not None:
            print_json({"kind": "result", **as_json(run.result)})

    def close(self) -> None:
        """Nothing was taken."""


def status_object(run: Run) -> dict[str, object]:
    """A run's status as `--json` prints it."""
    return {"kind": "status", "id": run.id, **status_values(run)}
