"""What the New run screen tells of a start: the panel, pictures, data, devices, and how long it took last time."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.data import source
from fmnist_tui.data.files import DataError
from fmnist_tui.monitor import Gpu
from fmnist_tui.presets import load_preset
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.place import Place
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import list_runs
from fmnist_tui.runs.tickets import Device
from fmnist_tui.tui.surroundings import Surroundings, look_around
from fmnist_tui.tui.widgets.image_grid import ImageGrid
from fmnist_tui.tui.widgets.outlook_panel import OutlookPanel
from fmnist_tui.tui.widgets.start_bar import DeviceSelect, StartBar
from tests.tui.new_run_host import edit, new_run, reason
from tests.tui.synthetic import RunMaker, drawn, write_result
from tests.tui.typing_helpers import until, until_drawn

pytestmark = pytest.mark.usefixtures("usual_machine")


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
        await pilot.press("f7")
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


def test_what_gets_the_data_set_is_said_in_the_forms_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(data_dir: Path | None) -> Path:
        raise DataError(f"The data set was not found in {data_dir}.", ["a long list of places"])

    monkeypatch.setattr(source, "find", find)
    said = look_around(tmp_path).data_problem
    assert said.startswith(f"The data set was not found in {tmp_path}. In a shell, ")
    assert said.endswith("`fmnist-tui data fetch` gets the full data set; data.source = sample needs neither.")


async def test_the_pictures_title_is_never_cut() -> None:
    for size, panes in (((80, 24), 1), ((120, 40), 0)):
        async with new_run(load_preset("turbo-long"), size=size) as (_, screen, pilot):
            await pilot.press(*["ctrl+t"] * panes)
            title = screen.query_one("#preview-title")
            title.scroll_visible(animate=False)
            await until_drawn(pilot, "F7 for another")
            words = " ".join(" ".join(title.render_line(y).text for y in range(title.size.height)).split())
            assert words.endswith(
                "CutMix in 0.5 of the batches for the first 75%, 20x20 px for the first 50% F7 for another"
            )


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
        await until_drawn(pilot, "2 GPUs share a batch", "all 3 GPUs share a batch")
        await pilot.press("end", "enter")
        assert (bar.device, bar.count) == ("auto", 3)
        await until_drawn(pilot, "3 share each batch", "here are of one")
        await until(pilot, lambda: "all 3 GPUs share a batch" in drawn(app)[-2])
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


async def test_a_run_of_another_runs_directory_is_waited_for_too(maker: RunMaker, tmp_path: Path) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3, device="cpu")
    place = Place(RunDirectory(maker.runs_dir / run.id), [Device(key="cpu", name="cpu")])
    assert place.take() is not None
    try:
        async with new_run(load_preset("wrn"), size=(120, 40), runs_dir=tmp_path / "here") as (_, screen, pilot):
            screen.query_one("#device", DeviceSelect).value = "cpu"
            await until(pilot, lambda: f"Start waits for wrn in {maker.runs_dir}" in reason(screen))
            place.leave()
            await until(pilot, lambda: reason(screen) == "Ready")
    finally:
        place.leave()


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
