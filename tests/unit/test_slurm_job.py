"""A run within its job: where its nodes meet, from where it goes on, and no queue of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.launch import LaunchRequest, last_launch
from fmnist_tui.runs.process import RENDEZVOUS
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.slurm_job import rendezvous
from fmnist_tui.runs.status import State
from fmnist_tui.training.__main__ import _as_it_is_now
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.turn import Turn
from tests.unit.slurm_programs import made

pytestmark = pytest.mark.usefixtures("nothing_known")


def test_nodes_meet_at_the_address_slurm_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_LAUNCH_NODE_IPADDR", raising=False)
    assert rendezvous("123456", "node7") == "node7:23456"
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "fd00::7")
    assert rendezvous("12_3", "node7") == "[fd00::7]:20012"


def test_a_start_knows_where_its_nodes_meet_and_goes_on_from_what_it_wrote(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run resumed from its best checkpoint that is preempted must not begin at the best one again, by no clock."""
    run = starting.create_run(runs_dir, load_preset("quick"), launcher="slurm", nodes=2)
    monkeypatch.setenv(RENDEZVOUS, "node7:20012")
    status, asked = store.read_status(run), LaunchRequest(checkpoint="best", nodes=2)
    assert status is not None
    assert _as_it_is_now(asked, status).rendezvous == "node7:20012"
    assert _as_it_is_now(asked, status).checkpoint == "best"
    begun = status.model_copy(update={"launched": asked.time})
    assert _as_it_is_now(asked, begun).checkpoint == "last"


def test_a_job_waits_in_no_queue_of_this_machine(runs_dir: Path) -> None:
    config = load_preset("quick")
    turns = []
    for launcher in ("local", "slurm"):
        run = starting.create_run(runs_dir, config, device="cpu", launcher=launcher, gpus=2)
        status = store.read_status(run)
        assert status is not None
        reporter = Reporter(run, status)
        turn = Turn(run, config, last_launch(run), reporter, StopSignal())
        turns.append(turn)
        turn.wait("cpu")
        assert [device.name for device in turn.devices] == ["cpu", "cpu"]
        assert reporter.status.state is State.STARTING
    for turn in turns:
        turn.__exit__(None, None, None)


def test_a_stopped_run_is_not_marked_again(runs_dir: Path) -> None:
    run = made(runs_dir, state=State.FINISHED, ended=utc_now())
    store.mark_stopped(run.directory, "too late")
    assert store.load_run(run.directory).state is State.FINISHED and not run.directory.metrics.exists()
