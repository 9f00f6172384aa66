"""A run's state as the command line shows it: glyph, word and colour. Called by every view of a run."""

from __future__ import annotations

from rich.text import Text

from fmnist_tui.runs.status import State

GLYPHS: dict[State, tuple[str, str]] = {
    State.QUEUED: ("◌", "dim"),
    State.STARTING: ("○", "cyan"),
    State.RUNNING: ("●", "green"),
    State.STOPPING: ("◐", "yellow"),
    State.FINISHED: ("✓", "green"),
    State.STOPPED: ("■", "yellow"),
    State.FAILED: ("✗", "red"),
    State.LOST: ("?", "magenta"),
}


def state_text(state: State) -> Text:
    """For example '● running', coloured; the word stands there too, for those who see no colours."""
    glyph, style = GLYPHS[state]
    return Text(f"{glyph} {state}", style=style)
