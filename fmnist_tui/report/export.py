"""The report as CSV (one line a run) and JSON (rows and runs), for other programs."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from fmnist_tui.report import describe
from fmnist_tui.report.csv_cells import cell
from fmnist_tui.report.finished import FinishedRun
from fmnist_tui.report.rows import Benchmarks, Row, Spread
from fmnist_tui.report.tables import notes
from fmnist_tui.runs.result import Provenance, Result

_DERIVED = ("model_name", "changed", "reference_accuracy", "resumed")


def csv_columns() -> list[str]:
    """The header: every field of Result in its order, provenance's as 'provenance.torch', then what we derive."""
    flat = [name for name in Result.model_fields if name != "provenance"]
    return [*flat, *(f"provenance.{name}" for name in Provenance.model_fields), *_DERIVED]


def write_csv(benchmarks: Benchmarks) -> str:
    """One line a run, newest first, below a header that does not depend on the runs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, csv_columns(), lineterminator="\n")
    writer.writeheader()
    for run in benchmarks.runs:
        fields = _fields(run)
        made_with = fields.pop("provenance")
        fields |= {f"provenance.{name}": value for name, value in made_with.items()}
        fields["changed"] = describe.changes(run.changed)
        writer.writerow({name: cell(value) for name, value in fields.items()})
    return text.getvalue()


GROUP_COLUMNS = (
    "label", "origin", "model_name", "parameters", "data_source", "split", "hold_out", "complete", "seeds", "device",
    "n",
    "test_accuracy_mean", "test_accuracy_sd", "best_accuracy_mean", "best_accuracy_sd", "tta_accuracy_mean",
    "tta_accuracy_sd", "reference_accuracy", "total_seconds", "images_per_second", "energy_joules", "settings", "runs",
)  # fmt: skip
"""The header of the grouped CSV; what differs within a group is empty."""


def write_groups_csv(benchmarks: Benchmarks) -> str:
    """One line a row: mean, sample standard deviation (empty for one run) and number of runs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, GROUP_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in benchmarks.rows:
        fields = _row(row)
        for name in ("test_accuracy", "best_accuracy", "tta_accuracy"):
            spread = fields.pop(name) or {"mean": None, "sd": None}
            fields |= {f"{name}_mean": spread["mean"], f"{name}_sd": spread["sd"]}
        writer.writerow({name: cell(value) for name, value in fields.items()})
    return text.getvalue()


def write_json(benchmarks: Benchmarks) -> str:
    """An object with `rows` (what the tables show, as numbers), `runs` (every result) and `skipped`."""
    document = {
        "rows": [_row(row) for row in benchmarks.rows],
        "runs": [_fields(run) for run in benchmarks.runs],
        "skipped": [{"id": run_id, "reason": why} for run_id, why in benchmarks.skipped],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _fields(run: FinishedRun) -> dict[str, Any]:
    """A run's result as strict JSON has it, and what we derive from its configuration."""
    fields: dict[str, Any] = json.loads(run.result.to_json())
    reference = run.reference
    return fields | {
        "id": run.id,
        "model_name": run.model_name,
        "changed": {key: {"preset": old, "run": new} for key, (old, new) in run.changed.items()},
        "reference_accuracy": reference.accuracy if reference else None,
        "resumed": str(run.resumed) if run.resumed else None,
    }


def _row(row: Row) -> dict[str, Any]:
    run, result = row.first, row.first.result
    reference = row.common(lambda each: each.reference)
    return {
        "grouped_by": row.by,
        "n": len(row.runs),
        "label": run.label,
        "origin": run.origin,
        "model_name": row.common(lambda each: each.model_name),
        "parameters": row.common(lambda each: each.result.parameters),
        "data_source": result.data_source,
        "split": result.split,
        "hold_out": result.hold_out,
        "train_images": result.train_images,
        "test_images": result.test_images,
        "epochs": row.common(lambda each: each.result.epochs),
        "complete": result.complete,
        "test_accuracy": _spread(row.spread("test_accuracy")),
        "best_accuracy": _spread(row.spread("best_accuracy")),
        "best_epochs": row.best_epochs,
        "tta_accuracy": _spread(row.tta_accuracy) if row.tta_accuracy else None,
        "total_seconds": row.spread("total_seconds").mean,
        "images_per_second": row.spread("images_per_second").mean,
        "energy_joules": row.energy_joules.mean if row.energy_joules else None,
        "device": row.common(lambda each: each.result.device_name or each.result.device),
        "devices": row.common(lambda each: each.result.devices),
        "precision": row.common(lambda each: each.result.precision),
        "reference_accuracy": reference.accuracy if reference else None,
        "best_minus_reference": row.above_reference("best_accuracy"),
        "final_minus_reference": row.above_reference("test_accuracy"),
        "hyperparameters": row.common(lambda each: each.hyperparameters),
        "settings": row.settings,
        "seeds": row.seeds,
        "notes": notes(row),
        "runs": [run.id for run in row.runs],
    }


def _spread(spread: Spread) -> dict[str, float | None]:
    return {"mean": spread.mean, "sd": spread.sd}
