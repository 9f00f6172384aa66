"""What the user writes down about a run: written, shown, found, bounded, and no danger to the terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_tui.cli import main
from fmnist_tui.report import render
from fmnist_tui.runs import comments
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.filter import parse_filter
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import load_run
from tests.full_disk import disk_full
from tests.printed import json_lines
from tests.unit.cli_runs import finished_run, make_run


def test_a_comment_is_written_shown_and_removed(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run = make_run(runs_dir, state=State.RUNNING, host="elsewhere")  # at work too
    assert main(["runs", "comment", "last"]) == 0
    assert capsys.readouterr().err == f"{run.id} has no comment.\n"
    assert main(["runs", "list"]) == 0
    assert "comment" not in capsys.readouterr().out, "a column only where a run has one"
    assert main(["runs", "comment", "last", " a wider\tnet,\n to see "]) == 0
    assert run.comment.read_text() == "a wider net, to see\n"
    capsys.readouterr()
    for command in (["comment", "last"], ["list"], ["show", "last"]):
        assert main(["runs", *command]) == 0
        assert "a wider net, to see" in capsys.readouterr().out
    for command in (["list"], ["show", "last"]):
        assert main(["runs", *command, "--json"]) == 0
        assert json_lines(capsys.readouterr().out)[0]["comment"] == "a wider net, to see"
    assert main(["runs", "comment", "last", "no better"]) == 0
    assert load_run(run).comment == "no better"
    assert main(["runs", "comment", "last", "other", "--clear"]) == 2
    assert "--clear and TEXT: exclude each other" in capsys.readouterr().err
    assert load_run(run).comment == "no better"
    assert main(["runs", "comment", "last", "--clear"]) == 0
    assert not run.comment.exists() and load_run(run).comment == ""
    assert main(["runs", "comment", "last", "--clear"]) == 0, "there is nothing to remove any more"


def test_the_report_has_it_as_text(runs_dir: Path) -> None:
    run = finished_run(runs_dir)
    comments.write_comment(run, "<b>bold</b> & more")
    page = render(runs_dir, "html", [load_run(run)])
    assert '<p class="comment">&lt;b&gt;bold&lt;/b&gt; &amp; more</p>' in page


def test_the_filter_finds_its_words(runs_dir: Path) -> None:
    plain, said = make_run(runs_dir), make_run(runs_dir)
    comments.write_comment(said, "Overfits from epoch 40")
    runs = [load_run(plain), load_run(said)]
    for text, found in (("comment:overfits", [said.id]), ("overfits", [said.id]), ("-comment:overfits", [plain.id])):
        assert [run.id for run in runs if parse_filter(text).matches(run)] == found


def test_what_is_too_long_or_has_no_room_is_refused_and_the_old_one_stays(
    new_run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    comments.write_comment(new_run, "the old one")
    with pytest.raises(RunError, match=f"{new_run.id}: its comment can't have 501 characters; 500 at most"):
        comments.write_comment(new_run, "x" * 501)
    disk_full(monkeypatch)
    with pytest.raises(RunError, match="its comment can't be written: No space left on device"):
        comments.write_comment(new_run, "a new one")
    assert comments.read_comment(new_run) == "the old one"
    assert [path.name for path in new_run.path.iterdir() if "comment" in path.name] == ["comment.txt"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=3_000), st.text(max_size=700).map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_whatever_is_in_the_file_one_printable_line_is_read(new_run: RunDirectory, content: bytes) -> None:
    new_run.comment.write_bytes(content)
    read = comments.read_comment(new_run)
    assert len(read) <= comments.LONGEST
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in read)
    assert load_run(new_run).comment == read
    assert comments.write_comment(new_run, read) == comments.read_comment(new_run) == read.strip()


def test_an_argument_that_is_no_unicode(new_run: RunDirectory) -> None:
    assert comments.write_comment(new_run, os.fsdecode(b"caf\xe9")) == "caf?"
    new_run.comment.unlink()
    new_run.comment.mkdir()
    assert comments.read_comment(new_run) == ""
    with pytest.raises(RunError, match="its comment can't be written"):
        comments.write_comment(new_run, "there is a directory in its place")
