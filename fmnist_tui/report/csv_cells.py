"""What a value looks like in a cell of a CSV file. Called by `export` and `metrics_csv`."""

from __future__ import annotations

import json
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet computes a text that begins so, and some formulas start programs: a run's name may come from anybody
(CWE-1236)."""
_NUMBER = "-Infinity"
"""The one number that a record writes as text and that begins so."""


def cell(value: Any) -> Any:
    """Lists and mappings as JSON, true and false as JSON writes them, None as nothing, a number as it is.

    A text that a spreadsheet would take for a formula has a ' before it: that makes it text there. A carriage return
    is a line break: csv puts no quotes around it where lines end in another character, and the row would end there.
    """
    if isinstance(value, str):
        text = f"'{value}" if value.startswith(_FORMULA) and value != _NUMBER else value
        return text.replace("\r\n", "\n").replace("\r", "\n")
    return json.dumps(value) if isinstance(value, list | dict | bool) else value
