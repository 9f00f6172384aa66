"""The table of runs: a DataTable that changes only the cells that differ and keeps its cursor on its run.

Used by the Runs screen. Which columns there are and what stands in them is `tui.columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import DataTable

from fmnist_tui.runs.store import Run
from fmnist_tui.tui import columns
from fmnist_tui.tui.columns import Cell, Layout
from fmnist_tui.tui.format import Glyphs
from fmnist_tui.tui.widgets.row_table import RowTable

COLORS = ("primary", "success", "warning", "error", "foreground", "foreground-muted", "foreground-disabled")
"""Every colour `columns` names."""


class RunsTable(RowTable):
    """Rows are runs, keyed by their ids."""

    class Filled(Message):
        """The rows are there now that the table has a size: another run may be under the cursor."""

    def __init__(self, glyphs: Glyphs, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._now = now
        self._layout_now: Layout | None = None
        self._wanted: Sequence[Run] = ()
        self._marked: frozenset[str] = frozenset()
        self._apart: Mapping[str, str] = {}
        self._shown: dict[str, Run] = {}
        self._chosen = ""
        """The id of the run to which the cursor was moved: as one types a filter it may pass others for a moment."""
        self._cells: dict[tuple[str, str], Cell] = {}
        self._styles: dict[str, Style] = {}

    @property
    def selected(self) -> Run | None:
        """The run under the cursor."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        key = self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value
        return self._shown.get(key or "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing is offered to be opened where there is nothing."""
        return bool(self._shown) and self.display if action == "select_cursor" else True

    def on_mount(self) -> None:
        """Draw anew in other colours when the theme changes."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._redraw())

    def _redraw(self) -> None:
        self._layout_now = None
        self.show(self._wanted, self._marked, self._apart)

    def on_resize(self, event: events.Resize) -> None:
        """Choose the columns anew where another set fits; the first time, draw what was to be shown before."""
        self.show(self._wanted, self._marked, self._apart)
        self.post_message(self.Filled())

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Somebody has moved the cursor: what is shown anew (`show`) says nothing."""
        self._chosen = event.row_key.value or ""

    def show(
        self, runs: Sequence[Run], marked: frozenset[str] = frozenset(), apart: Mapping[str, str] | None = None
    ) -> None:
        """Show these runs in this order; the cursor stays on its run, or where it was until that is there again.

        The names of the `marked` (ids) bear a sign; `apart` says by id what tells a run from others of its name.
        """
        self._apart = apart or {}
        self._wanted = runs
        changed, self._marked = self._marked ^ marked, marked
        if not runs:
            self.clear()
            self._shown, self._cells = {}, {}
        if not self.size.width:
            return
        layout = self._fitting(runs)
        same_rows = [run.id for run in runs] == list(self._shown)
        if layout == self._layout_now and same_rows:
            self._update(runs, changed)
            return
        selected, row, top = self.selected, self.cursor_row, self.scroll_y
        with self.app.batch_update(), self.prevent(DataTable.RowHighlighted):
            if layout != self._layout_now:
                self._set_columns(layout)
            else:
                self.clear()
            self._shown, self._cells = {}, {}
            for run in runs:
                self._shown[run.id] = run
                self.add_row(*[self._cell(run, column.key) for column, _ in layout.columns], key=run.id)
            for run_id in (self._chosen, selected.id if selected else ""):
                if run_id in self._shown:
                    row = list(self._shown).index(run_id)
                    break
            self.move_cursor(row=min(row, max(0, len(runs) - 1)), scroll=False)
            self.scroll_to(y=top, animate=False)
        self.call_after_refresh(self._scroll_cursor_into_view)

    def _fitting(self, runs: Sequence[Run]) -> Layout:
        """The columns that fit the table's width, by what these runs are called there."""
        signs = {run_id: len(self._glyphs.mark) + 1 for run_id in self._marked}
        lengths = {run.id: len(columns.title(run, self._apart.get(run.id, ""))) + signs.get(run.id, 0) for run in runs}
        longest_apart = max((length for run_id, length in lengths.items() if self._apart.get(run_id)), default=0)
        longest = max(lengths.values(), default=0)
        return columns.choose(self.size.width, longest, columns.devices_differ(runs), longest_apart)

    def _set_columns(self, layout: Layout) -> None:
        self.clear(columns=True)
        self._layout_now = layout
        self._styles = {name: self.theme_style(name) for name in COLORS}
        for column, width in layout.columns:
            label = column.title.rjust(width) if column.align == "right" else column.title
            self.add_column(
                Text(label, style=self._styles["foreground-muted"]), width=width + layout.gap, key=column.key
            )

    def _update(self, runs: Sequence[Run], changed: frozenset[str]) -> None:
        """Replace the cells that differ; runs that are the same object and not at work can't have any.

        Those whose mark `changed` can.
        """
        assert self._layout_now is not None
        for run in runs:
            if self._shown[run.id] is run and not run.state.alive and run.id not in changed:
                continue
            self._shown[run.id] = run
            for column, _ in self._layout_now.columns:
                before = self._cells.get((run.id, column.key))
                text = self._cell(run, column.key)
                if self._cells[run.id, column.key] != before:
                    self.update_cell(run.id, column.key, text)

    def _cell(self, run: Run, key: str) -> Text:
        """A cell as the table draws it; remembered, to be compared with the next."""
        assert self._layout_now is not None
        column, width = next(item for item in self._layout_now.columns if item[0].key == key)
        apart = self._apart.get(run.id, "")
        if key == "name" and run.id in self._marked:
            name = columns.cell(column, width - 2, run, self._now(), self._glyphs, apart)
            made = Cell(((f"{self._glyphs.mark} ", "primary"), *name.pieces))
        else:
            made = columns.cell(column, width, run, self._now(), self._glyphs, apart)
        self._cells[run.id, key] = made
        return Text.assemble(
            *[(text, self._styles[color or "foreground"]) for text, color in made.pieces],
            no_wrap=True,
            overflow="ellipsis",
        )
