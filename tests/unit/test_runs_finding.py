"""Which run a user means: 'last', or any part of an id that only one run has."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.starting import create_run
from fmnist_tui.runs.store import find_run
from tests.unit.stored_runs import finish, refused


@pytest.fixture
def three(runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    ids = iter(["20260101-000000-wrn-aaaa", "20260101-000000-wrn-aaab", "20260301-000000-dpn-cccc"])
    with monkeypatch.context() as patch:
        patch.setattr("fmnist_tui.runs.starting.new_run_id", lambda name: next(ids))
        for _ in range(3):
            finish(create_run(runs_dir, config))
    return runs_dir


@pytest.mark.parametrize("text", ["last", "dpn", "cccc", "20260301", "20260301-000000-dpn-cccc", "0-dpn-c"])
def test_any_unique_part_of_an_id_finds_the_run(text: str, three: Path) -> None:
    assert find_run(three, text).id == "20260301-000000-dpn-cccc"


def test_a_whole_id_wins_over_a_part(three: Path) -> None:
    short = three / "aaa"
    (three / "20260101-000000-wrn-aaaa").rename(short)
    assert find_run(three, "aaa").id == "aaa"


def test_runs_that_cannot_be_told(three: Path, tmp_path: Path) -> None:
    message = refused(find_run, three, "wrn")
    assert message == (
        "RUN = 'wrn': matches 2 runs (20260101-000000-wrn-aaab, 20260101-000000-wrn-aaaa); give more of the id"
    )
    assert "did you mean 20260301-000000-dpn-cccc?" in refused(find_run, three, "20260301-000000-dpm-cccc")
    assert "no run in" in refused(find_run, three, "zzzz")
    assert "RUN = '': is empty" in refused(find_run, three, "")
    assert "there are no runs in" in refused(find_run, tmp_path / "none", "last")
    assert "matches 3 runs" in refused(find_run, three, "2026")


def test_a_long_list_of_matches_is_cut(runs_dir: Path, config: RunConfig) -> None:
    for _ in range(7):
        create_run(runs_dir, config)
    message = refused(find_run, runs_dir, "quick")
    assert "matches 7 runs" in message
    assert message.count("quick") == 1 + 5
    assert ", ...)" in message
