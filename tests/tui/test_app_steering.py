"""What the app does to runs: every dialog and what it leaves on disk, with real run directories and processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from textual.widgets import Input

from fmnist_tui.presets import load_preset
from fmnist_tui.runs import jobs, process, queue, requests, store
from fmnist_tui.runs.launch import LaunchRequest, last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.requests import ControlRequest
from fmnist_tui.runs.status import SlurmJob, State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.messages import RunActionRequested, StartRequested
from fmnist_tui.tui.screens.dialogs import ChoiceDialog, EditDialog, MessageDialog
from fmnist_tui.tui.screens.new_run import NewRunScreen
from fmnist_tui.tui.screens.run import RunScreen
from fmnist_tui.tui.screens.runs import RunsScreen
from tests.full_disk import disk_full
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn, wait_for, write_result


@pytest.fixture
def app(runs_dir: Path) -> FmnistApp:
    return FmnistApp(runs_dir, None)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RunDirectory]]:
    """The runs workers were started for; each is a process that sleeps."""
    started: list[RunDirectory] = []
    children: list[subprocess.Popen[bytes]] = []

    def start(run: RunDirectory) -> subprocess.Popen[bytes]:
        started.append(run)
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        children.append(child)
        return child

    monkeypatch.setattr(process, "start_worker", start)
    yield started
    for child in children:
        child.kill()
        child.wait()


def asked(run: RunDirectory) -> list[ControlRequest]:
    return requests.read_control(run).requests


@pytest.mark.parametrize(("key", "request_"), [("n", "stop"), ("a", "stop_after_epoch")])
async def test_stop_asks_how(app: FmnistApp, maker: RunMaker, key: str, request_: str) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("s")
        await until_drawn(pilot, "Stop wrn?", "Now, with a checkpoint", "After this epoch", "Kill it")
        assert asked(run) == []
        await pilot.press(key)
        await until(pilot, lambda: len(asked(run)) == 1)
        assert asked(run)[0].request == request_
        await until_drawn(pilot, "wrn was asked to stop")


async def test_stop_can_be_cancelled_and_chosen_with_the_arrows(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert asked(run) == []
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(pilot, lambda: [r.request for r in asked(run)] == ["stop_after_epoch"])


async def test_kill(app: FmnistApp, maker: RunMaker) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    created = psutil.Process(worker.pid).create_time()
    maker.make("wrn", State.RUNNING, epoch=3, pid=worker.pid, pid_started=created)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("s", "k")
        await until_drawn(pilot, "✗ failed", "wrn was killed")
        assert worker.wait(10) == -9


async def test_a_run_on_a_full_disk_is_stopped_by_a_signal(
    app: FmnistApp, maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what else is asked for is refused in words."""

    disk_full(monkeypatch)
    worker = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    created = psutil.Process(worker.pid).create_time()
    run = maker.make("wrn", State.RUNNING, epoch=3, pid=worker.pid, pid_started=created)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("s", "a")
        await until_drawn(pilot, "wrn was not stopped", "cannot be asked: No space left on")
        assert worker.poll() is None
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await pilot.press("s", "n")
        await until_drawn(pilot, "wrn stops", "could not be written (No space left on", "Don't stop it again")
        assert worker.wait(10) == -15 and asked(run) == []


async def test_a_worker_elsewhere_can_be_asked_but_not_killed(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3, host="another-machine")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("s")
        text = await until_drawn(pilot, "runs on another machine")
        assert "Kill" not in text
        await pilot.press("k", "n")
        await until(pilot, lambda: [r.request for r in asked(run)] == ["stop"])


async def test_a_run_that_ended_meanwhile_cannot_be_stopped(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        maker.write_status(run, state=State.FINISHED)
        await pilot.press("n")
        await until_drawn(pilot, "wrn was not stopped", "is finished already")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


@pytest.mark.parametrize(
    ("state", "keys", "title"),
    [
        (State.RUNNING, ("s", "n"), "was not stopped"),
        (State.QUEUED, ("s", "b"), "was not started"),
        (State.STOPPED, ("d", "d"), "was not deleted"),
    ],
)
async def test_a_run_that_another_app_deleted_is_said_to_be_gone(
    app: FmnistApp, maker: RunMaker, state: State, keys: tuple[str, str], title: str
) -> None:
    run = maker.make("wrn", state, epoch=3)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, str(state))
        await pilot.press(keys[0])
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        run.path.rename(run.path.with_name(".gone"))
        await pilot.press(keys[1])
        await until_drawn(pilot, f"wrn {title}", "it was deleted meanwhile")


async def test_a_run_is_asked_about_as_it_is_now_and_not_as_it_was_listed(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.QUEUED, epoch=0, queue_place=1, device="cpu")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "◌ queued")
        app.feed.stop(10.0)
        maker.write_status(run, state=State.RUNNING, queue_place=None)
        await pilot.press("s")
        await until_drawn(pilot, "Stop wrn?")


async def test_a_queued_run_shows_its_place_and_can_be_moved_and_taken_out(
    app: FmnistApp, maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.make("wrn", State.RUNNING, epoch=3, run_id="20261101-000000-wrn-aaaa")
    for place in (1, 2):
        maker.make(
            "densenet", State.QUEUED, epoch=0, run_id=f"20261101-00000{9 - place}-densenet-aaaa", queue_place=place,
            queue_behind="20261101-000000-wrn-aaaa", starts_in_seconds=4020.0, device="cuda:0",
        )  # fmt: skip
    moved: list[tuple[str, int]] = []

    def move(run_id: str, place: int) -> int:
        moved.append((run_id, place))
        return place

    monkeypatch.setattr(queue, "move", move)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "● running", "3 runs, 1 at work, 2 queued")
        assert [line.split()[1] for line in drawn(app)[2:5]] == ["running", "queued", "queued"]
        assert "in 1h 07m" in drawn(app)[3]
        await pilot.press("down", "down")
        await until_drawn(pilot, "queued, 2nd on cuda:0, behind 20261101-000000-wrn-aaaa", "starts in 1h 07m")
        assert "e Edit" not in drawn(app)[-1]
        await pilot.press("plus")
        await until_drawn(pilot, "20261101-000007-densenet-aaaa is the next now.")
        assert moved == [("20261101-000007-densenet-aaaa", 1)]
        await pilot.press("s")
        await until_drawn(pilot, "densenet waits for its device", "Take it out of the queue")
        await pilot.press("n")
        await until_drawn(pilot, "densenet was asked to leave the queue.")
        run = RunDirectory(app.runs_dir / "20261101-000007-densenet-aaaa")
        assert [request.request for request in asked(run)] == ["stop"]


async def test_a_queued_run_can_be_told_to_start_now(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("densenet", State.QUEUED, epoch=0, queue_place=1, device="cuda:0")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "◌ queued", "s starts it now or takes it out")
        await pilot.press("s")
        await until_drawn(pilot, "densenet waits for its device", "Start it now", "both are slower")
        await pilot.press("b")
        await until_drawn(pilot, "densenet was told to start now.")
        assert [request.request for request in asked(run)] == ["start_now"]
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        maker.write_status(run, state=State.RUNNING, queue_place=None)
        await pilot.press("b")
        await until_drawn(pilot, "densenet was not started", "is running; only a queued run")


async def test_a_run_that_waits_for_slurm_says_so_and_its_job_can_be_cancelled(
    app: FmnistApp, maker: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = {"12": jobs.JobView("PENDING", "Priority")}
    monkeypatch.setattr(jobs, "look", lambda job, now=False: views[job.id])
    monkeypatch.setattr(jobs, "last_seen", lambda job: views[job.id])
    monkeypatch.setattr(jobs, "cancel_pending", lambda job: views.update({job.id: jobs.JobView("CANCELLED")}) is None)
    submitted = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    maker.make("wrn", State.QUEUED, epoch=0, pid=None, job=SlurmJob(id="12"), heartbeat=submitted)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(
            pilot, "◌ queued", "Slurm job 12, pending (others go first)", "Slurm starts it; s cancels its job"
        )
        assert "Sooner" not in drawn(app)[-1], "Slurm has an order of its own"
        await pilot.press("enter")
        await until_drawn(pilot, "queued, Slurm job 12, pending", "Queued: Slurm job 12, pending (others go first).")
        assert not any("heartbeat" in line or "Starting" in line for line in drawn(app)), "nobody is there yet"
        await pilot.press("s")
        await until_drawn(pilot, "wrn waits for Slurm job 12", "Cancel its job")
        await pilot.press("n")
        await until_drawn(pilot, "wrn was taken out of Slurm's queue.", "■ wrn")


async def test_delete_asks(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("quick")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "✓ finished")
        for key in ("escape", "k"):
            await pilot.press("d")
            await until_drawn(pilot, "Delete quick?")
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
            assert run.marker.is_file()
        await pilot.press("d", "d")
        await until_drawn(pilot, "No runs yet.", "is deleted")
        assert not run.path.exists()


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


async def test_a_finished_run_is_resumed_for_more_epochs(
    app: FmnistApp, maker: RunMaker, workers: list[RunDirectory]
) -> None:
    run = maker.make("quick")
    run.checkpoint("last").write_bytes(b"weights")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "✓ finished")
        await pilot.press("r")
        await until_drawn(pilot, "Train quick for longer", "16")
        app.screen.query_one("#epochs", Input).value = "8"
        await until_drawn(pilot, "epochs: a whole number from 9")
        app.screen.query_one("#epochs", Input).value = "12"
        await pilot.press("enter")
        await until(pilot, lambda: len(workers) == 1)
    resumed = last_launch(run)
    assert resumed.epochs == 12


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


async def test_an_action_on_a_run_that_is_gone(app: FmnistApp) -> None:
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "No runs yet.")
        app.screen.post_message(RunActionRequested("20261101-000000-quick-aaaa", "stop"))
        await until_drawn(pilot, "20261101-000000-quick-aaaa is gone.")


class TestBenchmarks:
    """The Benchmarks screen."""

    async def test_without_results_it_shows_what_to_beat(self, app: FmnistApp) -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("3")
            text = await until_drawn(pilot, "No run has finished yet", "To beat: 2018")
            for row in (("WideResNet", "93.2775", "about 7 h"), ("Shake-Shake 96d", "93.7275", "1,800")):
                assert any(all(part in line for part in row) for line in text.splitlines())

    async def test_results_beside_the_reference(self, app: FmnistApp, maker: RunMaker) -> None:
        write_result(maker.make("wrn"))
        write_result(maker.make("wrn", changes={"seed": 1}), seed=1, test_accuracy=94.05)
        run = maker.make("quick")
        write_result(run, test_accuracy=91.0, best_accuracy=91.5, device="cpu", device_name="Xeon")
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("3")
            text = await until_drawn(pilot, "3 finished runs", "custom split (30,000 / 40,000)", "Sample data")
            (ours,) = [line for line in text.splitlines() if "94.00 ±0.07" in line]
            for part in ("WideResNet", "94.12 ±0.00", "+0.84", "200", "9,870", "NVIDIA H200"):
                assert part in ours
            assert text.index("94.00") < text.index("93.2775") < text.index("91.50"), "sections in order"
            newer = maker.make("densenet")
            write_result(newer)
            await until_drawn(pilot, "4 finished runs", "DenseNet")
            await pilot.press("end", "enter")
            await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.watched_run == run.id)

    async def test_export(self, app: FmnistApp, maker: RunMaker, tmp_path: Path) -> None:
        write_result(maker.make("wrn"))
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await pilot.press("3")
            await until_drawn(pilot, "1 finished run")
            await pilot.press("x")
            await until_drawn(pilot, "Write the table to a file")
            name = app.screen.query_one("#path", Input)
            for wrong, said in (("table.doc", "the name must end in"), ("no/where.md", "there is no directory no")):
                name.value = wrong
                await pilot.press("enter")
                await until_drawn(pilot, said)
            name.value = "table.csv"
            await pilot.press("enter")
            await until_drawn(pilot, "Written to")
            assert "WideResNet" in (tmp_path / "table.csv").read_text() or "wrn" in (tmp_path / "table.csv").read_text()
            (tmp_path / "old.md").write_text("mine")
            await pilot.press("x")
            await until_drawn(pilot, "Write the table to a file")
            app.screen.query_one("#path", Input).value = "old.md"
            await pilot.press("enter")
            await until_drawn(pilot, "exists already; enter again replaces it")
            assert (tmp_path / "old.md").read_text() == "mine"
            await pilot.press("enter")
            await until(pilot, lambda: wait_for(lambda: "Fashion-MNIST" in (tmp_path / "old.md").read_text(), 0.0))

    async def test_copy(self, app: FmnistApp, maker: RunMaker) -> None:
        write_result(maker.make("wrn"))
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("3")
            await until_drawn(pilot, "1 finished run")
            await pilot.press("y")
            await until(pilot, lambda: "| WideResNet" in app.clipboard)


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
