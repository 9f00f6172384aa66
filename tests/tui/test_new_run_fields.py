"""Every field of every family in the New run screen: changed as a user would, it reaches the run."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Static

from fmnist_tui.config import MODEL_KINDS, RunConfig
from fmnist_tui.fields import fields_of, flatten, with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.tui.draft import from_raw, input_kind, takes_none
from fmnist_tui.tui.screens.new_run import NewRunScreen
from fmnist_tui.tui.screens.save_preset import SavePresetDialog
from fmnist_tui.tui.widgets.form import ConfigForm
from tests.tui.new_run_host import new_run, next_family, type_into
from tests.tui.typing_helpers import until

pytestmark = pytest.mark.usefixtures("usual_machine")

SPECIAL = {
    "name": "mine",
    "description": "a try",
    "seed": "7",
    "model.depth": "16",
    "model.blocks": "2, 2, 2",
    "model.filters": "16, 32, 64",
    "model.growth_rate": "4, 8, 8",
    "model.widths": "8, 16",
    "model.base_channels": "8",
    "model.whitening_filters": "4",
    "model.whitening_padding": "0",
    "augment.low_resolution": "16",
    "schedule.milestones": "3, 5",
    "schedule.min_lr": ".001",
    "schedule.warmup_epochs": "1",
    "training.micro_batch": "auto",
    "training.threads": "3",
    "training.epochs": "9",
}
"""What to type where half or a third of the preset's value is not valid, or to have another spelling."""


def value_of(config: RunConfig, key: str) -> Any:
    """The configuration's value of a field."""
    section, _, name = key.rpartition(".")
    return getattr(getattr(config, section) if section else config, name)


def another_value(config: RunConfig, key: str) -> str:
    """Text of a valid value of a number that is not the configuration's."""
    value = value_of(config, key)
    if value is None:
        return "50"
    if isinstance(value, int):
        return str(value + 1 if value < 3 else value // 2)
    return str(value / 2) if value else "0.25"


async def change(pilot: Pilot[None], screen: NewRunScreen, config: RunConfig, key: str) -> None:
    """Change a field with the keyboard as a person would."""
    spec = screen.draft.specs[key]
    kind, before = input_kind(spec), screen.draft.raw(key)
    if kind == "switch":
        await type_into(pilot, screen, key, "space")
    elif kind == "choice":
        at = spec.choices.index(str(screen.draft.raw(key)))
        await type_into(pilot, screen, key, "right" if at + 1 < len(spec.choices) else "left")
    else:
        depth = {"densenet": "40", "shake_shake": "14"}.get(config.model.kind, "16")
        text = depth if key == "model.depth" else SPECIAL.get(key) or another_value(config, key)
        if key == "model.growth_rate" and kind == "number":
            text = "6"
        await type_into(pilot, screen, key, *text)
        await until(pilot, lambda: screen.draft.raw(key) == text)
    await until(pilot, lambda: screen.draft.raw(key) != before)


async def test_every_field_of_every_family_is_editable_and_reaches_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_tui.tui.screens.new_run.START_PAUSE_SECONDS", 0.0)
    first, base = next(iter(MODEL_KINDS)), load_preset("wrn")
    async with new_run(base, size=(100, 60)) as (app, screen, pilot):
        for kind in MODEL_KINDS:
            while screen.draft.kind != kind:
                await next_family(pilot, screen)
            family = with_changes(base, {"model.kind": kind})
            keys = [spec.key for spec in fields_of(kind) if spec.key != "model.kind"]
            if kind != first:  # the fields that all families have are changed by now
                keys = [key for key in keys if key.startswith("model.")]
            assert [row.key for row in screen.query_one(ConfigForm).rows] == [spec.key for spec in fields_of(kind)]
            for key in keys:
                await change(pilot, screen, family, key)
            assert screen.draft.problems == []
            app.started.clear()
            await pilot.press("ctrl+s")
            await until(pilot, lambda: bool(app.started))
            started = app.started[0].config
            for key in keys:
                value, preset_value = value_of(started, key), value_of(family, key)
                assert value == from_raw(screen.draft.specs[key], screen.draft.raw(key)), key
                assert value != preset_value, key
            changed = {key for key, value in flatten(family).items() if flatten(started)[key] != value}
            shared = {spec.key for spec in fields_of(first) if not spec.key.startswith(("model.", "name", "desc"))}
            assert changed == shared | {key for key in keys if key.startswith("model.")}
            assert (started.preset, started.reference) == (base.preset, base.reference)


@pytest.mark.usefixtures("nothing_known")
async def test_a_key_comes_after_what_was_typed_at_once_with_it() -> None:
    """Over a slow line several keys arrive together: a run of the settings of before was started then."""
    async with new_run(load_preset("quick")) as (app, screen, pilot):
        screen.query_one(ConfigForm).focus_field("seed")
        await pilot.pause()
        screen.query_one(ConfigForm).row("seed").target.value = ""  # type: ignore[attr-defined]
        await until(pilot, lambda: screen.draft.config is None)
        for key in ("7", "1", "ctrl+s"):
            app.post_message(events.Key(key, key if key.isdigit() else None))
        await until(pilot, lambda: bool(app.started))
        assert app.started[0].config.seed == 71
        for key in ("2", "ctrl+o"):
            app.post_message(events.Key(key, key if key.isdigit() else None))
        await until(pilot, lambda: bool(app.screen.query("#save")))
        assert isinstance(app.screen, SavePresetDialog) and app.screen.config.seed == 712


async def test_a_field_that_had_the_focus_before_another_family_was_chosen() -> None:
    """A click on it, and one on a preset before the first was done with, ended the app."""
    async with new_run(load_preset("densenet")) as (_, screen, pilot):
        gone = next(spec for spec in fields_of("wide_resnet") if spec.key == "model.widen_factor")
        screen.query_one(ConfigForm).post_message(ConfigForm.FieldFocused(gone))
        await pilot.pause()
        assert "model.widen_factor" not in str(screen.query_one("#help", Static).content)


def test_the_table_of_values_has_no_field_that_is_gone() -> None:
    known = {spec.key for kind in MODEL_KINDS for spec in fields_of(kind)}
    assert known >= SPECIAL.keys()
    assert any(takes_none(spec) for spec in fields_of("turbo"))
