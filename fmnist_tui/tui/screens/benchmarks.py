"""The Benchmarks screen: finished runs, grouped as in the report, beside the reference's results; export and copy."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.widgets import DataTable, Static

from fmnist_tui import report
from fmnist_tui.report.rows import GROUPINGS, Benchmarks, Grouping, collect
from fmnist_tui.runs.files import write_output
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import format as words
from fmnist_tui.tui import standings
from fmnist_tui.tui.messages import OpenRun
from fmnist_tui.tui.remedies import told
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.screens.dialogs import ExportDialog
from fmnist_tui.tui.widgets.footer import KeyBar
from fmnist_tui.tui.widgets.header import TopBar
from fmnist_tui.tui.widgets.row_table import RowTable

SHORT = 16
"""On screens lower than this, what was left out has one line."""
ROW_LINES = 3
"""Of what the row under the cursor is."""
SUFFIXES = {".md": "markdown", ".csv": "csv", ".json": "json", ".html": "html"}
"""What an exported file's name says about its format."""


_GROUPED: dict[Grouping, str] = {
    "settings": "a row a configuration",
    "preset": "a row a preset",
    "seed": "a row a preset and seed",
    "device": "a row a preset and device",
}


def _not_read(skipped: Sequence[tuple[str, str]]) -> str:
    """Which runs that have finished are not in the table: the first with the reason, and how many more."""
    if not skipped:
        return ""
    (run_id, why), *others = skipped
    more = f" and {len(others)} more" if others else ""
    return f"Left out: {run_id}{more}: {why}"


class ResultsTable(RowTable):
    """Enter is offered on rows of ours, which open; a reference has no run, nor has a section's title."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", tooltip="open the row's run; of several, the most accurate"),
    ]
    opens: reactive[bool] = reactive(False, bindings=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether there is a run to open."""
        return True if action != "select_cursor" or self.opens else None


class BenchmarksScreen(FeedScreen):
    """One table in sections; read again, in a thread, when another run has finished."""

    HELP = (
        "Finished runs. Those that differ in nothing but the seed share a line: mean ± standard deviation. "
        "'last epoch' is the test accuracy at the end, 'best' the highest over all epochs, which is what the "
        "reference reports; 'best-ref' is the difference in points, where both had the same data and split. "
        "g groups otherwise: all runs of a preset; of a preset and a seed; of a preset and a kind of device. Copy and "
        "export write the table in the grouping shown."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "sort", "Order", tooltip="by the next column (or click a column's title)"),
        Binding("O", "reverse", "Reverse", show=False, tooltip="the other way round"),
        Binding("g", "group", "Group", tooltip="by settings, preset, seed, device"),
        Binding("x", "export", "Export", tooltip="write it to a file: Markdown, CSV, JSON or HTML"),
        Binding("X", "copy", "Copy", tooltip="copy it as Markdown to the terminal's clipboard"),
        Binding("escape", "app.back", "Back"),
    ]
    AUTO_FOCUS = "RowTable"

    def __init__(self, runs_dir: Path, glyphs: words.Glyphs) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._glyphs = glyphs
        self._finished: frozenset[tuple[str, str]] | None = None
        self._benchmarks: Benchmarks | None = None
        self._lines: list[standings.Line] = []
        self._said = ["Reading the results ..."]
        """What the title says, as much of it as fits."""
        self._by: Grouping = "settings"
        self._sort, self._reverse = "last", False

    def compose(self) -> ComposeResult:
        """Bar, a line that counts, the table, what was left out, the row under the cursor, keys."""
        yield TopBar("benchmarks")
        yield Static(id="benchmarks-title", classes="screen-title", markup=False)
        yield ResultsTable()
        yield Static(id="left-out", markup=False)
        yield Static(id="benchmarks-row", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Draw anew in other colours when the theme changes."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show())
        self._tell_title()

    def on_resize(self, event: events.Resize) -> None:
        """Another set of columns may fit; less is said below the table on low screens."""
        self.query_one("#left-out").set_class(event.size.height < SHORT, "-short")
        self.call_after_refresh(self._show)

    def runs_listed(self, runs: list[Run]) -> None:
        """Read the results again where another run has finished, or one is gone."""
        finished = frozenset(
            (run.id, (run.status.ended or "") if run.status else "") for run in runs if run.state is State.FINISHED
        )
        if finished != self._finished:
            self._finished = finished
            self._read()

    @work(thread=True, exclusive=True, group="benchmarks")
    def _read(self) -> None:
        """In a thread: every result of the directory."""
        try:
            found: Benchmarks | str = collect(self._runs_dir)
        except (ValueError, OSError) as error:
            found = told(error)
        self.app.call_from_thread(self._have, found)

    def _have(self, found: Benchmarks | str) -> None:
        if isinstance(found, str):
            self._said = [found]
            self._tell_title()
            return
        self._benchmarks = found
        left_out = self.query_one("#left-out", Static)
        left_out.update(_not_read(found.skipped))
        left_out.display = bool(found.skipped)
        self._arrange()

    def _arrange(self) -> None:
        """Group, sort and say so."""
        found = self._benchmarks
        if found is None:
            return
        self._lines = standings.lines(found.grouped(self._by), self._sort, self._reverse)
        if found.runs:
            column = next(column.title for column in standings.COLUMNS if column.key == self._sort)
            sorted_by = f"by {column}{', reversed' if self._reverse else ''}"
            self._said = [words.count(len(found.runs), "finished run"), _GROUPED[self._by], sorted_by]
        else:
            none = "No result could be read" if found.skipped else "No run has finished yet"
            self._said = [none, "these are the results to beat"]
        self._show()

    def _tell_title(self) -> None:
        """What is shown, as many parts of it as fit whole; never less than the first."""
        said = list(self._said)
        while len(said) > 1 and len("; ".join(said)) > self.size.width - 2:
            said.pop()
        self.query_one("#benchmarks-title", Static).update("; ".join(said))

    def _show(self) -> None:
        self._tell_title()
        table = self.query_one(RowTable)
        width = self.size.width
        if not width or not self._lines:
            return
        row, gap = table.cursor_row, standings.gap_of(width)
        chosen = self._columns()
        muted, sorted_by = self._style("foreground-muted"), self._style("primary") + Style(bold=True)
        with self.app.batch_update():
            table.clear(columns=True)
            for column, cells in chosen:
                title = column.title.rjust(cells) if column.numeric else column.title
                style = sorted_by if column.key == self._sort else muted
                table.add_column(Text(title, style=style), width=cells + gap, key=column.key)
            for line in self._lines:
                table.add_row(*self._cells(line, chosen, gap))
            table.move_cursor(row=min(row or 1, len(self._lines) - 1))
        self._tell_row()

    @on(DataTable.RowHighlighted)
    def _tell_row(self) -> None:
        """Below the table what tells the row under the cursor from others like it."""
        at = self.query_one(RowTable).cursor_row
        here = self._lines[at] if at < len(self._lines) else None
        self.query_one(ResultsTable).opens = bool(here and here.run_id)
        about = "; ".join([*self._without_deviations(here), here.about]) if here and here.about else ""
        placeholder = f" {self._glyphs.ellipsis}"
        lines = textwrap.wrap(about, max(20, self.size.width - 2), max_lines=ROW_LINES, placeholder=placeholder)
        line = self.query_one("#benchmarks-row", Static)
        line.update("\n".join(lines))
        line.display = bool(lines)

    def _without_deviations(self, line: standings.Line) -> Iterable[str]:
        """What a row's columns have no room for: 'best % 94.74 ±0.07'."""
        for column, cells in self._columns():
            text = line.cells.get(column.key, "")
            if len(text) > cells and text != standings.mean(text):
                yield f"{column.title} {text}"

    def _columns(self) -> list[tuple[standings.Column, int]]:
        return standings.choose(self.size.width, self._lines, self._by != "settings")

    def _cells(self, line: standings.Line, chosen: list[tuple[standings.Column, int]], gap: int) -> Iterable[Text]:
        """A line's cells; a section's title runs over all of them."""
        if line.kind == "section":
            room = sum(cells + gap for _, cells in chosen)
            rest = standings.section_title(line.cells["model"], room, self._glyphs.ellipsis)
            for _, cells in chosen:
                yield Text(rest[: cells + gap], style=self._style("primary") + Style(bold=True))
                rest = rest[cells + gap :]
            return
        for column, cells in chosen:
            text = standings.fitting(column, line.cells.get(column.key, ""), cells, self._glyphs.ellipsis)
            name = "foreground-muted" if line.kind == "reference" else "foreground"
            if column.key == "ahead" and line.ahead is not None:
                name = "success" if line.ahead else "warning"
            yield Text(text.rjust(cells) if column.numeric else text, style=self._style(name), no_wrap=True)

    def _style(self, name: str) -> Style:
        return self.query_one(RowTable).theme_style(name)

    @on(DataTable.RowSelected)
    def _opened(self, event: DataTable.RowSelected) -> None:
        line = self._lines[event.cursor_row]
        if line.run_id:
            self.post_message(OpenRun(line.run_id))

    @on(DataTable.HeaderSelected)
    def _title_clicked(self, event: DataTable.HeaderSelected) -> None:
        """Sort by this column; once more turns it round."""
        key = str(event.column_key.value)
        if key in standings.SORT_KEYS:
            self._reverse = key == self._sort and not self._reverse
            self._sort = key
            self._arrange()

    def action_sort(self) -> None:
        """By the next of the columns that are shown."""
        shown = [column.key for column, _ in self._columns()]
        keys = [key for key in shown if key in standings.SORT_KEYS]
        after = keys.index(self._sort) + 1 if self._sort in keys else 0
        self._sort, self._reverse = keys[after % len(keys)], False
        self._arrange()

    def action_reverse(self) -> None:
        """The other way round."""
        self._reverse = not self._reverse
        self._arrange()

    def action_group(self) -> None:
        """The next grouping."""
        names = list(GROUPINGS)
        self._by = names[(names.index(self._by) + 1) % len(names)]
        self._arrange()

    def action_export(self) -> None:
        """Ask for a file's name, then write it."""
        self.app.push_screen(ExportDialog(Path("benchmarks.md"), tuple(SUFFIXES)), self._chosen)

    def _chosen(self, path: Path | None) -> None:
        if path is not None:
            self._export(path)

    @work(thread=True, group="export")
    def _export(self, path: Path) -> None:
        try:
            write_output(path, report.render(self._runs_dir, SUFFIXES[path.suffix], group_by=self._by).encode())
            text, severity = f"Written to {path.absolute()}", "information"
        except (ValueError, OSError) as error:
            text, severity = f"{path} was not written: {told(error)}", "error"
        self.app.call_from_thread(self.app.notify, text, severity=severity, markup=False)

    @work(thread=True, group="export")
    def action_copy(self) -> None:
        """To the clipboard, by the terminal's own escape sequence."""
        try:
            text = report.render(self._runs_dir, "markdown", group_by=self._by)
        except (ValueError, OSError) as error:
            self.app.call_from_thread(self.app.notify, told(error), severity="error", markup=False)
            return
        self.app.call_from_thread(self.app.copy_to_clipboard, text)
        self.app.call_from_thread(
            self.app.notify, "Sent to the terminal's clipboard as Markdown (not every terminal takes it)."
        )
