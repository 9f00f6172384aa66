"""What a watcher reads: each line once, of a resumed run only what is new."""

from __future__ import annotations

from fmnist_tui.console.feed import RunFeed
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from tests.unit.watched import evaluation, write_lines


def test_the_feed_gives_each_line_once_and_never_half_a_line(new_run: RunDirectory) -> None:
    feed = RunFeed(new_run)
    assert feed.read()[1] == []
    write_lines(new_run, evaluation(1, 50.0))
    with new_run.metrics.open("ab") as file:
        file.write(evaluation(2, 60.0).to_json().encode()[:20])
    assert [line.record for line in feed.read()[1]] == [evaluation(1, 50.0)]
    with new_run.metrics.open("ab") as file:
        file.write(evaluation(2, 60.0).to_json().encode()[20:] + b"\nnot a record\n")
    assert [line.record for line in feed.read()[1]] == [evaluation(2, 60.0)]
    assert feed.read()[1] == []


def test_the_feed_of_a_resumed_run_passes_over_its_past(new_run: RunDirectory) -> None:
    old = [evaluation(n, 50.0, f"2026-11-23T10:00:0{n}.000Z") for n in (1, 2, 3)]
    write_lines(new_run, *old)
    feed = RunFeed(new_run, since="2026-11-23T10:30:00.000Z")
    assert feed.read()[1] == []
    new = evaluation(3, 70.0, "2026-11-23T10:31:00.000Z")
    kept = "".join(record.to_json() + "\n" for record in (*old[:2], new))  # the worker cut the file at its checkpoint
    replace_bytes(new_run.metrics, kept.encode())
    assert [line.record for line in feed.read()[1]] == [new]


def test_a_follower_of_a_run_that_is_resumed_meanwhile_sees_no_line_twice(new_run: RunDirectory) -> None:
    old = [evaluation(n, 50.0, f"2026-11-23T10:00:0{n}.000Z") for n in (1, 2, 3)]
    write_lines(new_run, *old)
    feed = RunFeed(new_run)
    assert len(feed.read()[1]) == 3
    new = evaluation(3, 70.0, "2026-11-23T10:31:00.000Z")
    replace_bytes(new_run.metrics, "".join(record.to_json() + "\n" for record in (*old[:2], new)).encode())
    assert [line.record for line in feed.read()[1]] == [new]
