"""The New run screen's measurement: what it finds, how it ends, and what is said of it."""

from __future__ import annotations

import sys

import psutil
import pytest

from fmnist_tui.presets import load_preset
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import list_runs
from fmnist_tui.tui.screens.new_run import NewRunScreen
from fmnist_tui.tui.screens.save_preset import SavePresetDialog
from fmnist_tui.tui.widgets.outlook_panel import OutlookPanel
from fmnist_tui.tui.widgets.panes import Panes
from fmnist_tui.tui.widgets.start_bar import StartBar
from tests.tui.new_run_host import new_run, type_into
from tests.tui.synthetic import RunMaker, drawn, write_result
from tests.tui.typing_helpers import send, until, until_drawn

pytestmark = pytest.mark.usefixtures("usual_machine")

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
        send(app, "f6")
        await until_drawn(pilot, "could not be measured: Out of")
        assert screen.measuring == ""
        measuring_with(monkeypatch, HANGING)
        send(app, "f6")
        await until(pilot, lambda: screen.measuring.startswith("pid"))
        pid = pid_in(screen)
        send(app, "f6")  # the same key ends it
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
