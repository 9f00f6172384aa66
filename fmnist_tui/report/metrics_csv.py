"""A run's metrics as CSV, one text for each kind of record. Called by `runs export --to csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from fmnist_tui.report.csv_cells import cell
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, GpuSample, HostSample, Metrics, SystemRecord, TrainRecord
from fmnist_tui.runs.records import Record


def write_metrics(metrics: Metrics) -> dict[str, str]:
    """CSV by file name: train.csv, eval.csv, system.csv and event.csv, each with a header even where it has no line.

    Columns are the fields of the records (`runs.metrics`), None is an empty cell, what is not finite is NaN,
    Infinity or -Infinity. Of a system line the host's fields are host.*, each GPU's gpu0.*, gpu1.*, ...
    """
    return {
        "train.csv": _table(_columns(TrainRecord), metrics.train),
        "eval.csv": _table(_columns(EvalRecord), metrics.eval),
        "system.csv": _system(metrics.system),
        "event.csv": _table(_columns(EventRecord), metrics.event),
    }


def _columns(kind: type[Record]) -> list[str]:
    return [name for name in kind.model_fields if name != "kind"]


def _table(columns: Sequence[str], records: Sequence[Record]) -> str:
    return _text(columns, [json.loads(record.to_json()) for record in records])


def _system(records: Sequence[SystemRecord]) -> str:
    gpus = max((len(record.gpus) for record in records), default=0)
    columns = ["time", *(f"host.{name}" for name in HostSample.model_fields)]
    columns += [f"gpu{at}.{name}" for at in range(gpus) for name in GpuSample.model_fields]
    rows = []
    for record in records:
        row: dict[str, Any] = {"time": record.time}
        row |= {f"host.{name}": value for name, value in record.host}
        row |= {f"gpu{at}.{name}": value for at, gpu in enumerate(record.gpus) for name, value in gpu}
        rows.append(row)
    return _text(columns, rows)


def _text(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: cell(value) for key, value in row.items()})
    return text.getvalue()
