"""Runs stopped, killed, taken out of a queue and deleted from the app: every dialog and what it leaves on disk."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from fmnist_tui.runs import jobs, queue
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import SlurmJob, State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.choice_dialogs import ChoiceDialog
from fmnist_tui.tui.screens.runs import RunsScreen
from tests.full_disk import disk_full
from tests.tui.synthetic import RunMaker, asked, drawn, until, until_drawn


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


async def test_a_stop_at_once_holds_against_a_later_wish(app: FmnistApp, maker: RunMaker) -> None:
    maker.make("wrn", State.STOPPING, epoch=3)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "stopping")
        await pilot.press("s", "a")
        await until_drawn(pilot, "wrn was asked to stop at once before, and that", "holds.")


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


@pytest.mark.parametrize(
    ("saved", "said"),
    [(True, "wrn was killed. r resumes it from its last"), (False, "wrn was killed. It had no checkpoint yet.")],
)
async def test_kill(app: FmnistApp, maker: RunMaker, saved: bool, said: str) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    created = psutil.Process(worker.pid).create_time()
    run = maker.make("wrn", State.RUNNING, epoch=3, pid=worker.pid, pid_started=created)
    if not saved:
        run.checkpoint("last").unlink()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("s", "k")
        await until_drawn(pilot, "✗ failed", said)
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
        await until_drawn(pilot, "queued, 2nd on cuda:0, behind wrn-aaaa", "starts in 1h 07m")
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
        await until_drawn(pilot, "No runs any more", "is deleted")
        assert not run.path.exists()
