"""Command lines that the parser refuses: what was likely meant is named as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.cli import main


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error's own line."""
    assert main(list(arguments)) == 2
    out, said = capsys.readouterr()
    assert out == ""
    first, *rest = said.splitlines()
    assert first.startswith("error: ") and all(line.startswith("see: ") for line in rest)
    return first.removeprefix("error: ")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["run", "quick"], "fmnist-tui run preset quick"),
        (["quick"], "fmnist-tui run preset quick"),
        (["run", "mine.toml"], "fmnist-tui run config mine.toml"),
        (["watch", "last"], "fmnist-tui runs watch"),
        (["run", "watch", "last"], "fmnist-tui runs watch"),
        (["runs", "resume", "last"], "fmnist-tui run resume"),
        (["list"], "fmnist-tui runs list or fmnist-tui presets list"),
        (["preset", "wrn"], "fmnist-tui run preset or fmnist-tui presets"),
        (["train", "wrn"], "fmnist-tui run"),
        (["runs", "lits"], "fmnist-tui runs list"),
    ],
)
def test_a_word_that_is_no_command_here(arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *arguments)
    assert said.startswith("no such command '") and f"; did you mean {meant}" in said and said.endswith("?")


def test_a_word_that_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "xyzzy") == "no such command 'xyzzy'."


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--lr", "--set optimizer.lr=VALUE"),
        ("--batch-size", "--set training.batch_size=VALUE"),
        ("--learning-rate=0.1", "--set optimizer.lr=VALUE"),
        ("--momentun", "--set optimizer.momentum=VALUE"),
        ("--epoch", "--detach, --epochs"),
        ("--kind", "--set model.kind=VALUE or --set optimizer.kind=VALUE or --set schedule.kind=VALUE"),
        ("--drop-rate", "--set model.drop_rate=VALUE"),
    ],
)
def test_a_field_as_if_it_were_an_option(option: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = option.partition("=")[0]
    for command in (["run", "preset", "quick"], ["run", "config", "mine.toml"]):
        assert refused(capsys, *command, option, "1") == f"no such option: {name}; did you mean {meant}?"
    assert "--set" not in refused(capsys, "runs", "list", option)


def test_a_preset_where_a_file_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "run", "config", "quick") == (
        "quick: no such file; quick is a preset: fmnist-tui run preset quick"
    )
    assert refused(capsys, "run", "config", "none.toml") == "none.toml: no such file"
    Path("quick").write_text("seed = ")
    assert refused(capsys, "run", "config", "quick").startswith("quick: is not valid TOML")
