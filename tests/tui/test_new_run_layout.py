"""The New run screen's three layouts, from forty columns to two hundred, and in ASCII."""

from __future__ import annotations

import pytest
from textual.widgets._select import SelectOverlay

from fmnist_tui import paths
from fmnist_tui.presets import load_preset, save_preset
from fmnist_tui.tui.drafts import read_presets
from fmnist_tui.tui.screens.new_run import NewRunScreen
from fmnist_tui.tui.screens.save_preset import SavePresetDialog
from fmnist_tui.tui.widgets.choice_row import ChoiceMenu
from fmnist_tui.tui.widgets.form import ConfigForm
from fmnist_tui.tui.widgets.panes import Panes
from fmnist_tui.tui.widgets.preset_list import PresetList
from tests.tui.new_run_host import edit, new_run
from tests.tui.synthetic import drawn
from tests.tui.typing_helpers import until, until_drawn

pytestmark = pytest.mark.usefixtures("usual_machine")

ALL_PANES = ("presets", "settings", "outlook")


async def test_at_80_columns_one_pane_at_a_time() -> None:
    async with new_run(size=(80, 24)) as (app, screen, pilot):
        shown: list[str] = []
        for _ in range(4):
            shown.append(screen.query_one(Panes).active)
            displayed = [
                name for name in ("presets", "settings", "outlook") if screen.query_one(f"#{name}-pane").region
            ]
            assert displayed == [shown[-1]]
            await pilot.press("ctrl+t")
            await until(pilot, lambda: screen.query_one(Panes).active != shown[-1] and app.focused is not None)
        assert shown == ["presets", "settings", "outlook", "presets"]
        await pilot.click("#tabs", offset=(25, 0))
        await until(pilot, lambda: screen.query_one(Panes).active == "outlook")
        assert screen.query_one("#difference").region
        assert screen.query_one("#start").region


@pytest.mark.parametrize("size", [(120, 40), (200, 60)])
async def test_wider_terminals_show_all_of_it(size: tuple[int, int]) -> None:
    async with new_run(load_preset("shake-shake-64"), size=size) as (app, screen, pilot):
        text = await until_drawn(pilot, "Ankle boot" if size == (200, 60) else "Augmentation")
        for words in ("Presets", "Settings", "What would happen", "base channels", "11,708,362 parameters"):
            assert words in text
        presets, settings, outlook = (screen.query_one(f"#{name}-pane").region for name in ALL_PANES)
        assert outlook.x >= settings.right
        assert (settings.x >= presets.right) == (size == (200, 60))
        assert app.focused in list(screen.query("ConfigForm *")), "a clone begins in the form"


async def test_no_preset_is_written_for_a_width_the_list_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the list is laid out it has none; on a busy machine that is seen for a moment."""

    def prompts(screen: NewRunScreen) -> list[str]:
        presets = screen.query_one(PresetList)
        return [str(presets.get_option_at_index(index).prompt) for index in range(presets.option_count)]

    with monkeypatch.context() as patch:
        patch.setattr(PresetList, "redraw", lambda self: None)
        async with new_run(size=(200, 60)) as (_, screen, _):
            assert [text.strip() for text in prompts(screen)] == [entry.name for entry in read_presets()]
    async with new_run(size=(200, 60)) as (_, screen, _):
        width = screen.query_one(PresetList).scrollable_content_region.width
        assert {len(text.splitlines()[0]) for text in prompts(screen)} == {width - 1}


async def test_it_survives_a_tiny_terminal_and_comes_back() -> None:
    async with new_run(size=(120, 40)) as (_, screen, pilot):
        await edit(pilot, screen, "seed", "5")
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        assert screen.query_one(ConfigForm).focused_key == "seed", "the pane with the focus is the one that stays"
        assert screen.query_one("#settings-pane").region
        await pilot.press("6")
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert screen.draft.raw("seed") == "56"
        assert screen.query_one("#outlook-pane").region


async def test_in_ascii_everything_of_the_screens_own_is_ascii() -> None:
    async with new_run(load_preset("wrn"), size=(120, 40), ascii_only=True) as (app, screen, pilot):
        await edit(pilot, screen, "training.epochs", *"20")
        await until_drawn(pilot, "200 -> 20", "Augmentation")
        other = {character for line in drawn(app) for character in line if not character.isascii()}
        assert other <= set("▏▁▂▃▄▅▆▇█…"), "only what Textual draws: scroll bars, the line between panes, cut lines"


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (40, 10)])
async def test_why_start_cannot_is_readable_whole(size: tuple[int, int]) -> None:
    async with new_run(load_preset("quick"), size=size) as (app, screen, pilot):
        why = screen.query_one("#reason")

        def shown() -> str:
            left, top, width, height = why.region
            return " ".join(" ".join(line[left : left + width] for line in drawn(app)[top : top + height]).split())

        await edit(pilot, screen, "seed", *"abc")
        await until(pilot, lambda: shown() == "Cannot start: seed: must be a whole number")
        await edit(pilot, screen, "model.depth", "x")
        await until(pilot, lambda: shown() == "Cannot start: seed: must be a whole number (and 1 more)")
        assert screen.region.contains_region(screen.query_one("KeyBar").region)


async def test_at_40x10_what_is_wrong_stands_below_its_field_and_above_the_keys() -> None:
    async with new_run(load_preset("wrn"), size=(40, 10)) as (app, screen, pilot):
        form = screen.query_one(ConfigForm)
        row, why = form.row("schedule.min_lr"), screen.query_one("#reason")
        await edit(pilot, screen, "schedule.min_lr", "1")
        await until(pilot, lambda: row.region.height == 2 and form.region.contains_region(row.region))
        assert "  must not exceed optimizer.lr = 0.1  " in drawn(app)[row.region.y + 1]
        assert why.region.height == 2 and not screen.query_one("#problems").display
        await pilot.press("backspace", "0")
        await until(pilot, lambda: row.region.height == 1 and not why.region.height)


async def test_a_page_further_the_help_is_of_a_field_in_view() -> None:
    async with new_run(load_preset("wrn"), size=(80, 24)) as (_, screen, pilot):
        form, help_line = screen.query_one(ConfigForm), screen.query_one("#help")
        keys = list(screen.draft.specs)
        seen = [keys[0]]
        while seen[-1] != keys[-1]:
            await pilot.press("pagedown")
            await until(pilot, lambda: form.focused_key not in seen)
            seen.append(form.focused_key)
            row = form.row(seen[-1])
            await until(pilot, lambda row=row: form.region.contains_region(row.region))  # type: ignore[misc]
            await until(pilot, lambda: str(help_line.render()).startswith(seen[-1]))
        assert 3 < len(seen) < 10 and seen == sorted(seen, key=keys.index)
        await pilot.press(*["pageup"] * len(seen))
        await until(pilot, lambda: form.focused_key == keys[0])


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
async def test_the_list_of_devices_opens_above_its_line(size: tuple[int, int]) -> None:
    async with new_run(size=size) as (app, screen, pilot):
        select = screen.query_one("#device")
        select.focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, SelectOverlay) and app.focused.region.height > 0)
        assert app.focused is not None
        region = app.focused.region
        assert region.bottom == select.region.y, "neither Start nor the keys are covered"
        assert screen.region.contains_region(region)


async def test_the_choices_of_a_field_near_the_bottom_open_above_it() -> None:
    async with new_run(load_preset("wrn"), size=(40, 10)) as (app, screen, pilot):
        form = screen.query_one(ConfigForm)
        form.focus_field("data.split")
        await until(pilot, lambda: form.focused_key == "data.split" and form.row("data.split").region.y > 4)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, ChoiceMenu) and app.focused.region.height > 0)
        assert app.focused is not None
        assert not app.focused.region.overlaps(form.row("data.split").region), "the field itself stays in view"
        assert app.focused.region.right <= 40
        assert not app.focused.region.overlaps(screen.query_one("KeyBar").region)


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (60, 14), (40, 10)])
async def test_the_dialog_that_saves_a_preset_is_seen_whole(size: tuple[int, int]) -> None:
    async with new_run(load_preset("quick"), size=size) as (app, _, pilot):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, SavePresetDialog) and bool(app.screen.query("#save")))
        dialog = app.screen
        for name in ("name", "description", "said", "cancel", "save"):
            part = dialog.query_one(f"#{name}")
            await until(pilot, lambda part=part: part.region.height > 0)  # type: ignore[misc]
            assert dialog.region.contains_region(part.region), f"{name} is out of view"
        await pilot.press("ctrl+a", "ctrl+k", "space", "enter")
        await until_drawn(pilot, "A preset's name is", "Save")


async def test_what_is_wrong_with_the_last_presets_comes_into_view() -> None:
    paths.user_presets_dir().mkdir(parents=True)
    for name in ("bad", "worse", "no spaces"):
        (paths.user_presets_dir() / f"{name}.toml").write_text("name = 3")
    async with new_run(size=(60, 20)) as (_, screen, pilot):
        screen.query_one(PresetList).focus()
        await pilot.press("end")
        await until_drawn(pilot, "shake-shake-64", "bad ", "worse ", "name = 3: must be text")
        await until_drawn(pilot, "no spaces.toml", "not a preset, for its name: 1 to 64 of a to z")


async def test_a_long_name_of_a_preset_takes_no_lines_room() -> None:
    save_preset(load_preset("quick"), "a" * 64)
    async with new_run(size=(120, 40)) as (_, screen, pilot):
        await until_drawn(pilot, "densenet", "DenseNet-BC-100, growth 12")
        presets = screen.query_one(PresetList)
        assert presets.virtual_size.height == len(presets.entries), "a line each"


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_last_of_many_presets_comes_into_view(size: tuple[int, int]) -> None:
    for number in range(30):
        save_preset(load_preset("quick"), f"mine-{number:02}")
    async with new_run(size=size) as (app, screen, pilot):
        screen.query_one(PresetList).focus()
        await pilot.press("end")
        await until_drawn(pilot, "No changes from mine-29")
        await until(pilot, lambda: any("mine-29" in line and "user" in line for line in drawn(app)))
