"""What every record of a run's files has: the schema version, timestamps, and how it becomes a line of JSON.

The records themselves stand in the module of their file: `status`, `launch`, `requests`, `metrics`, `confusions` and
`result`. Written by the trainer and the launchers, read by everything else. Accuracies are percentages, times are
seconds, timestamps are UTC in ISO 8601; a loss that is not finite is written as the string "NaN", "Infinity" or
"-Infinity", so that every line is strict JSON.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fmnist_tui.wording import without_controls

SCHEMA_VERSION = 1
"""Raised when a change makes older readers wrong; readers refuse a newer one and say so."""


def utc_now() -> str:
    """The time as every record writes it, for example '2026-11-23T14:25:01.123Z'."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_since(timestamp: str, now: datetime | None = None) -> float:
    """Seconds from a record's timestamp to now; negative where the clock was set back."""
    then = datetime.fromisoformat(timestamp)
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return ((now or datetime.now(UTC)) - then).total_seconds()


def _is_time(text: str) -> str:
    datetime.fromisoformat(text)  # raises ValueError; takes any character between date and time
    return without_controls(text)


Timestamp = Annotated[str, AfterValidator(_is_time)]
"""Text that `seconds_since` understands: a damaged file must not get as far as arithmetic."""


Shown = Annotated[str, AfterValidator(without_controls)]
"""Text of a record that is shown: whoever wrote the file does not get to steer a reader's terminal with it."""

LARGEST_COUNT = 2**53
"""Of steps and epochs: the last whole number that a float64 holds exactly, and far above any run."""
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
SomeCount = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
"""At least 1: of what a finished run has, and what others are divided by."""

LONGEST_SECONDS = 1e11
"""3,000 years: far above any run, and a date that far ahead is still before the year 9999, datetime's last."""
Seconds = Annotated[float, Field(ge=0.0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)]
LARGEST_AMOUNT = 1e15
Amount = Annotated[float, Field(ge=0.0, le=LARGEST_AMOUNT, allow_inf_nan=False)]
"""Images a second, joule: of no device there is as many, and their sums and squares don't overflow."""
Reading = Annotated[float, Field(ge=-LARGEST_AMOUNT, le=LARGEST_AMOUNT, allow_inf_nan=False)]
"""What an instrument or a schedule says, in its unit."""
WholeReading = Annotated[int, Field(ge=-(10**30), le=10**30)]
"""The same in whole numbers; a file system may have more bytes than a Count counts."""

LARGEST_LOSS = 3.5e38
"""Above every finite float32, in which losses are computed."""


def _is_loss(value: float) -> float:
    if math.isfinite(value) and abs(value) > LARGEST_LOSS:
        raise ValueError("no float32")
    return value


Loss = Annotated[float, AfterValidator(_is_loss)]
"""Also infinite, or not a number: that of a run that diverges."""


class Record(BaseModel):
    """Base of all records: unknown fields of a newer minor version are ignored, not errors."""

    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="strings")

    def to_json(self) -> str:
        """One line of strict JSON without a newline."""
        return self.model_dump_json()
