"""The narration's rows: wrapped, and what to press is kept."""

from __future__ import annotations

from fmnist_tui.tui.notes import Note
from fmnist_tui.tui.widgets.run_panels import narration_rows


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
