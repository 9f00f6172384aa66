"""Runs of the preset `quick` in any state, for the tests of the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fmnist_tui.config import RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import State, Status
from tests.results import ON_CPU, result_of


def make_run(runs_dir: Path, config: RunConfig | None = None, **values: Any) -> RunDirectory:
    """A run whose status says what `values` say."""
    run = starting.create_run(runs_dir, config or load_preset("quick"), device="cpu")
    current = Status.model_validate_json(run.status.read_bytes())
    replace_bytes(run.status, current.model_copy(update=values).to_json().encode())
    return run


def finished_run(runs_dir: Path) -> RunDirectory:
    """A run of 'quick' with one changed field that has finished."""
    config = with_changes(load_preset("quick"), {"optimizer.lr": 0.05})
    values = {"test_accuracy": 84.25, "best_accuracy": 84.5, "best_epoch": 7, "epoch": 8, "step": 376, "steps": 376}
    run = make_run(runs_dir, config, state=State.FINISHED, exit_code=0, **values)
    result = result_of(
        config, run.id, **ON_CPU, parameters=303_418, steps=376, test_accuracy=84.25, best_accuracy=84.5, best_epoch=7,
        train_accuracy=88.0, train_seconds=50.0, eval_seconds=5.0, total_seconds=57.0, images_per_second=960.0,
        started=utc_now(), finished=utc_now(),
    )  # fmt: skip
    run.result.write_text(result.to_json())
    run.checkpoint("last").write_bytes(b"a checkpoint")
    return run
