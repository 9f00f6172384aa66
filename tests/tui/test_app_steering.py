"""Runs edited, resumed and started from the app: every dialog and what it leaves on disk, with real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from textual.widgets import Input

from fmnist_tui.presets import load_preset
from fmnist_tui.runs import process, store
from fmnist_tui.runs.launch import LaunchRequest, last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.messages import RunActionRequested, StartRequested
from fmnist_tui.tui.screens.dialogs import EditDialog, MessageDialog
from fmnist_tui.tui.screens.new_run import NewRunScreen
from fmnist_tui.tui.screens.run import RunScreen
from fmnist_tui.tui.screens.runs import RunsScreen
from tests.tui.synthetic import RunMaker, asked, drawn, until, until_drawn, write_result


async def test_edit_sends_what_was_typed(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=37)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("e")
        await until_drawn(pilot, "Epochs in all", "200 planned, in 37 now", "Stop at test accuracy")
        app.screen.query_one("#epochs", Input).value = "36"
        await until_drawn(pilot, "epochs: a whole number from 37 to 100,000")
        await pilot.press("enter")
        assert isinstance(app.screen, EditDialog), "nothing is sent while anything is wrong"
        app.screen.query_one("#epochs", Input).value = "120"
        app.screen.query_one("#accuracy", Input).value = "101"
        await until_drawn(pilot, "accuracy: a number from 0 to 100, or nothing")
        app.screen.query_one("#accuracy", Input).value = "94.5"
        await pilot.press("enter")
        await until(pilot, lambda: len(asked(run)) == 1)
        sent = asked(run)[0]
        assert (sent.request, sent.epochs, sent.stop_at_accuracy) == ("edit", 120, 94.5)


async def test_an_accuracy_to_stop_at_is_shown_and_emptying_its_field_takes_it_back(
    app: FmnistApp, maker: RunMaker
) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=37, stop_at_accuracy=94.5)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "epoch 37 of 200, stops at 94.5 %")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until_drawn(pilot, "epoch 37 of 200, stops at 94.5 %")
        await pilot.press("e")
        await until_drawn(pilot, "Stop at test accuracy", "94.5", "%; empty: at none")
        assert app.screen.query_one("#accuracy", Input).value == "94.5"
        app.screen.query_one("#accuracy", Input).value = ""
        await pilot.press("enter")
        await until(pilot, lambda: len(asked(run)) == 1)
        assert (asked(run)[0].epochs, asked(run)[0].stop_at_accuracy) == (None, 0.0)
        maker.write_status(run, stop_at_accuracy=None)
        await until(pilot, lambda: "stops at" not in "".join(drawn(app)))


@pytest.mark.parametrize("limit", [None, 94.5])
async def test_edit_without_a_change_sends_nothing(app: FmnistApp, maker: RunMaker, limit: float | None) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=37, stop_at_accuracy=limit)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, EditDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert asked(run) == []


async def test_resume_goes_on_as_it_was_started(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory], tmp_path: Path
) -> None:
    run = maker.make("quick", State.LOST, epoch=3)
    run.checkpoint("last").write_bytes(b"weights")
    launch = LaunchRequest.model_validate_json(run.launch.read_bytes())
    run.launch.write_text(launch.model_copy(update={"device": "cpu", "data_dir": str(tmp_path)}).to_json())
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "? lost")
        await pilot.press("r")
        await until_drawn(pilot, "quick goes on.", "○ starting")
    assert [started.id for started in workers] == [run.id]
    resumed = last_launch(run)
    assert (resumed.device, resumed.data_dir, resumed.epochs) == ("cpu", str(tmp_path), None)


async def test_what_has_no_checkpoint_starts_again(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    maker.make("quick", State.FAILED, epoch=1)
    maker.make("wrn", State.RUNNING)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "✗ failed")
        await pilot.press("end", "r")
        await until_drawn(pilot, "quick starts again, in its turn.")
        await until(pilot, lambda: len(workers) == 1)


async def test_a_run_with_a_damaged_status_can_be_resumed_and_one_without_settings_says_why_not(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    run = maker.make("quick")
    write_result(run)
    run.checkpoint("last").write_bytes(b"weights")
    run.status.write_bytes(b"")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "✓ finished", "status.json is damaged", "r goes on with it")
        await pilot.press("r")
        await until_drawn(pilot, "Train quick for longer")
        await pilot.press("escape")
        assert not workers
    run.config.write_bytes(b"")
    other = FmnistApp(maker.runs_dir, None)
    async with other.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "config.json is damaged")
        await pilot.press("r")
        await until_drawn(pilot, "r can't go on with this one: config.json is damaged")


async def test_a_finished_run_is_resumed_for_more_epochs(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    run = maker.make("quick")
    run.checkpoint("last").write_bytes(b"weights")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.press("r")
        await until_drawn(pilot, "Train quick for longer", "16", "Its row of the table stays")
        app.screen.query_one("#epochs", Input).value = "8"
        await until_drawn(pilot, "epochs: a whole number from 9")
        app.screen.query_one("#epochs", Input).value = "12"
        await pilot.press("enter")
        await until(pilot, lambda: len(workers) == 1)
    resumed = last_launch(run)
    assert resumed.epochs == 12


async def test_a_run_that_its_accuracy_limit_ended_is_resumed_without_it(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    run = maker.make("quick", epoch=3, stop_at_accuracy=50.0, test_accuracy=84.25)
    run.checkpoint("last").write_bytes(b"weights")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.press("r")
        await until_drawn(pilot, "Train quick for longer", "Stop at test accuracy", "50", "Its row of the table")
        await pilot.press("enter")
        await until_drawn(pilot, "accuracy: 84.25 % reached; raise it, or empty it")
        app.screen.query_one("#epochs", Input).value = "12"
        await pilot.press("enter")
        assert isinstance(app.screen, EditDialog), "more epochs alone would train one of them"
        app.screen.query_one("#epochs", Input).value = "8"
        app.screen.query_one("#accuracy", Input).value = ""
        await pilot.press("enter")
        await until(pilot, lambda: len(workers) == 1)
    resumed = last_launch(run)
    assert (resumed.epochs, resumed.stop_at_accuracy) == (8, 0.0)


async def test_a_run_at_its_step_limit_is_not_asked_how_much_longer(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    training = load_preset("quick").training.model_copy(update={"max_steps": 60})
    maker.make("quick", changes={"training": training}, epoch=2, step=60, steps=60)
    async with app.run_test(size=(80, 24)) as pilot:
        text = await until_drawn(pilot, "enter shows its curves, C starts one like it")
        assert "r trains for more" not in text
        await pilot.press("r")
        await until_drawn(pilot, "quick was not resumed", "training.max_steps = 60", "keeps the limit")
        assert isinstance(app.screen, MessageDialog) and not workers


async def test_a_run_of_several_machines_is_resumed_on_the_command_line(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    run = maker.make("quick", State.STOPPED, epoch=3)
    run.checkpoint("last").write_bytes(b"weights")
    launch = LaunchRequest(nodes=2, rendezvous="10.0.0.1:29500")
    run.launch.write_text(launch.to_json())
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "■ stopped")
        await pilot.press("r")
        await until_drawn(pilot, "quick was not resumed", "trains on 2 machines", "--nnodes 2", "10.0.0.1:29500")
    assert workers == [] and last_launch(run) == launch, "nothing was changed"


async def test_what_cannot_be_resumed_says_why(app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]) -> None:
    run = maker.make("wrn", State.STOPPED, epoch=9)
    run.checkpoint("last").write_bytes(b"weights")
    app.data_dir = app.runs_dir / "nowhere"
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "■ stopped")
        await pilot.press("r")
        await until_drawn(pilot, "wrn was not resumed", "was not found in the directory", "no such directory")
    assert workers == []
    assert store.load_run(run).state is State.STOPPED


@pytest.mark.parametrize("queued", [False, True])
async def test_start_makes_a_run_and_shows_it(
    app: FmnistApp, runs_dir: Path, workers: list[RunDirectory], queued: bool
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        app.screen.post_message(StartRequested(load_preset("quick"), "cpu", queued, gpus=2))
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert [type(screen) for screen in app.screen_stack] == [RunsScreen, RunScreen], "back leads home"
        (run,) = store.list_runs(runs_dir)
        assert run.config is not None and run.config.preset == "quick"
        assert [started.id for started in workers] == [run.id]
        launch = last_launch(run.directory)
        assert (launch.device, launch.now, launch.gpus) == ("cpu", not queued, 2)
        assert isinstance(app.screen, RunScreen) and app.screen.watched_run == run.id


async def test_start_without_the_data_says_so_and_keeps_the_form(
    app: FmnistApp, runs_dir: Path, workers: list[RunDirectory]
) -> None:
    app.data_dir = runs_dir / "nowhere"
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        form = app.screen
        form.post_message(StartRequested(load_preset("wrn")))
        await until_drawn(pilot, "wrn was not started", "The Fashion-MNIST data set was not found")
        assert isinstance(app.screen, MessageDialog)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is form)
    assert workers == [] and not runs_dir.exists(), "nothing is left half-made"


async def test_start_in_a_directory_that_cannot_be_used(tmp_path: Path, workers: list[RunDirectory]) -> None:
    (tmp_path / "file").write_text("")
    app = FmnistApp(tmp_path / "file" / "runs", None)
    async with app.run_test(size=(80, 24)) as pilot:
        app.screen.post_message(StartRequested(load_preset("quick")))
        await until_drawn(pilot, "quick was not started", "part of the path is a file")
    assert workers == []


async def test_a_worker_that_cannot_start_leaves_a_failed_run(
    app: FmnistApp, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: RunDirectory) -> subprocess.Popen[bytes]:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(process, "start_worker", broken)
    async with app.run_test(size=(80, 24)) as pilot:
        app.screen.post_message(StartRequested(load_preset("quick")))
        await until_drawn(pilot, "quick was not started", "Cannot allocate memory")
        await pilot.press("enter")
        await until_drawn(pilot, "✗ failed")


async def test_a_started_worker_is_no_zombie(app: FmnistApp, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[bytes]] = []

    def start(run: RunDirectory) -> subprocess.Popen[bytes]:
        run.worker_log.write_text("ModuleNotFoundError: No module named 'torch'\n")
        children.append(subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]))
        return children[0]

    monkeypatch.setattr(process, "start_worker", start)
    async with app.run_test(size=(120, 24)) as pilot:
        app.screen.post_message(StartRequested(load_preset("quick")))
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("1")
        await until_drawn(pilot, "✗ failed", "No module named 'torch'")
        assert children[0].returncode == 1


async def test_a_copy_of_a_run_that_was_edited_says_what_it_has_not(app: FmnistApp, maker: RunMaker) -> None:
    maker.make("quick", State.STOPPED, epoch=3, epochs=20, stop_at_accuracy=94.5)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until_drawn(pilot, "■ stopped")
        await pilot.press("C")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        await until(pilot, lambda: len(app._notifications) == 1)
        said = next(iter(app._notifications)).message
        assert said == (
            "quick was changed on the way to 20 epochs or 94.5 % test accuracy; the copy is as it was made: 8 epochs."
        )


async def test_an_action_on_a_run_that_is_gone(app: FmnistApp) -> None:
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "No runs yet.")
        app.screen.post_message(RunActionRequested("20261101-000000-quick-aaaa", "stop"))
        await until_drawn(pilot, "20261101-000000-quick-aaaa is gone.")


async def test_dialogs_fit_forty_by_ten(app: FmnistApp, maker: RunMaker) -> None:
    maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(40, 10)) as pilot:
        await until_drawn(pilot, "● wrn")
        for key, shown in (("s", "Stop wrn?"), ("e", "Epochs in all"), ("question_mark", "Keys")):
            await pilot.press(key)
            await until_drawn(pilot, shown)
            assert all(len(line) == 40 for line in drawn(app))
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
