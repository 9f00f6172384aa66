"""The narration's rows: wrapped, and what to press is kept."""

from __future__ import annotations

import pytest

from fmnist_tui.runs.metrics import EventRecord
from fmnist_tui.runs.records import utc_now
from fmnist_tui.tui.notes import Note
from fmnist_tui.tui.run_data import PlacedEvent
from fmnist_tui.tui.widgets.run_panels import LogTail, events_text, narration_rows


def test_notes_are_wrapped_and_what_to_press_is_kept() -> None:
    error = Note("error", 7, "Failed in epoch 7: " + "a long explanation of what went wrong here " * 8)
    remedy = Note("error", 7, "Press r to resume from the last checkpoint, l for the log, d to delete it.")
    rows = narration_rows([error, remedy, Note("good", 1, "Passed.")], 80, 4)
    assert len(rows) == 4 and rows[2][2].endswith("…") and rows[3][2] == remedy.text
    assert all(len(text) <= 77 for _, _, text in rows)
    assert narration_rows([error, remedy], 80, 1)[0][2].endswith("…")


def test_a_note_that_does_not_fit_after_another_is_left_out() -> None:
    long = Note("info", 1, "word " * 40)
    assert len(narration_rows([Note("good", 1, "Passed."), long], 80, 2)) == 1
    assert narration_rows([], 80, 2) == []


def events_of(*messages: str) -> list[PlacedEvent]:
    records = [EventRecord(event="warning", epoch=12, message=message, time=utc_now()) for message in messages]
    return [PlacedEvent(0.0, record) for record in records]


@pytest.mark.parametrize(("width", "hang"), [(78, 27), (57, 27), (56, 7), (38, 7)])
def test_an_events_sentence_goes_on_under_itself(width: int, hang: int) -> None:
    long = "the checkpoint could not be written: No space left on device; the older ones are whole, training goes on"
    content = events_text(events_of(long, "short"), width)
    assert content is not None
    first, *rest = content.plain.splitlines()
    assert first[5:26] == "  epoch 12   warning " or first[5:] == "  epoch 12   warning"
    assert all(len(line) <= width for line in [first, *rest])
    follow = rest[: next(at for at, line in enumerate(rest) if line[5:7] == "  " and "epoch" in line)]
    assert len(follow) >= 1 and all(line[:hang].isspace() and line[hang] != " " for line in follow)
    assert " ".join([*first[26:].split(), *(line.strip() for line in follow)]) == long


def test_an_events_further_lines_hang_too() -> None:
    content = events_text(events_of("The data set was not found.\n  tried /a: no such directory"), 78)
    assert content is not None and content.plain.splitlines()[1] == " " * 27 + "  tried /a: no such directory"


def test_a_long_line_of_the_log_goes_on_further_right() -> None:
    tail = LogTail()
    tail.extend(["2026-11-28T23:28:40Z choice: " + "word " * 30, "short"], restarted=False)
    content = tail.text(60)
    assert content is not None
    first, *rest, last = content.plain.splitlines()
    assert not first.startswith(" ") and last == "short" and len(rest) >= 2
    assert all(line.startswith("  word") and len(line) <= 60 for line in rest)
    assert LogTail().text(60) is None
