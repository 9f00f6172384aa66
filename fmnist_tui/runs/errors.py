"""What goes wrong with a run through no fault of the program. Raised by `runs`, shown by whoever called it."""

from __future__ import annotations

from fmnist_tui.remedies import Told


class RunError(Told, ValueError):
    """A run that can't be found, read, asked or changed; the text says why and what to do."""
