"""The form of a configuration, made from the Pydantic models: a row a field, grouped by section.

The New run screen shows it. Labels, inputs, units, bounds and help come from `fields.fields_of`; what was
typed lives in a `Draft`. Every family's rows are mounted once and shown in turn, so nothing is rebuilt (and
no focus lost) while one types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select, Static

from fmnist_tui.config import MODEL_KINDS, SECTIONS, RunConfig
from fmnist_tui.fields import FieldSpec, fields_of
from fmnist_tui.tui.draft import Draft, Raw, choices_of, input_kind, takes_none

MAX_TEXT = 200
"""Characters an input takes; no field needs more, and a pasted book is refused."""


class Toggle(Checkbox):
    """On or off in words, so that it reads without colour too."""

    def render(self) -> Content:
        """'[x] on' or '[ ] off'."""
        return Content("[x] on" if self.value else "[ ] off")

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Room for '[ ] off'."""
        return 7


class Choice(Select[str], inherit_bindings=False):
    """A Select that leaves the up and down keys to the form."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "show_overlay", "Choose", show=False)]


def make_input(spec: FieldSpec, raw: Raw) -> Toggle | Choice | Input:
    """The input that suits the field, with what it holds at first."""
    match input_kind(spec):
        case "switch":
            return Toggle(value=bool(raw), compact=True)
        case "choice":
            options = [(choice, choice) for choice in choices_of(spec)]
            return Choice(options, value=str(raw), allow_blank=False, compact=True)
        case kind:
            placeholder = "none" if takes_none(spec) or kind == "list" else ""
            return Input(str(raw), placeholder=placeholder, compact=True, max_length=MAX_TEXT)


def hint_of(spec: FieldSpec, ascii_only: bool) -> str:
    """Unit and bounds beside the input: 'epochs 1 <= x <= 100,000'."""
    bounds = spec.bounds if ascii_only else spec.bounds.replace("<=", "≤")
    words = ", ".join(spec.choices) if input_kind(spec) == "number" else ""
    parts = [spec.unit, " or ".join(part for part in (words, bounds) if part)]
    return " ".join(part for part in parts if part)


class FieldRow(Horizontal):
    """One field: mark and label, input, and beside it the hint or what is wrong."""

    class Edited(Message):
        """Something was typed or chosen."""

        def __init__(self, row: FieldRow, raw: Raw) -> None:
            self.row = row
            self.raw = raw
            super().__init__()

    class Focused(Message):
        """The row's input got the focus."""

        def __init__(self, row: FieldRow) -> None:
            self.row = row
            super().__init__()

    def __init__(self, spec: FieldSpec, family: str, raw: Raw, ascii_only: bool) -> None:
        super().__init__(classes=f"-{input_kind(spec)}")
        self.spec = spec
        self.family = family
        """The model family whose field it is, '' for a field of all."""
        self.input = make_input(spec, raw)
        self._label = spec.key.rpartition(".")[2].replace("_", " ")
        self._hint = hint_of(spec, ascii_only)
        self._said: tuple[bool, str, bool] | None = None

    @property
    def key(self) -> str:
        """The dotted key."""
        return self.spec.key

    @property
    def error(self) -> str:
        """What is shown to be wrong, '' where nothing is."""
        return self._said[1] if self._said else ""

    def compose(self) -> ComposeResult:
        """Label, input, hint."""
        yield Static(f"  {self._label}", classes="label", markup=False)
        yield self.input
        yield Static(self._hint, classes="hint", markup=False)

    def put(self, raw: Raw) -> None:
        """Show a value without saying that it was edited; an input that has it already is left alone."""
        if isinstance(self.input, Toggle):
            with self.input.prevent(Checkbox.Changed):
                self.input.value = bool(raw)
        elif isinstance(self.input, Choice):
            if self.input.value != raw:
                with self.input.prevent(Select.Changed):
                    self.input.value = str(raw)
        elif self.input.value != raw:
            with self.input.prevent(Input.Changed):
                self.input.value = str(raw)

    def mark(self, changed: bool, error: str, involved: bool) -> None:
        """Show whether the value is not the preset's, and what is wrong with it."""
        said = (changed, error, involved)
        if said == self._said or not self.is_mounted:
            return
        self._said = said
        self.set_class(changed, "-changed")
        self.set_class(bool(error), "-error")
        self.set_class(involved, "-involved")
        flag = "!" if error or involved else "*" if changed else " "
        self.query_one(".label", Static).update(f"{flag} {self._label}")
        self.query_one(".hint", Static).update(error or self._hint)

    @on(Input.Changed)
    @on(Checkbox.Changed)
    @on(Select.Changed)
    def _input_changed(self, event: Input.Changed | Checkbox.Changed | Select.Changed) -> None:
        """Pass the edit on; one that is out of date (another value was put there since) is dropped."""
        event.stop()
        if event.value == self.input.value:
            self.post_message(self.Edited(self, cast(Raw, event.value)))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tell whose help to show."""
        self.post_message(self.Focused(self))


class ConfigForm(VerticalScroll, can_focus=False):
    """Every field of a RunConfig, for the family the draft has chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Next field", show=False),
        Binding("up", "move(-1)", "Previous field", show=False),
    ]
    DEFAULT_CSS = """
    ConfigForm { height: 1fr; scrollbar-size-vertical: 1; }
    ConfigForm .section { height: auto; }
    ConfigForm .section-title { height: 1; margin-top: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    ConfigForm .section.-first .section-title { margin-top: 0; }
    FieldRow { height: auto; }
    FieldRow .label { width: 20; color: $foreground; }
    FieldRow .hint {
        width: 1fr; height: auto; padding-left: 1; color: $text-muted;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    FieldRow Input.-textual-compact, FieldRow Choice, FieldRow Toggle.-textual-compact {
        width: 16; background: $boost; padding: 0 1;
    }
    FieldRow Choice { width: 20; }
    FieldRow.-text Input.-textual-compact { width: 1fr; }
    FieldRow.-text .hint { width: auto; padding: 0; }
    FieldRow.-text.-error .hint { width: 1fr; padding-left: 2; }
    FieldRow Toggle, FieldRow Toggle:focus { border: none !important; }
    FieldRow Choice SelectCurrent { background: transparent; padding: 0; }
    FieldRow Input:focus, FieldRow Toggle:focus, FieldRow Choice:focus { background: $primary 30%; }
    FieldRow Choice:focus > SelectCurrent { background-tint: $foreground 0%; }
    FieldRow:focus-within .label { text-style: bold; }
    FieldRow.-changed .label { color: $text-warning; }
    FieldRow.-involved .label { color: $text-error; }
    FieldRow.-error .label, FieldRow.-error .hint { color: $text-error; }
    FieldRow.-error .hint { text-wrap: wrap; }
    ConfigForm.-ascii .arrow { display: none !important; }
    """

    class Changed(Message):
        """The draft changed by the user's hand."""

    class FieldFocused(Message):
        """Another field has the focus."""

        def __init__(self, spec: FieldSpec) -> None:
            self.spec = spec
            super().__init__()

    def __init__(self, draft: Draft, *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id, classes="-ascii" if ascii_only else "")
        self.draft = draft
        self.ascii_only = ascii_only
        self._rows: dict[tuple[str, str], FieldRow] = {}

    def compose(self) -> ComposeResult:
        """A group a section; the model's group holds every family's rows."""
        any_kind = next(iter(MODEL_KINDS))
        shared = fields_of(any_kind)
        yield self._group("", [self._row("", spec) for spec in shared if "." not in spec.key])
        for section in SECTIONS:
            specs = [spec for spec in shared if spec.key.startswith(f"{section}.")]
            if section != "model":
                yield self._group(section, [self._row("", spec) for spec in specs])
                continue
            yield self._group("model", [self._row("", specs[0])])
            for kind in MODEL_KINDS:
                own = [spec for spec in fields_of(kind) if spec.key.startswith("model.") and spec.key != "model.kind"]
                yield Vertical(*(self._row(kind, spec) for spec in own), classes=f"section family -{kind}")

    def _row(self, kind: str, spec: FieldSpec) -> FieldRow:
        row = FieldRow(spec, kind, self.draft.raw(spec.key, kind or None), self.ascii_only)
        self._rows[kind, spec.key] = row
        return row

    def _group(self, section: str, rows: list[FieldRow]) -> Widget:
        title = Static(section_title(section), classes="section-title")
        return Vertical(title, *rows, classes=f"section -{section or 'first'}")

    def on_mount(self) -> None:
        """Fill in the draft."""
        self.load(self.draft)

    def row(self, key: str) -> FieldRow:
        """The row of a field of the chosen family."""
        return self._rows.get(("", key)) or self._rows[self.draft.kind, key]

    def _visible_rows(self) -> Iterator[FieldRow]:
        return (self.row(key) for key in self.draft.specs)

    def load(self, draft: Draft) -> None:
        """Show another draft."""
        self.draft = draft
        for (kind, key), row in self._rows.items():
            row.put(draft.raw(key, kind or None))
        self.refresh_marks()

    def put(self, key: str) -> None:
        """Show what the draft now has for a field (after a reset)."""
        self.row(key).put(self.draft.raw(key))

    def refresh_marks(self) -> None:
        """Show the chosen family's rows, and on each what is changed or wrong."""
        for group in self.query(".family"):
            group.display = group.has_class(f"-{self.draft.kind}")
        involved = self.draft.involved
        for row in self._visible_rows():
            error = self.draft.field_errors.get(row.key, "")
            row.mark(self.draft.changed(row.key), error, row.key in involved)

    @property
    def focused_key(self) -> str:
        """Key of the field that has the focus, '' where none has."""
        return next((row.key for row in self._visible_rows() if row.input.has_focus_within), "")

    def focus_field(self, key: str) -> None:
        """Put the focus on a field."""
        self.row(key).input.focus()

    def action_move(self, by: int) -> None:
        """The focus to the field below or above; it stays at the ends."""
        rows = list(self._visible_rows())
        at = next((index for index, row in enumerate(rows) if row.input.has_focus_within), None)
        if at is not None and 0 <= at + by < len(rows):
            rows[at + by].input.focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        """Enter goes on to the next field."""
        event.stop()
        self.action_move(1)

    @on(FieldRow.Edited)
    def _edited(self, event: FieldRow.Edited) -> None:
        event.stop()
        if event.row.family in ("", self.draft.kind) and self.draft.edit(event.row.key, event.raw):
            if event.row.key == "model.kind":
                for key in self.draft.specs:
                    self.put(key)
            self.refresh_marks()
            self.post_message(self.Changed())

    @on(FieldRow.Focused)
    def _focused(self, event: FieldRow.Focused) -> None:
        event.stop()
        self.post_message(self.FieldFocused(self.draft.specs[event.row.key]))


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
    facts = [fact for fact in (hint_of(spec, ascii_only), preset) if fact]
    in_brackets = (f"({'; '.join(facts)})", "$foreground-muted") if facts else ""
    return Content.assemble((spec.key, "bold $primary"), f"  {text}  ", in_brackets)
