"""The app as a whole: places, keys, help, palette, leaving, and the GPU."""

from __future__ import annotations

import os
from typing import Any

import pytest
from textual.pilot import Pilot

from fmnist_tui.runs.metrics import GpuSample, HostSample, SystemRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.messages import SystemSampled
from fmnist_tui.tui.screens.help import HelpScreen
from fmnist_tui.tui.screens.log import LogScreen
from fmnist_tui.tui.screens.run import RunScreen
from fmnist_tui.tui.screens.runs import RunsScreen
from fmnist_tui.tui.screens.system import SystemScreen
from fmnist_tui.tui.widgets.header import TopBar, gpu_facts
from fmnist_tui.tui.widgets.header import words as formats
from tests.tui.snapshot_app import GPU
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn


def place(app: FmnistApp) -> str:
    return app.screen.query_one(TopBar).active


async def until_at(pilot: Pilot[Any], app: FmnistApp, name: str) -> None:
    await until(pilot, lambda: place(app) == name)


async def test_the_four_places_by_key_and_mouse(app: FmnistApp, maker: RunMaker) -> None:
    maker.make("quick")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        for key, name in (("2", "new"), ("3", "benchmarks"), ("4", "system"), ("2", "new"), ("1", "runs")):
            app.set_focus(None)  # digits belong to a form that is typed into
            await pilot.press(key)
            await until_at(pilot, app, name)
        assert len(app.screen_stack) == 1
        bar = drawn(app)[0]
        await pilot.click(TopBar, offset=(bar.index("3 Bench") + 1, 0))
        await until(pilot, lambda: place(app) == "benchmarks")
        assert len(app.screen_stack) == 2, "places lie beside each other, not on top"
        await pilot.press("escape")
        await until(pilot, lambda: place(app) == "runs")
        await pilot.press("escape")
        assert place(app) == "runs", "home has nothing to go back to"


async def test_a_form_is_kept_and_a_clone_gets_its_own(app: FmnistApp, maker: RunMaker) -> None:
    maker.make("quick")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.press("n")
        await until(pilot, lambda: place(app) == "new")
        form = app.screen
        await pilot.press("escape")
        await until(pilot, lambda: place(app) == "runs")
        await pilot.press("C")
        await until(pilot, lambda: place(app) == "new")
        assert app.screen is not form
        await pilot.press("escape")
        await until(pilot, lambda: place(app) == "runs")
        await pilot.press("n")
        await until(pilot, lambda: place(app) == "new")
        assert app.screen is form


async def test_open_a_run_look_elsewhere_and_come_back(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    maker.write_metrics(run, 3)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        screen = app.screen
        await pilot.press("4")
        await until(pilot, lambda: isinstance(app.screen, SystemScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await until(pilot, lambda: not screen.is_attached, 5)


async def test_the_log_of_a_run_live(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    run.worker_log.write_text("epoch 1\n\x1b[31mepoch 2\x1b[0m\n")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("l")
        text = await until_drawn(pilot, "epoch 1", "epoch 2", f"worker.log of {run.id}", "(running)")
        assert "nothing written yet" not in text
        with run.worker_log.open("a") as log:
            log.writelines(f"later {n}\n" for n in range(50))
        await until_drawn(pilot, "later 49")
        await pilot.press("home")
        await until_drawn(pilot, "epoch 1")
        await pilot.press("f")
        await until_drawn(pilot, "later 49")
        maker.write_status(run, state=State.FAILED, error="boom", ended=run.id and "2026-11-23T00:00:00Z")
        await until_drawn(pilot, "(failed)")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, LogScreen))


async def test_c_shows_the_configuration_in_the_list_and_on_the_runs_own_screen(
    app: FmnistApp, maker: RunMaker
) -> None:
    run = maker.make("wrn")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.press("c")
        await until_drawn(pilot, f"Configuration of {run.id}", "Exactly the preset wrn.")
        await pilot.press("c", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("c")
        await until_drawn(pilot, f"Configuration of {run.id}", "Exactly the preset wrn.")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))


async def test_help_lists_this_screens_keys(app: FmnistApp, maker: RunMaker) -> None:
    maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 40)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        text = await until_drawn(pilot, "stop the run, or start a queued one now", "leave the app; runs go on")
        assert "go on from the last checkpoint (not now)" in text, "a running run can't be resumed"
        assert "Cursor up" not in text, "Textual's own keys are not listed"
        under = next(line for line in drawn(app) if "stop the run" in line).index("stop the run")
        rest = next(line for line in drawn(app) if "one) (not now)" in line)
        assert rest.index("one) (not now)") == under, "a line that is wrapped goes on under its beginning"
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_help_of_another_screen_is_another(app: FmnistApp) -> None:
    async with app.run_test(size=(80, 30)) as pilot:
        await pilot.press("3", "question_mark")
        text = await until_drawn(pilot, "write it to a file", "Here")
        assert "stop the run" not in text


async def test_where_keys_are_typed_as_text_help_and_detach_have_others(app: FmnistApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "No runs yet.", "? Keys", "q Detach")
        await pilot.press("n")
        await until_drawn(pilot, "WideResNet-28-10", "? Keys", "q Detach")
        await pilot.press("enter")
        await until_drawn(pilot, "What the run is called", "f1 Keys", "^q Detach")
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await until_drawn(pilot, "an exclamation mark")
        await pilot.press("f1")
        await until(pilot, lambda: not isinstance(app.screen, HelpScreen))


async def test_the_palette_goes_places_and_opens_runs(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("densenet", run_id="20261101-000000-densenet-zzzz")
    maker.make("wrn", run_id="20261102-000000-wrn-zzzz")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "2 runs")
        await pilot.press("ctrl+p")
        await until_drawn(pilot, "Clone", "Detach")
        await pilot.press(*"go to bench")
        await until_drawn(pilot, "Go to Benchmarks", "finished runs beside")
        await pilot.press("enter")
        await until(pilot, lambda: not app.screen.is_modal and place(app) == "benchmarks")
        await pilot.press("ctrl+p", *"open densenet")
        await until_drawn(pilot, "Open densenet")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert isinstance(app.screen, RunScreen) and app.screen.watched_run == run.id


async def test_every_footer_fits_eighty_columns(app: FmnistApp, maker: RunMaker) -> None:
    maker.gallery()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        for keys in ((), ("2",), ("3",), ("4",), ("1", "l"), ("escape", "enter")):
            app.set_focus(None) if keys and keys[0].isdigit() else None
            await pilot.press(*keys)
            await pilot.pause()
            lines = drawn(app)
            assert len(lines) == 24
            assert lines[-1].rstrip().endswith("q Detach"), (keys, lines[-1])
            assert "? Keys" in lines[-1]


async def test_a_key_of_the_footer_can_be_clicked(app: FmnistApp, maker: RunMaker) -> None:
    maker.make("quick")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.click("KeyBar", offset=(drawn(app)[-1].index("? Keys") + 2, 0))
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))


@pytest.mark.parametrize("default", [True, False])
async def test_leaving_says_what_goes_on(
    default: bool,
    app: FmnistApp,
    maker: RunMaker,
    sleeper: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FMNIST_TUI_RUNS_DIR", str(maker.runs_dir if default else "elsewhere"))
    maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("ctrl+c")
        await until_drawn(pilot, "q leaves the app, runs go on")
        await pilot.press("q")
    said = " ".join(capsys.readouterr().err.split())
    command = "fmnist-tui" if default else f"fmnist-tui --runs-dir {maker.runs_dir}"
    assert f"Going on without the app: wrn. {command} shows it again." in said
    os.kill(sleeper, 0)
    assert not app.feed.is_alive()


async def test_the_bar_shows_the_gpu(app: FmnistApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:

        def shows(text: str) -> bool:  # posted again and again: the machine's own samples come in between
            app.post_message(SystemSampled(SystemRecord(gpus=[GPU]), ""))
            return text in drawn(app)[0]

        await until(pilot, lambda: shows("GPU 87%  31/140 GiB"))
        await pilot.resize_terminal(120, 24)
        await until(pilot, lambda: shows("GPU 87%  31/140 GiB  512 W  61 °C"))
        await pilot.resize_terminal(40, 10)
        await until(pilot, lambda: "1 Runs" in drawn(app)[0] and len(drawn(app)[0]) == 40)


def test_facts_of_several_gpus_and_of_silent_ones() -> None:
    gpus = [GpuSample(index=n, name="x", utilization=share) for n, share in enumerate((87.0, None, 3.0))]
    assert gpu_facts(gpus, formats.UNICODE) == ["3 GPUs 87 – 3 %"]
    assert gpu_facts([GpuSample(index=0, name="x")], formats.UNICODE) == ["GPU"]


async def test_the_gpu_screen(app: FmnistApp, maker: RunMaker, sleeper: int) -> None:
    maker.make("wrn", State.RUNNING, epoch=3)
    gpu = GpuSample(
        index=0, name="NVIDIA H200", utilization=87, memory_used=31 << 30, memory_total=140 << 30, power=512,
        power_limit=700, temperature=61, sm_clock=1980, pids=[sleeper, 1],
    )  # fmt: skip
    host = HostSample(cpu_percent=12, load=3.25, cores=16, ram_used=9 << 30, ram_total=128 << 30, disk_free=53 << 30)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        app._system_feed.stop()
        await pilot.press("4")
        app.post_message(SystemSampled(SystemRecord(gpus=[gpu], host=host), ""))
        text = await until_drawn(pilot, "GPU 0  NVIDIA H200", "used by wrn and 1 other process")
        for part in (
            "87 %",
            "31 / 140 GiB",
            "512 / 700 W",
            "61 °C  SM 1,980 MHz",
            "16 cores · load 3.2",
            "53 GiB free",
        ):
            assert part in text
        app.post_message(SystemSampled(SystemRecord(host=host), "no GPU"))
        text = await until_drawn(pilot, "none that an NVIDIA driver knows")
        assert "GPU 0" not in text
        app.post_message(SystemSampled(SystemRecord(host=host), "The driver does not answer: error 999"))
        await until_drawn(pilot, "The driver does not answer: error 999", "GPU problem")
