"""The form: a row for every field, inputs that suit, marks and errors beside the fields, keys and mouse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.pilot import Pilot

from fmnist_tui.config import MODEL_KINDS
from fmnist_tui.fields import fields_of, with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.tui.draft import Draft, input_kind
from fmnist_tui.tui.widgets.choice_row import ChoiceMenu, ChoiceRow
from fmnist_tui.tui.widgets.field_row import INPUT_WIDTH, LABEL_WIDTH, TextRow, ToggleRow, hints_of
from fmnist_tui.tui.widgets.form import ConfigForm, help_of
from tests.tui.synthetic import drawn
from tests.tui.typing_helpers import until


class Host(App[None]):
    """A form and what it says."""

    def __init__(self, draft: Draft, ascii_only: bool = False) -> None:
        super().__init__()
        self.animation_level = "none"
        self.form = ConfigForm(draft, ascii_only=ascii_only)
        self.changes = 0
        self.helped: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.form

    def on_config_form_changed(self) -> None:
        self.changes += 1

    def on_config_form_field_focused(self, event: ConfigForm.FieldFocused) -> None:
        self.helped.append(event.spec.key)


@asynccontextmanager
async def form(
    draft: Draft, width: int = 100, height: int = 90, **options: Any
) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    app = Host(draft, **options)
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.pause()
        yield app, pilot


async def focus(pilot: Pilot[None], app: Host, key: str) -> None:
    app.form.focus_field(key)
    await until(pilot, lambda: app.form.focused_key == key)


def line_of(app: Host, label: str) -> str:
    return next(line for line in drawn(app) if line[2:].startswith(f"{label} "))


@pytest.mark.parametrize("kind", MODEL_KINDS)
async def test_every_field_of_the_family_has_a_row_with_its_value_unit_and_bounds(kind: str) -> None:
    draft = Draft(with_changes(load_preset("wrn"), {"model.kind": kind}))
    async with form(draft) as (app, _):
        rows = app.form.rows
        assert [row.key for row in rows] == [spec.key for spec in fields_of(kind)]
        lines = drawn(app)
        for row in rows:
            line = lines[row.region.y]
            assert line[2:].startswith(row.key.rpartition(".")[2].replace("_", " "))
            raw = draft.raw(row.key)
            shown = ("[x] on" if raw else "[ ] off") if isinstance(raw, bool) else raw or "none"
            assert shown in line, row.key
            assert row.spec.unit in line
            assert row.spec.bounds.replace("<=", "≤") in line
        assert all(row.size.height == 1 for row in rows)


async def test_inputs_suit_their_fields() -> None:
    async with form(Draft(load_preset("wrn"))) as (app, _):
        assert isinstance(app.form.row("optimizer.nesterov"), ToggleRow)
        assert isinstance(app.form.row("schedule.kind"), ChoiceRow)
        assert isinstance(app.form.row("training.micro_batch"), TextRow)
        assert isinstance(app.form.row("schedule.milestones"), TextRow)


async def test_an_error_appears_beside_its_field_as_one_types_and_the_cursor_stays() -> None:
    draft = Draft(load_preset("wrn"))
    async with form(draft) as (app, pilot):
        await focus(pilot, app, "model.depth")
        row = app.form.row("model.depth")
        assert isinstance(row, TextRow)
        await pilot.press("end", "left", "5")
        assert row.input.value == "258"
        assert row.input.cursor_position == 2
        assert "! depth" in drawn(app)[row.region.y]
        assert "must be at most 202" in drawn(app)[row.region.y]
        await pilot.press("backspace")
        assert (row.input.value, row.input.cursor_position) == ("28", 1)
        assert row.input.has_focus
        assert "layers 10 ≤ x ≤ 202" in drawn(app)[row.region.y]
        assert app.changes == 2


async def test_a_long_error_takes_the_lines_it_needs_and_gives_them_back() -> None:
    async with form(Draft(load_preset("wrn")), width=60) as (app, pilot):
        await focus(pilot, app, "model.depth")
        row, below = app.form.row("model.depth"), app.form.row("model.widen_factor")
        before = below.region.y
        await pilot.press("2", "9")
        await until(pilot, lambda: row.size.height > 1)
        text = " ".join(
            line[LABEL_WIDTH + INPUT_WIDTH :].strip() for line in drawn(app)[row.region.y : row.region.bottom]
        )
        assert text == "a Wide ResNet's depth is 6n + 4; the nearest is 28"
        await pilot.press("backspace", "8")
        await until(pilot, lambda: below.region.y == before)


@pytest.mark.parametrize(("width", "of_depth"), [(40, ""), (50, "10 ≤ x ≤ 202"), (60, "layers 10 ≤ x ≤ 202")])
async def test_a_bound_is_shown_whole_or_not_at_all(width: int, of_depth: str) -> None:
    async with form(Draft(load_preset("wrn")), width=width) as (app, _):
        lines, beside = drawn(app), {}
        for row in app.form.rows:
            beside[row.key] = lines[row.region.y][LABEL_WIDTH + row.input_width : row.region.right].strip()
            assert input_kind(row.spec) == "text" or beside[row.key] in ("", *hints_of(row.spec, False)), row.key
        assert beside["model.depth"] == of_depth


async def test_a_value_that_is_not_the_presets_is_marked() -> None:
    async with form(Draft(load_preset("wrn"))) as (app, pilot):
        await focus(pilot, app, "optimizer.lr")
        assert line_of(app, "lr").startswith("  ")
        await pilot.press(*"0.5")
        assert line_of(app, "lr").startswith("* ")
        await pilot.press(*"backspace backspace backspace 1 e - 1".replace("-", "minus").split())
        assert line_of(app, "lr").startswith("  "), "the same value in another spelling"


async def test_toggles_by_key_and_mouse() -> None:
    draft = Draft(load_preset("wrn"))
    async with form(draft) as (app, pilot):
        await focus(pilot, app, "optimizer.nesterov")
        await pilot.press("space")
        assert draft.raw("optimizer.nesterov") is False
        await pilot.press("enter")
        assert draft.raw("optimizer.nesterov") is True
        await pilot.click(app.form.row("optimizer.nesterov"), offset=Offset(25, 0))
        assert draft.raw("optimizer.nesterov") is False
        await pilot.click(app.form.row("optimizer.nesterov"), offset=Offset(5, 0))
        assert draft.raw("optimizer.nesterov") is False, "a click on the label only goes there"


async def test_choices_by_arrow_by_list_and_by_mouse() -> None:
    draft = Draft(load_preset("shake-shake-64"))
    async with form(draft) as (app, pilot):
        await focus(pilot, app, "training.precision")
        await pilot.press("left")
        assert draft.raw("training.precision") == "auto", "it stays at the ends"
        await pilot.press("right", "right")
        assert draft.raw("training.precision") == "bf16"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, ChoiceMenu))
        await pilot.press("down", "enter")
        assert draft.raw("training.precision") == "fp16"
        await until(pilot, lambda: app.form.focused_key == "training.precision" and not app.query(ChoiceMenu))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, ChoiceMenu))
        await pilot.press("up", "escape")
        await until(pilot, lambda: not app.query(ChoiceMenu))
        assert draft.raw("training.precision") == "fp16", "escape chooses nothing"
        assert app.form.focused_key == "training.precision"
        await pilot.click(app.form.row("schedule.kind"), offset=Offset(25, 0))
        await until(pilot, lambda: isinstance(app.focused, ChoiceMenu))
        await pilot.click(ChoiceMenu, offset=Offset(3, app.form.row("schedule.kind").spec.choices.index("constant")))
        assert draft.raw("schedule.kind") == "constant"


async def test_the_list_of_choices_closes_when_the_focus_goes_elsewhere() -> None:
    async with form(Draft(load_preset("wrn"))) as (app, pilot):
        await focus(pilot, app, "data.source")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, ChoiceMenu))
        app.form.focus_field("seed")
        await until(pilot, lambda: not app.query(ChoiceMenu))
        assert app.form.focused_key == "seed"


async def test_another_family_brings_its_fields_and_its_values() -> None:
    draft = Draft(load_preset("wrn"))
    async with form(draft) as (app, pilot):
        await focus(pilot, app, "model.kind")
        await pilot.press("right")
        await pilot.pause()
        assert draft.kind == "densenet"
        assert not any("widen factor" in line for line in drawn(app))
        assert "100" in line_of(app, "depth")
        assert "[x] on" in line_of(app, "bottleneck")
        assert app.form.focused_key == "model.kind"
        await pilot.press("down", "4", "0")
        assert draft.raw("model.depth") == "40"
        await pilot.press("up", "left")
        await pilot.pause()
        assert "28" in line_of(app, "depth")


async def test_up_down_enter_and_tab_go_from_field_to_field() -> None:
    async with form(Draft(load_preset("wrn"))) as (app, pilot):
        await focus(pilot, app, "name")
        await pilot.press("up")
        assert app.form.focused_key == "name"
        await pilot.press("down", "enter", "tab", "down", "down")
        assert app.form.focused_key == "model.widen_factor"
        await pilot.press("shift+tab")
        assert app.form.focused_key == "model.depth"
        await focus(pilot, app, fields_of("wide_resnet")[-2].key)
        await pilot.press("down", "down")
        assert app.form.focused_key == fields_of("wide_resnet")[-1].key
        assert app.helped[:3] == ["name", "description", "seed"]


async def test_loading_another_draft_says_nothing_of_edits() -> None:
    async with form(Draft(load_preset("wrn"))) as (app, pilot):
        for name in ("densenet", "dpn", "shake-shake-64", "quick", "wrn"):
            draft = Draft(load_preset(name))
            app.form.load(draft)
            await pilot.pause()
            assert draft.config == load_preset(name)
            assert app.form.row("training.epochs").raw == str(load_preset(name).training.epochs)
        assert app.changes == 0


async def test_a_long_text_is_read_from_its_beginning() -> None:
    draft = Draft(load_preset("wrn"))
    draft.edit("description", "Beginning " + "x" * 150)
    async with form(draft, width=60) as (app, pilot):
        await until(pilot, lambda: "Beginning" in line_of(app, "description"))


async def test_a_pasted_book_is_refused() -> None:
    async with form(Draft(load_preset("wrn"))) as (app, pilot):
        await focus(pilot, app, "training.epochs")
        row = app.form.row("training.epochs")
        assert isinstance(row, TextRow)
        row.input.insert_text_at_cursor("9" * 5000)
        await pilot.pause()
        assert row.input.value == "200"


async def test_ascii() -> None:
    async with form(Draft(load_preset("wrn")), ascii_only=True) as (app, _):
        text = "\n".join(line.rstrip() for line in drawn(app))
        assert "layers 10 <= x <= 202" in text
        rows = text.splitlines()[: app.form.rows[-1].region.y + 1]
        assert all(line[:70].isascii() for line in rows)


def test_help_says_what_it_is_its_bounds_and_the_presets_value() -> None:
    draft = Draft(load_preset("wrn"))
    text = help_of(draft.specs["training.epochs"], draft).plain
    assert text == "training.epochs  Passes over the training images.  (epochs 1 ≤ x ≤ 100,000; preset: 200)"
    for kind, model in MODEL_KINDS.items():
        draft.edit("model.kind", kind)
        assert (model.__doc__ or "") in help_of(draft.specs["model.kind"], draft).plain
