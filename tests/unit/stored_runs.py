"""What the tests of the store and of `starting` share: runs in a state, refusals, and what lies in a directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import process_started
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import State, Status

on_disk = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(RunError) as caught:
        call(*arguments, **options)
    return str(caught.value)


def write_status(run: RunDirectory, **changes: Any) -> Status:
    """Change a run's status.json as a worker would."""
    status = Status.model_validate_json(run.status.read_bytes()).model_copy(update=changes)
    run.status.write_text(status.to_json(), "utf-8")
    return status


def finish(run: RunDirectory, state: State = State.FINISHED, **changes: Any) -> Status:
    """A run that has ended, with something in the place of its checkpoint."""
    run.checkpoint("last").write_bytes(b"a checkpoint")
    return write_status(run, **{"state": state, "epoch": 8, "step": 800, "ended": utc_now()} | changes)


def tree(directory: Path) -> dict[str, bytes | str]:
    """Everything below a directory, to see that nothing changed."""
    found: dict[str, bytes | str] = {}
    for path in sorted(directory.rglob("*")):
        kind = f"-> {path.readlink()}" if path.is_symlink() else "dir"
        found[str(path.relative_to(directory))] = path.read_bytes() if path.is_file() else kind
    return found


def me() -> dict[str, Any]:
    """This process as the worker of a run, in its status."""
    return {"pid": os.getpid(), "pid_started": process_started(os.getpid())}
