"""confusions.jsonl: the record of a line. Written by the trainer, read by `analysis.confusion`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from fmnist_tui.config import CLASSES
from fmnist_tui.runs.records import Record

CLASS_PAIRS = len(CLASSES) ** 2


class ConfusionRecord(Record):
    """A line of confusions.jsonl: which classes an evaluation took for which."""

    epoch: int = Field(ge=0)
    step: int = Field(ge=0)
    counts: list[Annotated[int, Field(ge=0)]] = Field(min_length=CLASS_PAIRS, max_length=CLASS_PAIRS)
    """Test images, row by row: entry 10 t + p counts those of class t that were predicted as p."""


def parse_confusion(line: bytes | str) -> ConfusionRecord | None:
    """The matrix in a line; None for a damaged line."""
    try:
        return ConfusionRecord.model_validate_json(line)
    except ValidationError:
        return None
