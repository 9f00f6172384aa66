"""The New run screen: from a preset to StartRequested, saving, resetting, measuring, and its three layouts."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Button, Input

from fmnist_tui import paths
from fmnist_tui.config import MODEL_KINDS, RunConfig
from fmnist_tui.data import source
from fmnist_tui.fields import fields_of, flatten, with_changes
from fmnist_tui.monitor import Gpu
from fmnist_tui.presets import load_preset, save_preset
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run, list_runs
from fmnist_tui.tui.draft import from_raw, input_kind, takes_none
from fmnist_tui.tui.messages import StartRequested
from fmnist_tui.tui.screens.new_run import NewRunScreen
from fmnist_tui.tui.screens.save_preset import SavePresetDialog
from fmnist_tui.tui.surroundings import Surroundings, look_around
from fmnist_tui.tui.widgets.form import ConfigForm
from fmnist_tui.tui.widgets.image_grid import ImageGrid
from fmnist_tui.tui.widgets.outlook_panel import OutlookPanel
from fmnist_tui.tui.widgets.panes import Panes, PaneTabs
from fmnist_tui.tui.widgets.preset_list import PresetList
from fmnist_tui.tui.widgets.start_bar import DeviceSelect, StartBar
from tests.tui.synthetic import RunMaker, drawn, write_result
from tests.tui.typing_helpers import send, until, until_drawn


@pytest.fixture(autouse=True)
def full_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machine for every test: one GPU, and the data set where it is looked for."""
    monkeypatch.setattr(source, "find", lambda data_dir: Path("/data"))
    gpus = [Gpu(0, 0, "NVIDIA H200", "GPU-0", 143 * 2**30)]
    monkeypatch.setattr("fmnist_tui.tui.surroundings.list_gpus", lambda: type("L", (), {"gpus": gpus})())


class Host(App[None]):
    """What the screen needs of the app, and what it asks for."""

    def __init__(self, runs: Sequence[Run] = (), ascii_only: bool = False) -> None:
        super().__init__()
        self.animation_level = "none"
        self.runs = list(runs)
        self.data_dir = None
        self.ascii_only = ascii_only
        self.started: list[StartRequested] = []

    def on_start_requested(self, message: StartRequested) -> None:
        self.started.append(message)


@asynccontextmanager
async def new_run(
    config: RunConfig | None = None, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[tuple[Host, NewRunScreen, Pilot[None]]]:
    app = Host(**options)
    async with app.run_test(size=size) as pilot:
        screen = NewRunScreen(config)
        await app.push_screen(screen)
        await until(pilot, lambda: app.focused is not None)
        yield app, screen, pilot


async def type_into(pilot: Pilot[None], screen: NewRunScreen, key: str, *keys: str) -> None:
    """Go to a field and press keys there; into a text they replace what it held."""
    form = screen.query_one(ConfigForm)
    form.focus_field(key)
    await until(pilot, lambda: form.focused_key == key)
    send(screen.app, *keys)


async def next_family(pilot: Pilot[None], screen: NewRunScreen) -> None:
    before = screen.draft.kind
    await type_into(pilot, screen, "model.kind", "right")
    await until(pilot, lambda: screen.draft.kind != before)


async def edit(pilot: Pilot[None], screen: NewRunScreen, key: str, *keys: str) -> None:
    """The same, and wait until all that follows from it has happened."""
    await type_into(pilot, screen, key, *keys)
    await pilot.pause()


def difference(screen: NewRunScreen) -> str:
    return str(screen.query_one("#difference").render())


def reason(screen: NewRunScreen) -> str:
    return str(screen.query_one("#reason").render())


# Every field.

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


def test_the_table_of_values_has_no_field_that_is_gone() -> None:
    known = {spec.key for kind in MODEL_KINDS for spec in fields_of(kind)}
    assert known >= SPECIAL.keys()
    assert any(takes_none(spec) for spec in fields_of("turbo"))


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


async def test_the_schedule_moves_with_the_epochs() -> None:
    async with new_run(load_preset("wrn"), size=(120, 40)) as (_, screen, pilot):
        await edit(pilot, screen, "training.epochs", "2", "0")
        notes = screen.query_one("#notes")
        await until(pilot, lambda: "will never be reached in 20 epochs; F8 moves them" in str(notes.render()))
        await pilot.press("f8")
        assert screen.query_one(ConfigForm).row("schedule.milestones").raw == "7, 13, 17"
        await until(pilot, lambda: not notes.display)


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


# What would happen.


async def test_the_panel_follows_what_is_typed() -> None:
    async with new_run(load_preset("wrn"), size=(120, 40)) as (_, screen, pilot):
        text = await until_drawn(pilot, "36,478,906 parameters", "Ankle boot")
        for words in ("24.1 GFLOP", "30,000 train, 40,000 test", "118 an epoch, 23,600 in all; 200 evaluations"):
            assert words in text
        assert "93.28 % of WideResNet" in text
        await edit(pilot, screen, "training.batch_size", *"512")
        await until_drawn(pilot, "59 an epoch, 11,800 in all")
        await edit(pilot, screen, "augment.cutout_size", "8")
        await until_drawn(pilot, "crop 4, flip, Cutout 8")


async def test_the_pictures_change_with_the_augmentation_and_on_request() -> None:
    async with new_run(load_preset("wrn"), size=(120, 40)) as (_, screen, pilot):
        await until_drawn(pilot, "Ankle boot")
        grid = screen.query_one(OutlookPanel).query_one("#preview", ImageGrid)
        seen = [tile.image.copy() for tile in grid.tiles]
        await pilot.press("f7")
        await until_drawn(pilot, "Sandal")
        assert (grid.tiles[0].image != seen[0]).any()
        screen.query_one(OutlookPanel).focus()
        await pilot.press("a")
        await until_drawn(pilot, "Dress")
        await edit(pilot, screen, "augment.crop_padding", "0")
        await edit(pilot, screen, "augment.flip", "space")
        await until_drawn(pilot, "unchanged")
        assert (grid.tiles[0].image == grid.tiles[1].image).all()


async def test_data_that_is_not_there_and_a_gpu_too_small_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Surroundings({}, "The sample is damaged.", [Gpu(0, 0, "Small", "", 2**30)], "Fashion-MNIST was not found.")
    monkeypatch.setattr("fmnist_tui.tui.screens.new_run.look_around", lambda data_dir: small)
    async with new_run(load_preset("wrn"), size=(120, 40)) as (_, screen, pilot):
        text = await until_drawn(pilot, "Fashion-MNIST was not found.", "The sample is damaged.")
        assert "above the GPU's 1.0 GiB" in text
        await edit(pilot, screen, "data.source", "right")
        await until(pilot, lambda: "not found" not in str(screen.query_one("#notes").render()))


def test_looking_around_finds_pictures_of_every_class(tmp_path: Path) -> None:
    found = look_around(tmp_path)
    assert sorted(found.pictures) == list(range(10))
    assert all(pictures.shape[1:] == (28, 28) and len(pictures) > 1 for pictures in found.pictures.values())
    assert (found.pictures_problem, found.data_problem) == ("", "")
    assert [gpu.name for gpu in found.gpus] == ["NVIDIA H200"]


async def test_devices_and_what_runs_there(maker: RunMaker) -> None:
    maker.make("densenet", State.RUNNING, epoch=3, device="cuda:0")
    async with new_run(load_preset("wrn"), size=(120, 40), runs=list_runs(maker.runs_dir)) as (app, screen, pilot):
        bar = screen.query_one(StartBar)
        await until(pilot, lambda: len(bar.gpus) == 1)
        assert reason(screen) == "densenet is on cuda:0: Start waits its turn, ^n starts beside it"
        bar.query_one("#device", DeviceSelect).value = "cpu"
        await until(pilot, lambda: reason(screen) == "Ready")
        bar.query_one("#device", DeviceSelect).value = "cuda:0"
        await until(pilot, lambda: "densenet is on cuda:0" in reason(screen))
        screen.runs_listed([])
        assert reason(screen) == "Ready"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(app.started))
        assert (app.started[0].device, app.started[0].queue) == ("cuda:0", True)


async def test_several_gpus_share_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [Gpu(number, number, "NVIDIA H200", f"GPU-{number}", 143 * 2**30) for number in range(3)]
    monkeypatch.setattr("fmnist_tui.tui.surroundings.list_gpus", lambda: type("L", (), {"gpus": gpus})())
    async with new_run(size=(120, 40)) as (app, screen, pilot):
        bar = screen.query_one(StartBar)
        await until(pilot, lambda: len(bar.gpus) == 3)
        bar.query_one("#device").focus()
        await pilot.press("enter")
        await until_drawn(pilot, "2 GPUs, one batch shared", "all 3 GPUs, one batch shared")
        await pilot.press("end", "enter")
        assert (bar.device, bar.count) == ("auto", 3)
        await until_drawn(pilot, "3 share each batch", "here are of one")
        bar.take_gpus(gpus)
        assert bar.count == 3, "the choice stays"
        await pilot.press("ctrl+s")
        assert [(message.device, message.gpus) for message in app.started] == [("auto", 3)]
        bar.take_gpus(gpus[:2])
        assert (bar.device, bar.count) == ("auto", 1), "one of the three is gone"


async def test_what_runs_on_the_device_is_said_in_full_on_a_small_screen(maker: RunMaker) -> None:
    maker.make("shake-shake-64", State.RUNNING, epoch=3, device="cpu")
    async with new_run(load_preset("wrn"), size=(80, 24), runs=list_runs(maker.runs_dir)) as (_, screen, pilot):
        screen.query_one("#device", DeviceSelect).value = "cpu"
        await until_drawn(pilot, "Start waits for shake-shake-64, ^n doesn't")


async def test_start_beside_what_runs_on_the_device() -> None:
    async with new_run(load_preset("wrn")) as (app, _, pilot):
        await pilot.press("ctrl+n")
        await until(pilot, lambda: bool(app.started))
        assert app.started[0].queue is False


async def test_last_time_is_shown_without_measuring(maker: RunMaker) -> None:
    write_result(maker.make("wrn"), images_per_second=9800.0, train_seconds=600.0)
    async with new_run(load_preset("wrn"), size=(120, 40)) as (_, screen, pilot):
        screen.runs_listed(list_runs(maker.runs_dir))
        await until_drawn(pilot, "Last time", "9,800 img/s", "Duration")
        await edit(pilot, screen, "model.depth", *"16")
        await until(pilot, lambda: "9,800" not in str(screen.query_one("#facts").render()))


# Measuring.

FAST = """
import json, sys
sys.stdin.read()
print(json.dumps({"phase": "training"}), flush=True)
print(json.dumps({"images_per_second": 9870.0, "eval_images_per_second": 41000.0, "startup_seconds": 20.0,
    "peak_memory_bytes": 7730941132, "device_name": "NVIDIA H200", "precision": "bf16"}), flush=True)
"""
FAILING = "import json; print(json.dumps({'error': 'Out of memory: 80 GB asked for'}))"
HANGING = """
import json, os, sys, time
print(json.dumps({"phase": f"pid {os.getpid()}"}), flush=True)
time.sleep(600)
"""


def measuring_with(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(NewRunScreen, "calibration_command", (sys.executable, "-c", program))


def pid_in(screen: NewRunScreen) -> int:
    return int(screen.measuring.removeprefix("pid "))


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_a_measurement_gives_speed_memory_duration_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring_with(monkeypatch, FAST)
    async with new_run(load_preset("wrn"), size=(120, 40)) as (app, screen, pilot):
        send(app, "f6")
        text = await until_drawn(pilot, "Measured", "9,870 img/s, peak memory 7.2 GiB, NVIDIA H200")
        assert "about 13m 43s, until" in text
        await type_into(pilot, screen, "training.epochs", *"100")
        await until_drawn(pilot, "about 7m 02s")
        await type_into(pilot, screen, "training.batch_size", *"64")
        await until(pilot, lambda: screen.draft.raw("training.batch_size") == "64")
        text = await until_drawn(pilot, "not measured", "other settings (training.batch_size 256)", "9,870 img/s")
        assert "Duration" not in text
        assert "What would happen: measured" not in text
        send(app, "ctrl+z")
        await until_drawn(pilot, "Duration", "What would happen: measured")
        assert "other settings" not in "\n".join(drawn(app))


async def test_measurements_that_fail_hang_or_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring_with(monkeypatch, FAILING)
    async with new_run(load_preset("wrn"), size=(120, 40)) as (app, screen, pilot):
        screen.query_one(OutlookPanel).focus()
        await until(pilot, lambda: app.focused is screen.query_one(OutlookPanel))
        send(app, "m")
        await until_drawn(pilot, "could not be measured: Out of")
        assert screen.measuring == ""
        measuring_with(monkeypatch, HANGING)
        send(app, "m")
        await until(pilot, lambda: screen.measuring.startswith("pid"))
        pid = pid_in(screen)
        send(app, "m")  # the same key ends it
        await until(pilot, lambda: screen.measuring == "" and gone(pid))
        await until_drawn(pilot, "not measured")
        monkeypatch.setattr(NewRunScreen, "calibration_silence", 1.0)
        send(app, "f6")
        await until_drawn(pilot, "could not be measured", "nothing was heard", "What would happen: measuring failed")
        assert screen.measuring == ""


async def test_that_it_measures_is_said_whatever_pane_is_in_front_and_of_which_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measuring_with(monkeypatch, HANGING)
    async with new_run(size=(80, 24)) as (app, screen, pilot):
        send(app, "f6")
        await until_drawn(pilot, "What would happen: measuring", "^t for the next")
        await until(pilot, lambda: screen.measuring.startswith("pid"))
        pid = pid_in(screen)
        send(app, "down")
        await until(pilot, lambda: screen.draft.base.name == "turbo")
        await pilot.click("#tabs", offset=(35, 0))
        await until_drawn(pilot, "other settings (preset quick): pid", "1s")
        send(app, "up")
        await pilot.resize_terminal(40, 24)
        await until_drawn(pilot, " Presets  Settings  measuring ")
        await pilot.click("#tabs", offset=(25, 0))
        assert screen.query_one(Panes).active == "outlook"
        send(app, "f6")
        await until(pilot, lambda: gone(pid))
        await until_drawn(pilot, " Presets  Settings  What would happen ")


async def test_a_measurement_ended_by_hand_has_measured_what_it_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring_with(monkeypatch, "print('{\"images_per_second\": 12.5}', flush=True)\n" + HANGING)
    async with new_run(load_preset("wrn"), size=(120, 40)) as (app, _, pilot):
        send(app, "f6")
        await until_drawn(pilot, "Measuring", "12.5 img/s so far")
        send(app, "f6")
        await until_drawn(pilot, "Measured", "12.5 img/s", "evaluation unknown")


async def test_what_runs_beside_a_measurement_is_named(monkeypatch: pytest.MonkeyPatch, maker: RunMaker) -> None:
    measuring_with(monkeypatch, FAST)
    maker.make("densenet", State.RUNNING, epoch=3, device="cuda:0")
    async with new_run(load_preset("wrn"), size=(120, 40), runs=list_runs(maker.runs_dir)) as (app, screen, pilot):
        await until(pilot, lambda: len(screen.query_one(StartBar).gpus) == 1)
        send(app, "f6")
        await until_drawn(pilot, "beside densenet")


async def test_the_end_moves_on_while_one_reads(monkeypatch: pytest.MonkeyPatch, maker: RunMaker) -> None:
    monkeypatch.setattr("fmnist_tui.tui.screens.new_run.CLOCK_SECONDS", 0.05)
    write_result(maker.make("wrn"), images_per_second=9800.0, train_seconds=600.0)
    async with new_run(load_preset("wrn"), size=(120, 40), runs=list_runs(maker.runs_dir)) as (_, _, pilot):
        await until_drawn(pilot, "Duration")
        monkeypatch.setattr("fmnist_tui.tui.forecast.duration_in_words", lambda time, now: ("until later", ""))
        await until_drawn(pilot, "until later")


async def test_leaving_the_screen_kills_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring_with(monkeypatch, HANGING)
    async with new_run(load_preset("wrn")) as (app, screen, pilot):
        await pilot.press("f6")
        await until(pilot, lambda: screen.measuring.startswith("pid"))
        pid = pid_in(screen)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not screen and gone(pid))


async def test_a_screen_the_app_keeps_ends_its_measurement_when_left_but_not_for_a_dialog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measuring_with(monkeypatch, HANGING)
    async with new_run(load_preset("wrn")) as (app, screen, pilot):
        await pilot.press("f6")
        await until(pilot, lambda: screen.measuring.startswith("pid"))
        pid = pid_in(screen)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, SavePresetDialog))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert not gone(pid)
        await app.push_screen(NewRunScreen())
        await until(pilot, lambda: gone(pid))


# Layouts.

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


async def test_presets_saved_elsewhere_appear_when_one_comes_back() -> None:
    async with new_run(load_preset("wrn")) as (app, screen, pilot):
        await app.push_screen(NewRunScreen())
        await pilot.pause()
        save_preset(load_preset("wrn"), "elsewhere")
        await app.pop_screen()
        await until(pilot, lambda: "elsewhere" in [entry.name for entry in screen.query_one(PresetList).entries])
