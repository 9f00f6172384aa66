"""What helps is named once and worded by each room: options on the command line, keys and fields in the app."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from fmnist_tui.data.files import DataError
from fmnist_tui.fields import notes, with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.remedies import COMMAND_LINE, Remedy, remedy, with_remedy
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.status import State, Status
from fmnist_tui.training import many
from fmnist_tui.tui.remedies import APP, FORM, told

VALUES = {"run": "R", "more": "more", "fits": "8", "half": "4", "directory": "D", "other": "best"}
SHELL = re.compile(r"`fmnist-tui [^`]*`")
"""A whole command, for what the app can't do."""


def test_every_room_words_every_remedy() -> None:
    assert set(APP) == set(FORM) == set(COMMAND_LINE)
    for name in COMMAND_LINE:
        helps = remedy(name, **VALUES)
        assert str(helps) and "{" not in str(helps)
        for words in (APP, FORM):
            worded = helps.worded(words)
            assert "{" not in worded
            assert "--" not in SHELL.sub("", worded) and "run repeat" not in worded, name
    assert "--" not in "".join(SHELL.sub("", words) for words in APP.values())


def test_an_error_in_the_words_of_both_rooms() -> None:
    error = RunError("r1 is in epoch 6 already; give at least that", option="epochs", value=5)
    assert str(error) == "--epochs 5: r1 is in epoch 6 already; give at least that"
    assert told(error) == "epochs = 5: r1 is in epoch 6 already; give at least that"
    error = RunError("is not writable", remedy("other runs directory"), option="runs-dir", value="/x")
    assert str(error) == "--runs-dir /x: is not writable; choose another with --runs-dir or FMNIST_TUI_RUNS_DIR"
    assert told(error).startswith("runs directory = /x: is not writable; make it writable, or start the app in another")
    assert told(ValueError("as it is")) == "as it is"


def test_missing_data_names_what_can_be_done_where_it_is_shown() -> None:
    error = DataError("The data set was not found.", ["/a: no such directory"])
    assert "--data-dir" in str(error) and "--data sample" in str(error)
    assert told(error).startswith("The data set was not found.\n  tried /a: no such directory\nIn a shell, ")
    assert "--data" not in told(error) and "data.source = sample on New run" in told(error)
    fixed = DataError("The sample is damaged.", remedy="Reinstall.")
    assert str(fixed) == told(fixed) == "The sample is damaged.\nReinstall."


def test_a_status_keeps_what_helps_apart_from_what_is_wrong() -> None:
    status = Status(state=State.FAILED, error="out of memory; 8 fit", remedy=remedy("micro batch", fits=8))
    read = Status.model_validate_json(status.to_json())
    assert read.told().endswith("8 fit; --set training.micro_batch=8, or --set training.micro_batch=auto")
    assert (
        read.told(APP)
        == "out of memory; 8 fit; C opens a copy of it on New run: set training.micro_batch to 8 or auto there"
    )
    assert "C opens" in read.told(APP) and "C opens" not in read.told(FORM)


@pytest.mark.parametrize("odd", [Remedy(name="of a newer version"), Remedy(name="more epochs")])
def test_a_remedy_that_is_not_known_or_lacks_a_value_says_nothing(odd: Remedy) -> None:
    assert str(odd) == "" and with_remedy("broken", str(odd)) == "broken"


def test_a_remedy_from_a_file_does_not_steer_the_terminal() -> None:
    read = Remedy.model_validate_json('{"name": "stop first", "values": {"run": "a\\u001b[2Jb"}}')
    assert str(read) == "stop it first: fmnist-tui runs stop ab"


def test_milestones_that_are_never_reached() -> None:
    config = with_changes(load_preset("wrn"), {"training.epochs": 50})
    assert "--scale-schedule moves them" in notes(config)[0]
    assert notes(config, APP)[0].endswith("F8 moves them in proportion")


def test_gpus_that_are_not_there_are_told_without_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "list_gpus", lambda: SimpleNamespace(gpus=[1], problem=""))
    turn: Any = SimpleNamespace(devices=[SimpleNamespace(name="cuda:0")])
    run: Any = None
    ending = many.start_ranks(run, LaunchRequest(gpus=2), turn, run, run)
    assert ending.error == "2 GPUs were asked for: there is 1 (cuda:0)"
    status = Status(state=State.FAILED, error=ending.error, remedy=ending.remedy)
    assert status.told().endswith("; choose as many with --gpus") and "--" not in status.told(APP)
