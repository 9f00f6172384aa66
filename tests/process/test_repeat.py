"""`run repeat`: with real workers the same weights bit for bit; and what is not as it was, in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fmnist_tui.cli import main
from fmnist_tui.config import RunConfig
from fmnist_tui.console import repeat
from fmnist_tui.data.source import load_sample
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EventRecord
from fmnist_tui.runs.result import Provenance
from fmnist_tui.runs.status import Status
from tests.process import cli_helpers as h

SHORT = ("--set=training.deterministic=true", "--set=training.max_steps=6", "--epochs=1", "--seed=11")
MADE = Provenance(fmnist_tui="0.1.0", python="3.11.7", torch="2.14.1", platform="Linux", threads=1)


def test_a_repeat_has_the_same_weights_bit_for_bit(runs_dir: Path) -> None:
    first = h.run("run", "preset", "quick", *h.TINY, *SHORT)
    assert first.returncode == 0, first.stderr
    before = h.only_run(runs_dir)
    again = h.run("run", "repeat", before.id, "--detach")
    assert again.returncode == 0, again.stderr
    after = RunDirectory(runs_dir / again.stdout.strip())
    assert after.id != before.id
    h.wait_for("the end of the repeat", lambda: not h.status(after).state.alive)
    assert after.config.read_bytes() == before.config.read_bytes()
    left, right = (torch.load(run.checkpoint("last"), weights_only=True)["model"] for run in (before, after))
    assert left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
    assert f"repeats {before.id} with seed 11" in again.stderr
    assert "then," not in again.stderr and "deterministic is false" not in again.stderr

    made = json.loads(before.result.read_text())["provenance"]
    assert made["torch"] == torch.__version__ and made["threads"] == 1
    assert made["numpy"] and made["system"] and made["cpu"] and made["python"]
    assert made["command"][1:4] == ["run", "preset", "quick"]
    assert len(made["data_sha256"]) == 4 and all(len(digest) == 64 for digest in made["data_sha256"].values())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunConfig, str]]:
    """What would be started, with its notes; torch is made to see the environment MADE on a CPU."""
    calls: list[tuple[RunConfig, str]] = []

    def start_new(config: RunConfig, notes: Sequence[str], start: Any) -> int:
        calls.append((config, "\n".join(notes)))
        return 0

    monkeypatch.setattr(repeat, "start_new", start_new)
    sees = {"environment": MADE.model_dump(mode="json"), "cuda_devices": []}
    monkeypatch.setattr(repeat, "probe_torch", lambda: (sees, ""))
    return calls


def stopped(runs_dir: Path, made: Provenance | None, config: RunConfig | None = None, **values: Any) -> RunDirectory:
    """A run that began with this provenance and was stopped."""
    run = starting.create_run(runs_dir, config or load_preset("quick"), device="cpu")
    status = Status(state="stopped", device="cpu", device_name="a processor", epochs=8)
    replace_bytes(run.status, status.model_copy(update=values).to_json().encode())
    if made is not None:
        event = EventRecord(event="start", data={"provenance": made.model_dump(mode="json")})
        run.metrics.write_text(event.to_json() + "\n")
    return run


def test_what_is_not_as_it_was_is_said(runs_dir: Path, started: list[tuple[RunConfig, str]]) -> None:
    digests = load_sample().sha256 | {"train-images-idx3-ubyte": "00"}
    then = MADE.model_copy(update={"torch": "2.13.0", "threads": 8, "git_dirty": True, "data_sha256": digests})
    run = stopped(runs_dir, then, device="cuda:0", device_name="NVIDIA H200")
    replace_bytes(run.launch, LaunchRequest(device="cpu", epochs=12).to_json().encode())
    assert main(["run", "repeat", "last"]) == 0
    ((config, notes),) = started
    assert config == load_preset("quick") and "threads" not in notes
    for said in (
        "torch: 2.13.0 then, 2.14.1 now",
        "had changes that commit",
        "train-images-idx3-ubyte has another content",
        "device: cuda:0 then, cpu now",
        "on the way to 12 epochs; this one trains for the 8",
        "deterministic is false",
    ):
        assert said in notes, said


def test_an_edit_at_work_is_the_later_word(runs_dir: Path, started: list[tuple[RunConfig, str]]) -> None:
    run = stopped(runs_dir, MADE, epochs=20, stop_at_accuracy=90.0)
    launch = LaunchRequest(device="cpu", epochs=12)
    replace_bytes(run.launch, launch.to_json().encode())
    replace_bytes(run.status, status_of(run, epochs=20, launched=launch.time).to_json().encode())
    assert main(["run", "repeat", "last"]) == 0
    notes = started[0][1]
    assert "on the way to 20 epochs; this one trains for the 8" in notes and "12 epochs" not in notes
    assert "on the way to stop at 90 %; this one is not to stop at an accuracy, as its configuration says" in notes


def test_a_run_that_its_accuracy_ended_was_not_changed(runs_dir: Path, started: list[tuple[RunConfig, str]]) -> None:
    config = with_changes(load_preset("quick"), {"training.stop_at_accuracy": 50.0})
    stopped(runs_dir, MADE, config, epoch=3, epochs=8, stop_at_accuracy=50.0)
    assert main(["run", "repeat", "last"]) == 0
    assert "on the way" not in started[0][1]


def status_of(run: RunDirectory, **changes: Any) -> Status:
    return Status.model_validate_json(run.status.read_bytes()).model_copy(update=changes)


def test_a_deterministic_run_gets_its_threads_back(runs_dir: Path, started: list[tuple[RunConfig, str]]) -> None:
    config = with_changes(load_preset("quick"), {"training.deterministic": True})
    stopped(runs_dir, MADE.model_copy(update={"threads": 3}), config)
    assert main(["run", "repeat", "last"]) == 0
    assert started[0][0] == with_changes(config, {"training.threads": 3})
    assert "training.threads: set to 3, as then; auto would take 1 here" in started[0][1]
    stopped(runs_dir, MADE, config)
    assert main(["run", "repeat", "last"]) == 0
    assert started[1][0] == config and "threads" not in started[1][1]


def test_where_nothing_differs_nothing_is_said(runs_dir: Path, started: list[tuple[RunConfig, str]]) -> None:
    stopped(runs_dir, MADE.model_copy(update={"data_sha256": load_sample().sha256}))
    assert main(["run", "repeat", "last"]) == 0
    assert "then" not in started[0][1]


def test_a_run_of_before_provenance(runs_dir: Path, started: list[tuple[RunConfig, str]]) -> None:
    run = stopped(runs_dir, None)
    assert main(["run", "repeat", "last"]) == 0
    assert "was not recorded" in started[0][1]
    run.config.write_text("{}")
    assert main(["run", "repeat", "last"]) == 2
    assert len(started) == 1
