"""A Slurm job submitted from New run: what is asked, what Slurm is told, and what is left where it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input, Select

from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.slurm import SlurmSettings
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.launching import JobRequest
from fmnist_tui.tui.messages import StartRequested
from fmnist_tui.tui.screens.dialogs import MessageDialog
from fmnist_tui.tui.screens.new_run import NewRunScreen
from fmnist_tui.tui.screens.run import RunScreen
from fmnist_tui.tui.screens.slurm_dialog import SlurmDialog
from fmnist_tui.tui.widgets.start_bar import SLURM, DeviceSelect, StartBar
from tests.tui.new_run_host import new_run, notices, reason
from tests.tui.synthetic import until, until_drawn
from tests.unit.slurm_programs import Program, job

pytestmark = pytest.mark.usefixtures("nothing_known")
QUICK = load_preset("quick")


async def opened(app: FmnistApp, pilot: object) -> SlurmDialog:
    """The dialog of a run of `quick`, over the form."""
    await pilot.press("n")  # type: ignore[attr-defined]
    await until(pilot, lambda: isinstance(app.screen, NewRunScreen))  # type: ignore[arg-type]
    app.screen.post_message(StartRequested(QUICK, slurm=True))
    await until(pilot, lambda: isinstance(app.screen, SlurmDialog))  # type: ignore[arg-type]
    assert isinstance(app.screen, SlurmDialog)
    return app.screen


def type_into(dialog: SlurmDialog, **values: str) -> None:
    for key, text in values.items():
        dialog.query_one(f"#{key}", Input).value = text


@pytest.mark.usefixtures("usual_machine")
async def test_it_is_offered_where_there_is_slurm_and_start_says_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with new_run(QUICK) as (_, screen, pilot):
        await until(pilot, lambda: bool(screen.query_one(StartBar).gpus))
        assert SLURM not in [value for _, value in screen.query_one(DeviceSelect)._options]
    monkeypatch.setattr("fmnist_tui.tui.surroundings.has_slurm", lambda: True)
    async with new_run(QUICK) as (app, screen, pilot):
        bar = screen.query_one(StartBar)
        await until(pilot, lambda: bool(bar.gpus))
        screen.query_one("#device", Select).value = SLURM
        await until(pilot, lambda: reason(screen).startswith("Start asks what the job"))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: notices(app) == ["Slurm says when a job starts; ^s submits it."])
        await pilot.press("ctrl+s")
        await until(pilot, lambda: [message.slurm for message in app.started] == [True])


async def test_the_job_is_submitted_as_typed(app: FmnistApp, runs_dir: Path, program: Program) -> None:
    program("sbatch", 'echo "Submitted batch job 81"')
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = await opened(app, pilot)
        await until_drawn(pilot, "Submit quick to Slurm", "GPUs of each node; 0 trains on its CPU.")
        assert dialog.query_one("#setup", Input).size.width > 40, "lines of shell are long"
        type_into(dialog, gpus="2", nodes="3", partition="gpu", time="1:30:00", setup="module load cuda")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        (run,) = store.list_runs(runs_dir)
        launch = last_launch(run.directory)
        assert (launch.launcher, launch.device, launch.gpus, launch.nodes) == ("slurm", "cuda", 2, 3)
        assert launch.slurm == SlurmSettings(partition="gpu", time=90, setup=("module load cuda",))
        assert launch.job is not None and launch.job.id == "81" and run.state is State.QUEUED


async def test_what_is_wrong_is_said_and_nothing_is_made(app: FmnistApp, runs_dir: Path, program: Program) -> None:
    program("sbatch", 'echo "sbatch: error: invalid partition specified: nope" >&2; exit 1')
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = await opened(app, pilot)
        await pilot.resize_terminal(40, 10)
        await until_drawn(pilot, "esc cancels")
        await pilot.press(*["down"] * 7)
        await until(pilot, lambda: app.focused is dialog.query_one("#mem"))
        await until_drawn(pilot, "mem", "esc cancels")
        type_into(dialog, mem="much")  # three lines at this width
        await until_drawn(pilot, "mem      ", "mem = 'much': must be a size", "example 64G", "esc cancels")
        type_into(dialog, mem="")
        await pilot.resize_terminal(80, 24)
        await until_drawn(pilot, "gpus", "requeues", "Memory of each node", "esc cancels")
        for key, wrong, said in (
            ("nodes", "0", "nodes: must be a whole number from 1 to 1,024"),
            ("time", "soon", "must be minutes, or as sbatch takes it"),
            ("mem", "much", "must be a size, for example 64G"),
        ):
            type_into(dialog, **{key: wrong})
            await until_drawn(pilot, said)
            await pilot.press("enter")
            assert app.screen is dialog and app.focused is dialog.query_one(f"#{key}")
            assert [field.id for field in dialog.query(Input) if field.has_class("-wrong")] == [key]
            type_into(dialog, **{key: ""})
            await until(pilot, lambda: not dialog.query(".-wrong"))
        type_into(dialog, gpus="0", partition="nope")
        await pilot.press("enter")
        await until_drawn(pilot, "quick was not submitted", "Slurm refused the job: invalid partition")
        assert isinstance(app.screen, MessageDialog) and store.list_runs(runs_dir) == []
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, SlurmDialog))
        assert app.screen.query_one("#partition", Input).value == "nope", "what was typed stands there again"
        assert app.screen.query_one("#gpus", Input).value == "0"


async def test_where_no_job_can_be_submitted_it_is_said_first(
    app: FmnistApp, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(runs_dir))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        app.screen.post_message(StartRequested(QUICK, slurm=True))
        await until_drawn(pilot, "quick was not submitted", "sbatch and srun, which are not here", "login node")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))


async def test_what_the_last_job_had_stands_there_and_escape_submits_nothing(
    app: FmnistApp, runs_dir: Path, program: Program
) -> None:
    calls = program("sbatch", "exit 1")
    before = SlurmSettings(partition="gpu", exclusive=True, setup=("module load cuda", "ulimit -n 4096"), time=720)
    run = starting.create_run(runs_dir, QUICK, "cuda", launcher="slurm", slurm=before, gpus=4, nodes=2)
    status = store.read_status(run)
    assert status is not None
    ended = status.model_copy(update={"job": job(), "state": State.STOPPED})
    replace_bytes(run.status, ended.to_json().encode())
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "■ stopped")
        dialog = await opened(app, pilot)
        found = dialog._read()
        assert isinstance(found, JobRequest)
        assert (found.device, found.gpus, found.nodes, found.settings) == ("cuda", 4, 2, before)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        assert len(store.list_runs(runs_dir)) == 1 and not calls.exists()
