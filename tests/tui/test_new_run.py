"""The New run screen: from a preset to StartRequested, what one edits, resets and saves, and what is wrong with it."""

from __future__ import annotations

import pytest
from textual.binding import Binding
from textual.widgets import Button, Input

from fmnist_tui import paths
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset, save_preset
from fmnist_tui.tui.screens.help import keys_of
from fmnist_tui.tui.screens.new_run import NewRunScreen
from fmnist_tui.tui.screens.save_preset import SavePresetDialog
from fmnist_tui.tui.widgets.form import ConfigForm
from fmnist_tui.tui.widgets.panes import Panes, PaneTabs
from fmnist_tui.tui.widgets.preset_list import PresetList
from tests.tui.new_run_host import difference, edit, new_run, notices, reason, type_into
from tests.tui.synthetic import drawn
from tests.tui.typing_helpers import until, until_drawn

pytestmark = pytest.mark.usefixtures("usual_machine")
RESETS = ("Reset field", "Reset all")


# Presets, edits, differences.


async def test_from_the_list_of_presets_to_a_started_run() -> None:
    async with new_run() as (app, screen, pilot):
        text = "\n".join(drawn(app))
        assert "WideResNet-28-10: wide, accurate, heavy" in text
        await pilot.press("down")
        while screen._drafts.current != "dpn":
            await pilot.press("down")
        await pilot.press("enter")
        await until(pilot, lambda: screen.query_one(ConfigForm).focused_key == "name")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(app.started))
        assert app.started[0].config == load_preset("dpn")
        assert app.started[0].device == "auto"
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert len(app.started) == 1, "a key held too long starts one run"


async def test_edits_stay_with_their_preset() -> None:
    async with new_run() as (app, screen, pilot):
        presets = screen.query_one(PresetList)
        first = screen._drafts.current
        await edit(pilot, screen, "training.epochs", "9", "9")
        assert difference(screen).endswith("training.epochs 8 → 99")
        screen.action_next_pane()
        screen.action_next_pane()
        await until(pilot, lambda: app.focused is presets)
        await pilot.press("down")
        await until(pilot, lambda: "No changes" in difference(screen))
        assert f"* {first}" in "\n".join(drawn(app))
        assert screen.query_one(ConfigForm).row("training.epochs").raw != "99"
        await pilot.press("up")
        await until(pilot, lambda: "8 → 99" in difference(screen))
        assert screen.query_one(ConfigForm).row("training.epochs").raw == "99"


async def test_the_form_remembers_which_field_had_the_focus() -> None:
    async with new_run(size=(80, 24)) as (app, screen, pilot):
        form, panes = screen.query_one(ConfigForm), screen.query_one(Panes)
        tabs = panes.query_one("#tabs", PaneTabs)

        async def there_and_back(*keys: str) -> None:
            for key in keys:
                await pilot.press(key)
                await until(pilot, lambda: app.focused is not None and tabs.active == panes.active)

        await type_into(pilot, screen, "model.depth")
        await there_and_back("ctrl+t", "ctrl+t", "ctrl+t")
        await until(pilot, lambda: form.focused_key == "model.depth")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, SavePresetDialog))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen and form.focused_key == "model.depth")
        await app.push_screen(NewRunScreen())
        await app.pop_screen()
        await until(pilot, lambda: form.focused_key == "model.depth")
        await there_and_back("ctrl+t", "ctrl+t", "down", "down", "down")
        await until(pilot, lambda: screen.draft.base.name == "wrn")
        await pilot.press("enter")
        await until(pilot, lambda: form.focused_key == "model.depth")
        await there_and_back("ctrl+t", "ctrl+t", "up")
        await until(pilot, lambda: screen.draft.kind == "turbo")
        await pilot.press("enter")
        await until(pilot, lambda: form.focused_key == "model.kind")  # its network has no depth


async def test_a_reset_that_hides_the_field_with_the_focus_leaves_it_near() -> None:
    clone = with_changes(load_preset("wrn"), {"model.kind": "turbo"})
    async with new_run(clone) as (_, screen, pilot):
        form = screen.query_one(ConfigForm)
        await type_into(pilot, screen, "model.widths")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.draft.kind == "wide_resnet" and form.focused_key == "model.kind")


async def test_reset_one_field_and_all() -> None:
    clone = with_changes(load_preset("wrn"), {"training.epochs": 20, "optimizer.lr": 0.5})
    async with new_run(clone, size=(120, 40)) as (_, screen, pilot):
        assert difference(screen) == "2 changes from wrn: optimizer.lr 0.1 → 0.5; training.epochs 200 → 20"
        await edit(pilot, screen, "training.epochs", "x", "ctrl+z")
        assert difference(screen) == "1 change from wrn: optimizer.lr 0.1 → 0.5"
        assert screen.query_one(ConfigForm).focused_key == "training.epochs"
        assert not screen.query_one("#start", Button).disabled
        await pilot.press("ctrl+r")
        assert difference(screen) == "No changes from wrn"
        assert screen.draft.config == load_preset("wrn")
        assert screen.query_one(ConfigForm).row("optimizer.lr").raw == "0.1"


async def test_the_line_of_changes_speaks_of_name_and_wrong_values() -> None:
    async with new_run(load_preset("wrn"), size=(120, 40)) as (_, screen, pilot):
        await edit(pilot, screen, "name", *"mine")
        assert difference(screen) == "No changes from wrn but its name"
        await edit(pilot, screen, "description", "x")
        assert difference(screen) == "No changes from wrn but its name and description"
        await edit(pilot, screen, "model.depth", *"11")
        assert difference(screen) == "1 change from wrn: model.depth 28 → 11"
        await edit(pilot, screen, "model.depth", "backspace", "backspace")
        assert difference(screen) == "1 change from wrn: model.depth 28 → empty"


async def test_resets_stand_among_the_keys_where_they_act() -> None:
    async with new_run(size=(120, 40)) as (_, screen, pilot):

        async def offered(*resets: str) -> None:
            await until(pilot, lambda: [text for text in RESETS if text in drawn(screen.app)[-1]] == list(resets))

        await offered()  # the presets have the focus
        screen.query_one(ConfigForm).focus_field("training.epochs")
        await offered()
        await edit(pilot, screen, "training.epochs", "5")
        await offered(*RESETS)
        await pilot.press("down")
        await offered("Reset all")
        await pilot.press("ctrl+t")
        await offered("Reset all")
        await pilot.press("ctrl+r")
        await offered()


async def test_the_schedule_moves_with_the_epochs() -> None:
    async with new_run(load_preset("wrn"), size=(120, 40)) as (_, screen, pilot):
        await edit(pilot, screen, "training.epochs", "2", "0")
        notes = screen.query_one("#notes")
        await until(pilot, lambda: "will never be reached in 20 epochs; F8 moves them" in str(notes.render()))
        await pilot.press("f8")
        assert screen.query_one(ConfigForm).row("schedule.milestones").raw == "7, 13, 17"
        await until(pilot, lambda: not notes.display)


async def test_where_nothing_is_to_be_scaled_the_key_says_so() -> None:
    async with new_run(load_preset("wrn"), size=(80, 24)) as (app, screen, pilot):
        await pilot.press("f8")
        await until(pilot, lambda: notices(app) == ["Nothing to scale: training.epochs = 200, as the preset's."])
        await edit(pilot, screen, "training.epochs", *"20")
        await pilot.press("f8", "f8")
        said = "Nothing to scale: training.epochs = 20, the schedule fits it already."
        await until(pilot, lambda: said in notices(app))
        await edit(pilot, screen, "training.epochs", "x")
        await pilot.press("f8")
        await until(pilot, lambda: "training.epochs: must be a whole number" in notices(app))


async def test_the_help_says_what_every_key_does() -> None:
    async with new_run(load_preset("wrn")) as (app, _, _):
        here, _ = keys_of(app.screen)
        said = {key.said for key in here}
        descriptions = {binding.description for binding in NewRunScreen.BINDINGS if isinstance(binding, Binding)}
        assert said & descriptions == {"Back"}, "that one says all"


# What is wrong.


async def test_an_error_disables_start_says_why_and_start_goes_there() -> None:
    async with new_run(load_preset("wrn")) as (app, screen, pilot):
        await edit(pilot, screen, "training.epochs", "0")
        await until(pilot, lambda: reason(screen) == "Cannot start: training.epochs: must be at least 1")
        assert screen.query_one("#start", Button).disabled
        await edit(pilot, screen, "optimizer.lr", "x")
        await until(pilot, lambda: "and 1 more" in reason(screen))
        screen.query_one(ConfigForm).focus_field("seed")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.query_one(ConfigForm).focused_key in ("optimizer.lr", "training.epochs"))
        assert app.started == []
        for key, text in (("optimizer.lr", "1"), ("training.epochs", "5")):
            await edit(pilot, screen, key, text)
        await until(pilot, lambda: reason(screen) == "Ready" and not screen.query_one("#start", Button).disabled)
        await pilot.pause()  # the errors' lines are gone once all is laid out anew
        await pilot.click("#start")
        await until(pilot, lambda: bool(app.started))


async def test_an_error_between_fields_stands_at_the_top_and_marks_both() -> None:
    async with new_run(load_preset("wrn"), size=(120, 40)) as (_, screen, pilot):
        await edit(pilot, screen, "schedule.min_lr", "1")
        text = await until_drawn(pilot, "! schedule.min_lr: must not exceed optimizer.lr = 0.1")
        assert "Shown for the last valid settings" in text
        form = screen.query_one(ConfigForm)
        assert "must not exceed" in form.row("schedule.min_lr").error
        assert form.row("optimizer.lr").involved
        assert form.focused_key == "schedule.min_lr"
        await pilot.press("backspace", "0")
        await until(pilot, lambda: not screen.query_one("#problems").display)
        assert not form.row("optimizer.lr").involved


async def test_what_is_wrong_with_a_field_is_in_view_while_one_types() -> None:
    async with new_run(load_preset("wrn"), size=(80, 24)) as (_, screen, pilot):
        form = screen.query_one(ConfigForm)
        form.focus_field("schedule.min_lr")
        row = form.row("schedule.min_lr")
        await until(pilot, lambda: row.region.bottom == form.region.bottom)  # the lowest line of the form
        await pilot.press("1")
        await until_drawn(pilot, "! schedule.min_lr: must not", "! min lr")
        await until(pilot, lambda: row.region.height > 0 and form.region.contains_region(row.region))


# Saving.


async def test_save_as_a_preset_of_ones_own() -> None:
    clone = with_changes(load_preset("wrn"), {"training.epochs": 20})
    async with new_run(clone) as (app, screen, pilot):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, SavePresetDialog))
        dialog = app.screen
        name = dialog.query_one("#name", Input)
        name.value = "no spaces"
        await pilot.pause()
        assert dialog.query_one("#save", Button).disabled
        assert "A preset's name is" in "\n".join(drawn(app))
        await pilot.press("enter")
        assert app.screen is dialog
        name.value = "mine"
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is screen)
        assert load_preset("mine").training.epochs == 20
        assert paths.user_presets_dir().joinpath("mine.toml").is_file()
        assert screen._drafts.current == "mine"
        await until(pilot, lambda: difference(screen) == "No changes from mine")
        entries = {entry.name: entry.origin for entry in screen.query_one(PresetList).entries}
        assert entries["mine"] == "user"


async def test_a_taken_name_is_asked_about_before_it_is_overwritten() -> None:
    save_preset(with_changes(load_preset("wrn"), {"seed": 1}), "mine")
    async with new_run(load_preset("wrn")) as (app, screen, pilot):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, SavePresetDialog))
        app.screen.query_one("#name", Input).value = "mine"
        await pilot.pause()
        await pilot.press("enter")
        await until_drawn(pilot, "Press Replace")
        assert load_preset("mine").seed == 1
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert load_preset("mine").seed == 1
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, SavePresetDialog))
        app.screen.query_one("#name", Input).value = "mine"
        await pilot.pause()
        await pilot.press("enter", "enter")
        await until(pilot, lambda: app.screen is screen)
        assert load_preset("mine").seed == 40_000


async def test_settings_that_are_wrong_are_not_saved() -> None:
    async with new_run(load_preset("wrn")) as (app, screen, pilot):
        await edit(pilot, screen, "seed", "x")
        await pilot.press("ctrl+o")
        await pilot.pause()
        assert app.screen is screen


async def test_presets_saved_elsewhere_appear_when_one_comes_back() -> None:
    async with new_run(load_preset("wrn")) as (app, screen, pilot):
        await app.push_screen(NewRunScreen())
        await pilot.pause()
        save_preset(load_preset("wrn"), "elsewhere")
        await app.pop_screen()
        await until(pilot, lambda: "elsewhere" in [entry.name for entry in screen.query_one(PresetList).entries])
