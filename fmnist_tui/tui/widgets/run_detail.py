"""What the Runs screen says about the run under the cursor: its state in words, its whole error, what to press.

`describe` is a pure function; the widget only draws it.
"""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from fmnist_tui.runs.records import State, Status
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import columns
from fmnist_tui.tui import format as words
from fmnist_tui.tui.format import Glyphs


def describe(run: Run, now: datetime, glyphs: Glyphs) -> list[tuple[str, str]]:
    """Lines about a run, each with the name of a theme colour: facts, then what went wrong, then what to press."""
    if run.problem:
        return [(run.problem, "error"), ("l shows the worker's log, d deletes the run", "foreground-muted")]
    status = run.status
    if status is None:
        return []
    dot = f" {glyphs.dot} "
    lines = [(dot.join(fact for fact in _facts(run, status, now, glyphs) if fact), "")]
    if run.state is State.FAILED:
        lines.append((status.error or "It failed without saying why; see the log.", "error"))
    if run.state is State.LOST:
        heard = words.moment(status.heartbeat, now)
        lines.append((f"Its worker is gone without a word; last heard of {heard}. What its last checkpoint holds is safe.", "warning"))
    lines.append((_what_to_press(run.state), "foreground-muted"))
    return lines


def _facts(run: Run, status: Status, now: datetime, glyphs: Glyphs) -> list[str]:
    device = dot_join(status.device_name, f"({status.device})") if status.device_name else status.device
    epochs = f"epoch {status.epoch} of {status.epochs}"
    if run.state.alive or run.state is State.QUEUED:
        left = words.seconds_left(run, now)
        return [
            f"{run.state}" + (f", {status.phase}" if status.phase else ""),
            epochs if status.epoch else "",
            _accuracies(status),
            f"{words.speed(status.images_per_second)} img/s" if status.images_per_second else "",
            columns.time_text(run, now, glyphs) if left is not None else "",
            device,
        ]
    ended = words.moment(status.ended, now) if status.ended else ""
    return [
        f"{run.state} {ended}".strip() if run.state is not State.LOST else "lost",
        epochs,
        f"{words.duration(status.active_seconds)} at work" if status.active_seconds else "",
        _accuracies(status),
        device,
    ]


def dot_join(*parts: str) -> str:
    """The parts that are not empty, with a space between."""
    return " ".join(part for part in parts if part)


def _accuracies(status: Status) -> str:
    if status.test_accuracy is None:
        return ""
    best = ""
    if status.best_accuracy is not None:
        at = f" in epoch {status.best_epoch}" if status.best_epoch else ""
        best = f", best {status.best_accuracy:.2f} %{at}"
    return f"test {status.test_accuracy:.2f} %{best}"


def _what_to_press(state: State) -> str:
    if state.alive:
        return "enter shows its curves, s stops it, e changes how long it trains"
    if state is State.QUEUED:
        return "it waits for its device; s takes it out of the queue"
    if state is State.FINISHED:
        return "enter shows its curves, r trains for more epochs, c starts one like it"
    return "r resumes it from its last checkpoint, l shows the worker's log, c starts one like it"


class RunDetail(VerticalScroll, can_focus=False):
    """A ruled-off panel under the table."""

    DEFAULT_CSS = """
    RunDetail {
        height: auto;
        max-height: 40%;
        border-top: solid $foreground 20%;
        border-title-color: $foreground;
        border-title-style: bold;
        border-subtitle-color: $foreground-muted;
        padding: 0 1;
        scrollbar-size-vertical: 1;
    }
    RunDetail.-short { max-height: 2; }
    """

    def compose(self) -> ComposeResult:
        """The text inside."""
        yield Static(id="detail-text")

    def show(self, run: Run | None, now: datetime, glyphs: Glyphs) -> None:
        """Describe this run, or nothing."""
        self.border_title = Content(run.id) if run else ""
        lines = describe(run, now, glyphs) if run else []
        parts: list[tuple[str, str]] = []
        for text, color in lines:
            parts.append(("\n" if parts else "", ""))
            parts.append((text, f"${color}" if color else ""))
        self.query_one("#detail-text", Static).update(Content.assemble(*parts))
