"""What the Runs screen says about the run under the cursor: its state in words, its whole error, what to press.

`describe` is a pure function; the widget only draws it.
"""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from fmnist_tui.runs.starting import at_step_limit
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import columns
from fmnist_tui.tui import format as words
from fmnist_tui.tui.format import Glyphs
from fmnist_tui.tui.remedies import APP, BEST, no_checkpoint_is_left, only_best_is_left


def describe(run: Run, now: datetime, glyphs: Glyphs) -> list[tuple[str, str]]:
    """Lines about a run, each with the name of a theme colour: what went wrong, the facts, what to press."""
    if run.problem:
        keys = "r goes on with it, l shows" if run.mendable and not run.state.alive else "l shows"
        return [(run.problem, "error"), (f"{keys} the worker's log, d deletes the run", "foreground-muted")]
    status = run.status
    if status is None:
        return []
    lines: list[tuple[str, str]] = []
    if run.state is State.FAILED:
        lines.append((status.told(APP) or "It failed without saying why; see the log.", "error"))
    if run.state is State.LOST:
        heard = words.moment(status.heartbeat, now)
        cause = "killed, out of memory, a full disk, or the machine went down"
        lines.append((f"Its worker is gone without a word ({cause}); last heard of {heard}.", "warning"))
    if run.earlier_problem:
        lines.append((run.earlier_problem, "warning"))
    dot = f" {glyphs.dot} "
    lines.append((dot.join(fact for fact in _facts(run, status, now, glyphs) if fact), ""))
    if run.comment:
        lines.append((f"# {run.comment}", "accent"))
    lines.append((_what_to_press(run), "foreground-muted"))
    return lines


def _facts(run: Run, status: Status, now: datetime, glyphs: Glyphs) -> list[str]:
    device = dot_join(status.device_name, f"({status.device})") if status.device_name else status.device
    epochs = words.epochs_of(status)
    left = columns.time_text(run, now, glyphs)
    if run.state is State.QUEUED:
        return [f"queued, {words.queued(status)}", f"starts {left}" if left != glyphs.missing else "", _seed(run)]
    if run.state.alive:
        return [
            f"{run.state}" + (f", {status.phase}" if status.phase else ""),
            epochs if status.epoch else "",
            _accuracies(status),
            f"{words.speed(status.images_per_second)} img/s" if status.images_per_second else "",
            left if left != glyphs.missing else "",
            device,
            f"beside {status.beside}" if status.beside else "",
            _seed(run),
        ]
    return [
        "lost" if run.state is State.LOST else dot_join(str(run.state), words.moment(status.ended, now, "")),
        epochs,
        f"{words.duration(status.active_seconds)} at work" if status.active_seconds else "",
        _accuracies(status),
        device,
        _seed(run),
    ]


def _seed(run: Run) -> str:
    """Of a run that has a group: the runs of a sweep have their swept values in their names, not their seeds."""
    return f"seed {run.config.seed}" if run.config and run.config.group else ""


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


def _what_to_press(run: Run) -> str:
    state = run.state
    if state is State.QUEUED and run.status is not None and run.status.job is not None:
        return "Slurm starts it; s cancels its job"
    if state is State.QUEUED:
        return "it starts by itself; + and - move it, s starts it now or takes it out"
    if state.alive:
        return "enter shows its curves, s stops it, e changes how long it trains"
    if state is State.FINISHED and (at_step_limit(run) or no_checkpoint_is_left(run)):
        return "enter shows its curves, C starts one like it"
    if state is State.FINISHED:
        return "enter shows its curves, r trains for more epochs, C starts one like it"
    if only_best_is_left(run):
        return f"{BEST}; l shows the worker's log, C starts one like it"
    if no_checkpoint_is_left(run):
        return "it has no checkpoint to go on from; l shows the worker's log, C starts one like it"
    again = "resumes it from its last checkpoint" if run.directory.has_checkpoint() else "starts it again"
    return f"r {again}; l shows the worker's log, C starts one like it"


class TitledRule(Widget):
    """A thin line across the screen with a title at its left and facts at its right: of `right` the first that fits."""

    DEFAULT_CSS = """
    TitledRule { height: 1; width: 100%; }
    """
    left: reactive[str] = reactive("")
    right: reactive[tuple[str, ...]] = reactive(())

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._line = glyphs.bar_rest

    def render(self) -> Content:
        """The line; the facts give way first."""
        width = self.size.width
        left = words.shorten(self.left, max(0, width - 4), "~")
        fact = next((fact for fact in self.right if len(left) + len(fact) + 8 <= width), "")
        right = f" {fact} " if fact else ""
        rest = max(0, width - len(left) - len(right) - 4)
        return Content.assemble(
            (f"{self._line} ", "$foreground 25%"),
            (left, "bold"),
            (" " + self._line * rest, "$foreground 25%"),
            (right, "$foreground-muted"),
            (self._line, "$foreground 25%"),
        )


class RunDetail(Vertical):
    """The panel under the table: a rule that names the run and counts all, and what there is to say."""

    DEFAULT_CSS = """
    RunDetail { height: auto; max-height: 40%; }
    RunDetail VerticalScroll { height: auto; max-height: 100%; padding: 0 1; scrollbar-size-vertical: 1; }
    RunDetail.-short { max-height: 2; }
    """

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """Rule and text."""
        yield TitledRule(self._glyphs)
        with VerticalScroll(can_focus=False):
            yield Static(id="detail-text")

    def show(self, run: Run | None, now: datetime, counts: tuple[str, ...]) -> None:
        """Describe this run, or nothing; the first of `counts` that fits stands at the rule's right."""
        rule = self.query_one(TitledRule)
        rule.left, rule.right = run.id if run else "", counts
        lines = describe(run, now, self._glyphs) if run else []
        parts: list[tuple[str, str]] = []
        for text, color in lines:
            parts.append(("\n" if parts else "", ""))
            parts.append((text, f"${color}" if color else ""))
        self.query_one("#detail-text", Static).update(Content.assemble(*parts))
