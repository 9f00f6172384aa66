"""What a command printed, read back."""

from __future__ import annotations

import json
from typing import Any


def json_lines(text: str) -> list[dict[str, Any]]:
    """Every line as a JSON object; fails where one is not."""
    return [json.loads(line) for line in text.splitlines()]
