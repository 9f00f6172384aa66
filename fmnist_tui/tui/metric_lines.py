"""Metric lines to what the app keeps of them: training lines as columns of numbers, all others as records.

Called by `reading.MetricsReader`. A long run has 200,000 training lines. As one Pydantic record each they took
1.5 s of processor time to read and take in; here their JSON is parsed as a whole, by the parser of Pydantic, and
goes into arrays. These accept what `metrics.parse_metric` accepts (a test compares the two): where a training line
looks in any way unlike what a trainer writes, the lines around it are validated one by one, as all others always are.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from pydantic_core import from_json

from fmnist_tui.analysis.series import Floats
from fmnist_tui.runs.metrics import (
    EvalRecord,
    EventRecord,
    SystemRecord,
    TrainRecord,
    parse_metric,
)
from fmnist_tui.runs.records import LARGEST_AMOUNT, LARGEST_COUNT, LARGEST_LOSS

PARSED_TOGETHER = 1_000
"""Lines handed to the parser in one call, which holds the interpreter for about a millisecond; the event loop runs
in between."""
COLUMNS = ("step", "epoch", "loss", "loss_min", "loss_max", "lr", "images_per_second")
_TRAIN = b'{"kind":"train",'
_FIELDS = itemgetter("kind", "time", *COLUMNS)
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NUMBERS = frozenset({int, float})


class TrainLines(NamedTuple):
    """Training lines that follow each other, as columns."""

    columns: Floats
    """`(7, n) float64`, a row for each of COLUMNS."""
    times: Sequence[str]
    """When each was written, a record's timestamps."""

    @classmethod
    def of(cls, records: Sequence[TrainRecord]) -> TrainLines:
        """From records, oldest first."""
        rows = [[getattr(record, name) for name in COLUMNS] for record in records]
        return cls(np.array(rows, float).T, [record.time for record in records])

    @property
    def steps(self) -> Floats:
        """`(n,) float64`."""
        return self.columns[0]

    def rising(self) -> Iterator[TrainLines]:
        """Its parts between which the step does not rise: a run went back to its checkpoint there."""
        falls = (np.flatnonzero(np.diff(self.steps) <= 0) + 1).tolist()
        for start, end in itertools.pairwise([0, *falls, len(self.times)]):
            yield TrainLines(self.columns[:, start:end], self.times[start:end]) if falls else self


MetricRecord = TrainLines | TrainRecord | EvalRecord | SystemRecord | EventRecord
"""What the feed hands on; a TrainRecord stands for a TrainLines of one."""


def parse_lines(lines: Sequence[bytes]) -> list[MetricRecord]:
    """What metric lines say, in their order; damaged ones and kinds of a newer version are left out."""
    parts: list[MetricRecord] = []
    for start in range(0, len(lines), PARSED_TOGETHER):
        some = lines[start : start + PARSED_TOGETHER]
        quickly = _parse_quickly(some)
        parts += _parse_singly(some) if quickly is None else quickly
    return parts


def _parse_singly(lines: Sequence[bytes]) -> list[MetricRecord]:
    """Each line validated by itself."""
    parts: list[MetricRecord] = []
    train: list[TrainRecord] = []
    for record in map(parse_metric, lines):
        if isinstance(record, TrainRecord):
            train.append(record)
        elif record is not None:
            parts += [TrainLines.of(train), record] if train else [record]
            train = []
    return [*parts, TrainLines.of(train)] if train else parts


def _parse_quickly(lines: Sequence[bytes]) -> list[MetricRecord] | None:
    """The same for training lines as trainers write them; None where any is unlike that."""
    at = [nth for nth, line in enumerate(lines) if not line.startswith(_TRAIN)]
    train = _train_columns([line for line in lines if line.startswith(_TRAIN)] if at else lines)
    if train is None:
        return None
    columns, times = train
    parts: list[MetricRecord] = []
    done = 0
    for nth, record in enumerate(parse_metric(lines[place]) for place in at):
        if record is None:
            continue
        if (before := at[nth] - nth) > done:
            parts.append(TrainLines(columns[:, done:before], times[done:before]))
            done = before
        parts.append(record)
    if done < len(times):
        parts.append(TrainLines(columns[:, done:], times[done:]))
    return parts


def _train_columns(lines: Sequence[bytes]) -> tuple[Floats, Sequence[str]] | None:
    """COLUMNS of training lines, `(7, n) float64`, and when each was written; None where one needs a closer look."""
    if not lines:
        return np.empty((len(COLUMNS), 0)), ()
    text = b"[" + b",".join(lines) + b"]"
    if text.count(b"{") != len(lines):  # one brace a line: no line holds two objects, no object spans two lines
        return None
    try:
        kinds, times, *values = zip(*map(_FIELDS, from_json(text)), strict=True)
        deque(map(datetime.fromisoformat, times), maxlen=0)
        columns = np.array([_numbers(name, column) for name, column in zip(COLUMNS, values, strict=True)], float)
    except (ValueError, KeyError, TypeError, OverflowError):  # not JSON, a field missing, another type, too large
        return None
    return (columns, times) if kinds.count("train") == len(lines) and _may_be(columns) else None


def _may_be(columns: Floats) -> bool:
    """Whether the numbers are within the bounds of a TrainRecord, as far as these are not checked as types."""
    counts, losses, rate, speed = columns[:2], np.abs(columns[2:5]), np.abs(columns[5]), columns[6]
    return bool(
        counts.min() >= 0
        and counts.max() < LARGEST_COUNT
        and not np.any((losses > LARGEST_LOSS) & np.isfinite(losses))
        and rate.max() <= LARGEST_AMOUNT  # false where one is not a number
        and speed.max() <= LARGEST_AMOUNT
        and speed.min() >= 0
    )


def _numbers(name: str, column: Sequence[object]) -> Sequence[object]:
    """The values with words for what is not finite replaced; raises KeyError or TypeError where one is no number."""
    types = set(map(type, column))
    if types <= ({int} if name in ("step", "epoch") else _NUMBERS):
        return column
    if name in ("step", "epoch") or not types <= {*_NUMBERS, str}:
        raise TypeError(name)
    return [_NOT_FINITE[value] if isinstance(value, str) else value for value in column]
