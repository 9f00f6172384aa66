"""What the tests of Slurm share: programs in its place, and runs that wait for a job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.status import SlurmJob, State, Status

Program = Callable[[str, str], Path]


def job(job_id: str = "12", user: str = "") -> SlurmJob:
    return SlurmJob(id=job_id, user=user)


def waiting(**values: Any) -> Status:
    """A run that waits for its job, as status.json says it; submitted two hours ago."""
    old = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    return Status(**({"state": State.QUEUED, "job": job(), "host": "login", "heartbeat": old} | values))


def made(runs_dir: Path, **values: Any) -> store.Run:
    run = starting.create_run(runs_dir, load_preset("quick"), device="cpu", launcher="slurm")
    status = store.read_status(run)
    assert status is not None
    replace_bytes(run.status, status.model_copy(update={"phase": "", **values}).to_json().encode())
    return store.load_run(run)
