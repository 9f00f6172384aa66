"""Metric lines read as a whole say exactly what they say when each is validated by itself."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_tui.runs.metrics import (
    EvalRecord,
    EventRecord,
    GpuSample,
    HostSample,
    SystemRecord,
    TrainRecord,
    parse_metric,
)
from fmnist_tui.runs.records import LARGEST_COUNT
from fmnist_tui.tui import metric_lines
from fmnist_tui.tui.metric_lines import COLUMNS, TrainLines, parse_lines

TIME = "2026-11-24T10:00:00.000Z"
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
LOSSES = st.one_of(st.floats(width=32), st.sampled_from([3.5e38, -3.5e38]))
RATES, SPEEDS, SHARES = st.floats(-1e15, 1e15), st.floats(0.0, 1e15), st.floats(0.0, 100.0)
COUNTS = st.integers(0, 10_000)
TRAIN = st.builds(
    TrainRecord, time=st.just(TIME), step=COUNTS, epoch=COUNTS, loss=LOSSES, loss_min=LOSSES, loss_max=LOSSES,
    lr=RATES, images_per_second=SPEEDS,
)  # fmt: skip
OTHERS = st.one_of(
    st.builds(
        EvalRecord,
        time=st.just(TIME),
        epoch=COUNTS,
        step=COUNTS,
        test_loss=LOSSES,
        test_accuracy=SHARES,
        train_loss=LOSSES,
        train_accuracy=SHARES,
        seconds=st.floats(0.0, 1e11),
    ),
    st.just(SystemRecord(time=TIME, gpus=[GpuSample(index=0, name="{}")], host=HostSample(cpu_percent=1.0))),
    st.builds(EventRecord, time=st.just(TIME), event=st.just("warning"), message=st.text(max_size=5)),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    NUMBERS,
    st.sampled_from([10**400, 2.0, "7", "NaN", "Infinity", "-Infinity", "nan", "inf", "1.5", "", "train", TIME, "x"]),
    st.sampled_from([3.5e38, 3.51e38, -3.51e38, 1e15, 1.1e15, -1.1e15, -1e-9, 1e308]),
    st.sampled_from([LARGEST_COUNT - 1, LARGEST_COUNT, LARGEST_COUNT + 1, [], {}, {"kind": "train"}, [1]]),
)


@st.composite
def odd_lines(draw: st.DrawFn) -> list[bytes]:
    """Lines like a trainer's of which something is not right."""
    fields: dict[str, Any] = json.loads(draw(TRAIN | OTHERS).to_json())
    what = draw(st.sampled_from(["value", "missing", "extra", "torn", "twice", "two on a line", "order", "rubbish"]))
    name = draw(st.sampled_from(sorted(fields)))
    if what == "value":
        fields[name] = draw(VALUES)
    elif what == "missing":
        del fields[name]
    elif what == "extra":
        fields["of_tomorrow"] = draw(VALUES)
    elif what == "order":
        fields = dict(reversed(fields.items()))
    line = json.dumps(fields, separators=draw(st.sampled_from([(",", ":"), (", ", ": ")]))).encode()
    if what == "torn":
        cut = draw(st.integers(0, len(line)))
        return [line[:cut], line[cut:]]
    if what == "twice":
        return [line[:-1] + b"," + json.dumps({name: draw(VALUES)}).encode()[1:]]
    if what == "two on a line":
        return [line + draw(st.sampled_from([b",", b" ", b""])) + line]
    return [draw(st.binary(max_size=20)).replace(b"\n", b"") if what == "rubbish" else line]


def plainly(records: list[Any]) -> list[list[Any]]:
    """Every line's numbers, or everything in it; equal where nothing differs (NaN too). Times are left out."""
    found: list[list[Any]] = []
    for record in records:
        if isinstance(record, TrainRecord):
            record = TrainLines.of([record])
        if isinstance(record, TrainLines):
            found += [[repr(float(value)) for value in column] for column in record.columns.T]
        else:
            found.append([record.kind, *(repr(value) for name, value in record if name != "time")])
    return found


USUAL = (TRAIN | OTHERS).map(lambda record: [record.to_json().encode()])


@settings(max_examples=150, deadline=None)
@given(st.lists(USUAL | USUAL | odd_lines(), max_size=8))
def test_together_lines_say_what_they_say_alone(groups: list[list[bytes]]) -> None:
    lines = [line for group in groups for line in group]
    alone = [record for line in lines if (record := parse_metric(line)) is not None]
    assert plainly(parse_lines(lines)) == plainly(alone)


def test_halves_of_a_torn_line_are_not_put_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though a line that holds two objects makes up for the number."""
    event = EventRecord(event="warning", message="", time="2026-11-24T10:00:00.000Z").to_json().encode()
    cut = event.index(b'"step"') + 1
    sample = SystemRecord(host=HostSample(cpu_percent=1.0)).to_json().encode()
    assert parse_lines([sample + b"," + sample, event[:cut], event[cut:]]) == []


def test_training_lines_as_written_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where values are not finite: none is validated by itself."""

    def parse_other(line: bytes) -> Any:
        assert not line.startswith(b'{"kind":"train"')
        return parse_metric(line)

    monkeypatch.setattr(metric_lines, "parse_metric", parse_other)
    train = [
        TrainRecord(step=step, epoch=1, loss=loss, loss_min=loss, loss_max=math.inf, lr=0.1, images_per_second=5.0)
        for step, loss in enumerate([0.5, math.nan, -math.inf, 0.25], start=1)
    ]
    sample = SystemRecord(gpus=[GpuSample(index=0, name="H200")], host=HostSample(cpu_percent=1.0))
    records = [*train[:2], sample, train[2], EventRecord(event="stop"), EventRecord(event="resume"), train[3]]
    parts = parse_lines([record.to_json().encode() for record in records])
    assert [type(part).__name__ for part in parts] == [
        "TrainLines", "SystemRecord", "TrainLines", "EventRecord", "EventRecord", "TrainLines",
    ]  # fmt: skip
    columns = [part for part in parts if isinstance(part, TrainLines)]
    assert np.array_equal(
        np.concatenate([part.columns[COLUMNS.index("loss")] for part in columns]),
        [0.5, math.nan, -math.inf, 0.25],
        equal_nan=True,
    )
    assert [time for part in columns for time in part.times] == [record.time for record in train]


def test_lines_are_parted_where_the_step_does_not_rise() -> None:
    lines = [
        TrainRecord(step=step, epoch=1, loss=1.0, loss_min=1.0, loss_max=1.0, lr=0.1, images_per_second=5.0)
        for step in (1, 2, 3, 2, 3, 3, 4)
    ]
    parts = list(TrainLines.of(lines).rising())
    assert [part.steps.tolist() for part in parts] == [[1, 2, 3], [2, 3], [3, 4]]
