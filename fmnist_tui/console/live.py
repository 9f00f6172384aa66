"""The live display of a watched run in a terminal: two progress bars, the numbers, and a log above them.

One of the views of `views`; `watch` drives it. Redrawn only when `update` is called: no thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fmnist_tui.console import words
from fmnist_tui.console.feed import Line
from fmnist_tui.console.states import state_text
from fmnist_tui.console.views import describe
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run

GAP = "   "


class LiveView:
    """Bars and numbers at the bottom of the terminal; evaluations and events scroll by above."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=False)
        self._spinner = Spinner("dots")
        self._train_accuracy: float | None = None
        self._message = ""

    def start(self, run: Run) -> None:
        """Take the bottom lines of the terminal."""
        self._live.start()
        self.update(run, [])

    def update(self, run: Run, lines: Sequence[Line]) -> None:
        """Log the new lines and redraw."""
        epochs = run.status.epochs if run.status else 0
        for line in lines:
            if isinstance(line.record, EvalRecord):
                self._train_accuracy = line.record.train_accuracy
            if (text := describe(line.record, epochs)) is not None:
                self._console.print(text)
        self._live.update(self.render(run), refresh=True)

    def say(self, message: str) -> None:
        """Keep the message in sight under the numbers."""
        self._message = message

    def end(self, run: Run) -> None:
        """Nothing more to draw; the summary follows."""

    def close(self) -> None:
        """Give the lines and the cursor back."""
        self._live.stop()

    def render(self, run: Run) -> RenderableType:
        """The bottom lines: state and device, two bars, the numbers, and what the watcher has to say."""
        if run.status is None:
            return Text(run.problem, style="red")
        parts: list[RenderableType] = [self._head(run, run.status)]
        if run.state is State.QUEUED:
            parts.append(Text(words.queued(run.status), overflow="fold"))
        elif run.status.steps:
            parts += [bars(run.status), numbers(run.status, self._train_accuracy)]
        if self._message:
            parts.append(Text(self._message, style="bold yellow"))
        parts.append(Text())  # where the cursor is: the terminal writes ^C there, and must not break a full line
        return Group(*parts)

    def _head(self, run: Run, status: Status) -> RenderableType:
        row = Table.grid(expand=True, padding=(0, 1))
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        row.add_column(no_wrap=True, justify="right")
        phase = f" ({status.phase})" if status.phase and status.phase != "training" else ""
        mark: RenderableType = self._spinner if run.state in (State.STARTING, State.STOPPING) else Text("")
        row.add_row(state_text(run.state) + Text(phase), mark, Text(run.id, style="bold"), device(status))
        return row


def device(status: Status) -> Text:
    """The device with its name where it is known: 'cuda:0, NVIDIA H200'."""
    named = f"{status.device}, {status.device_name}" if status.device_name else status.device
    return Text(named, style="dim")


def bars(status: Status) -> Table:
    """Progress over the run and over the epoch."""
    done_before = max(status.epoch - 1, 0) * status.steps_per_epoch
    in_epoch = min(max(status.step - done_before, 0), status.steps_per_epoch)
    left = ""
    if status.eta_seconds is not None:
        left = f"{words.duration(status.eta_seconds)} left, {words.finish_time(status.eta_seconds)}"
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    share = f"{100 * status.step / status.steps:.1f} %"
    grid.add_row("run", _bar(status.step, status.steps), f"epoch {status.epoch} of {status.epochs}  {share}", left)
    speed = words.speed(status.images_per_second) if status.images_per_second else ""
    grid.add_row(
        "epoch", _bar(in_epoch, status.steps_per_epoch), f"step {in_epoch:,} of {status.steps_per_epoch:,}", speed
    )
    return grid


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=done, complete_style="cyan", finished_style="green")


def numbers(status: Status, train_accuracy: float | None) -> Text:
    """Accuracies, loss and learning rate on one line; what is not known yet is left out."""
    best = f"{words.percent(status.best_accuracy)} (epoch {status.best_epoch})"
    pairs = (
        ("test", status.test_accuracy, words.percent(status.test_accuracy)),
        ("train", train_accuracy, words.percent(train_accuracy)),
        ("best", status.best_accuracy, best),
        ("loss", status.loss, words.number(status.loss)),
        ("lr", status.lr, words.number(status.lr)),
    )
    text = Text(no_wrap=True, overflow="ellipsis")
    for label, known, value in pairs:
        if known is None:
            continue
        text.append(GAP if text else "")
        text.append(f"{label} ", style="dim")
        text.append(value, style="bold")
    return text
