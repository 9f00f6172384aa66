"""What a run was made with: recorded at its start, shown, and compared in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fmnist_tui.cli import main
from fmnist_tui.runs import store
from fmnist_tui.runs.metrics import EventRecord
from fmnist_tui.runs.provenance import described, differences, recorded
from fmnist_tui.runs.result import Provenance
from fmnist_tui.runs.status import State
from tests.unit.cli_runs import finished_run, make_run

MADE = Provenance(
    fmnist_tui="0.1.0",
    python="3.11.7",
    torch="2.14.1",
    torchvision="0.29.1",
    numpy="2.4.6",
    cuda="13.0",
    cudnn="92400",
    driver="580.65",
    platform="Linux-6",
    system="Debian GNU/Linux 12",
    cpu="a processor",
    threads=2,
    git_commit="0123456789abcdef",
    git_dirty=False,
    command=["fmnist-tui", "run", "preset", "quick", "--name", "two words"],
    data_sha256={"train-images-idx3-ubyte": "aa"},
)


def test_nothing_differs_from_itself_and_the_command_is_no_difference() -> None:
    assert differences(MADE, MADE) == []
    assert differences(MADE, MADE.model_copy(update={"command": ["another"]})) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("torch", "2.15.0", "torch: 2.14.1 then, 2.15.0 now"),
        ("driver", None, "NVIDIA driver: 580.65 then, none now"),
        ("threads", 8, "CPU threads: 2 then, 8 now"),
        ("git_dirty", True, "the program has changes now that its commit does not hold"),
        ("data_sha256", {"train-images-idx3-ubyte": "bb"}, "train-images-idx3-ubyte has another content than then"),
    ],
)
def test_each_difference_is_said(field: str, value: object, said: str) -> None:
    (only,) = differences(MADE, MADE.model_copy(update={field: value}))
    assert said in only


def test_an_older_record_is_compared_in_what_it_holds() -> None:
    old = Provenance(fmnist_tui="0.1.0", python="3.11.7", torch="2.13.0", platform="Linux-6")
    assert differences(old, MADE) == ["torch: 2.13.0 then, 2.14.1 now"]


def test_described_leaves_out_what_is_not_known_and_says_changes() -> None:
    rows = described(MADE.model_copy(update={"git_dirty": True, "driver": None}))
    assert rows["git commit"] == "0123456789abcdef, with changes"
    assert "NVIDIA driver" not in rows
    assert rows["command"] == "fmnist-tui run preset quick --name 'two words'"
    assert rows["train-images-idx3-ubyte"] == "sha256 aa"


def test_a_run_without_a_result_has_its_newest_starts(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir, state=State.STOPPED)
    assert recorded(store.load_run(run)) is None
    later = MADE.model_copy(update={"torch": "2.15.0"})
    lines = [
        EventRecord(event=event, message="x", data={"provenance": made.model_dump(mode="json")}).to_json()
        for event, made in (("start", MADE), ("resume", later))
    ]
    run.metrics.write_text("\n".join([*lines, EventRecord(event="stop", message="provenance").to_json()]) + "\n")
    assert recorded(store.load_run(run)) == later
    assert main(["runs", "show", "last"]) == 0
    shown = capsys.readouterr().out
    assert "Made with" in shown and "2.15.0" in shown and "Debian GNU/Linux 12" in shown
    assert main(["runs", "show", "last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["threads"] == 2


def test_of_a_finished_run_the_results_counts(runs_dir: Path) -> None:
    run = finished_run(runs_dir)
    made = recorded(store.load_run(run))
    assert made is not None and made.torch == "2.14.1"
