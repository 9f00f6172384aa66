"""The form of a configuration, made from the Pydantic models: a row a field, grouped by section.

The New run screen shows it. Labels, inputs, units, bounds and help come from `fields.fields_of`; what was
typed lives in a `Draft`. A family's rows are made when it is first chosen and then hidden and shown, so nothing
is rebuilt (and no focus lost) while one types.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from fmnist_tui.config import MODEL_KINDS, SECTIONS, RunConfig
from fmnist_tui.fields import FieldSpec, fields_of
from fmnist_tui.tui.draft import Draft, Raw, input_kind
from fmnist_tui.tui.widgets.choice_row import ChoiceRow
from fmnist_tui.tui.widgets.field_row import FieldRow, TextRow, ToggleRow, hints_of


class ConfigForm(VerticalScroll, can_focus=False):
    """Every field of a RunConfig, for the family the draft has chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Next field", show=False),
        Binding("up", "move(-1)", "Previous field", show=False),
    ]
    DEFAULT_CSS = """
    ConfigForm { height: 1fr; scrollbar-size-vertical: 1; }
    ConfigForm .section-title { height: 1; margin-top: 1; padding-left: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    ConfigForm .section-title.-first { margin-top: 0; }
    """

    class Changed(Message):
        """The draft changed by the user's hand."""

    class FieldFocused(Message):
        """Another field has the focus."""

        def __init__(self, spec: FieldSpec) -> None:
            self.spec = spec
            super().__init__()

    def __init__(self, draft: Draft, *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.draft = draft
        self.ascii_only = ascii_only
        self._rows: dict[tuple[str, str], FieldRow] = {}
        self._shown_kind = ""
        self._last_key = "name"
        """The field that had the focus last."""

    def compose(self) -> ComposeResult:
        """Title and rows of each section, for the family chosen at first."""
        shared = fields_of(self.draft.kind)
        for section in ("", *SECTIONS):
            yield Static(section_title(section), classes="section-title" + ("" if section else " -first"))
            for spec in shared:
                if spec.key.rpartition(".")[0] == section and (section != "model" or spec.key == "model.kind"):
                    yield self._row("", spec)
            if section == "model":
                yield from self._family_rows()
        self.refresh_marks()

    def _family_rows(self) -> list[FieldRow]:
        """New rows for the fields that only the chosen family has."""
        kind = self._shown_kind = self.draft.kind
        own = (spec for spec in fields_of(kind) if spec.key.startswith("model.") and spec.key != "model.kind")
        return [self._row(kind, spec) for spec in own]

    def _row(self, kind: str, spec: FieldSpec) -> FieldRow:
        row = make_row(spec, kind, self.draft.raw(spec.key, kind or None), self.ascii_only)
        self._rows[kind, spec.key] = row
        return row

    def row(self, key: str) -> FieldRow:
        """The row of a field of the chosen family."""
        return self._rows.get(("", key)) or self._rows[self.draft.kind, key]

    @property
    def rows(self) -> list[FieldRow]:
        """The rows of the chosen family, from top to bottom."""
        return [self.row(key) for key in self.draft.specs]

    def load(self, draft: Draft) -> None:
        """Show another draft, or the same after it was changed otherwise than by typing."""
        self.draft = draft
        for (kind, key), row in self._rows.items():
            row.put(draft.raw(key, kind or None))
        self.refresh_marks()

    def refresh_marks(self) -> None:
        """Show the chosen family's rows, and on each what is changed or wrong."""
        if self._shown_kind != self.draft.kind:
            self._show_family()
        involved = self.draft.involved
        for row in self.rows:
            error = self.draft.field_errors.get(row.key, "")
            row.mark(self.draft.changed(row.key), error, row.key in involved)

    def _show_family(self) -> None:
        """The chosen family's rows in the place of another's."""
        kind = self._shown_kind = self.draft.kind
        if not any(of == kind for of, _ in self._rows):
            self.mount(*self._family_rows(), after=self._rows["", "model.kind"])
        had_focus = self.has_focus_within
        for (of, _), row in self._rows.items():
            row.display = of in ("", kind)
        if had_focus and not self.row(self.last_key).has_focus_within:
            self.focus_field(self.last_key)  # the one that had it is hidden now

    @property
    def focused_key(self) -> str:
        """Key of the field that has the focus, '' where none has."""
        return next((row.key for row in self.rows if row.has_focus or row.has_focus_within), "")

    @property
    def last_key(self) -> str:
        """Key of the field that had the focus last; of one that another family has, the choice of families."""
        return self._last_key if self._last_key in self.draft.specs else "model.kind"

    def focus_field(self, key: str) -> None:
        """Put the focus on a field, and the field into view at once: a scroll that glides costs ten redraws."""
        row = self.row(key)
        row.target.focus(scroll_visible=False)
        self.scroll_to_widget(row, animate=False)

    def on_resize(self) -> None:
        """An error line above the form makes it lower."""
        self._keep_in_view()

    def _keep_in_view(self) -> None:
        """Scroll to the field with the focus and all that is said of it, once it has been laid out."""
        if self.focused_key:
            row = self.row(self.focused_key)
            self.call_after_refresh(lambda: self.scroll_to_widget(row, animate=False))

    def action_move(self, by: int) -> None:
        """The focus to the field below or above; it stays at the ends."""
        keys = [row.key for row in self.rows]
        if self.focused_key:
            at = keys.index(self.focused_key) + by
            self.focus_field(keys[max(0, min(at, len(keys) - 1))])

    def action_page_down(self) -> None:
        """The focus a page further, not the view alone: the help is of the field that has it."""
        self._page(1)

    def action_page_up(self) -> None:
        """The focus a page back."""
        self._page(-1)

    def _page(self, by: int) -> None:
        wanted = self.row(self.last_key).virtual_region.y + by * self.size.height
        self.focus_field(min(self.rows, key=lambda row: abs(row.virtual_region.y - wanted)).key)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        """Enter goes on to the next field."""
        event.stop()
        self.action_move(1)

    @on(FieldRow.Edited)
    def _edited(self, event: FieldRow.Edited) -> None:
        event.stop()
        self._take(event.row, event.raw)

    def take_in(self) -> None:
        """Take what stands in the field with the focus, for a key that does something with the draft.

        It comes before the field's own word of what was typed at once with it, as over a slow line.
        """
        for row in self.rows:
            if row.key == self.focused_key:
                self._take(row, row.raw)

    def _take(self, row: FieldRow, raw: Raw) -> None:
        if row.family in ("", self.draft.kind) and self.draft.edit(row.key, raw):
            self.refresh_marks()
            self._keep_in_view()
            self.post_message(self.Changed())

    @on(FieldRow.Focused)
    def _focused(self, event: FieldRow.Focused) -> None:
        event.stop()
        self._last_key = event.row.key
        self.post_message(self.FieldFocused(event.row.spec))


def make_row(spec: FieldSpec, family: str, raw: Raw, ascii_only: bool) -> FieldRow:
    """The row that suits the field's type."""
    kinds: dict[str, type[TextRow | ToggleRow | ChoiceRow]] = {"switch": ToggleRow, "choice": ChoiceRow}
    return kinds.get(input_kind(spec), TextRow)(spec, family, raw, ascii_only)


def section_title(section: str) -> Content:
    """A section's name, and what it is about from its docstring."""
    if not section:
        return Content.assemble(("Run", "bold $primary"), ("  What it is called, and its seed.", "$foreground-muted"))
    model = None if section == "model" else RunConfig.model_fields[section].annotation
    about = (model.__doc__ or "") if model else "The network."
    return Content.assemble((section.title(), "bold $primary"), (f"  {about}", "$foreground-muted"))


def help_of(spec: FieldSpec, draft: Draft, ascii_only: bool = False) -> Content:
    """What a field means, its bounds and the preset's value, for the help line."""
    text = spec.help
    if spec.key == "model.kind":
        text = MODEL_KINDS[draft.kind].__doc__ or ""
    preset = "" if spec.key == "description" else f"preset: {draft.base_text(spec.key)}"
    facts = [fact for fact in (hints_of(spec, ascii_only)[0], preset) if fact]
    in_brackets = (f"({'; '.join(facts)})", "$foreground-muted") if facts else ""
    return Content.assemble((spec.key, "bold $primary"), f"  {text}  ", in_brackets)
