"""All metric lines of a run, by kind. Called by the exports, the HTML report and the Python API.

Whoever follows a run that is at work reads only what is new: see `files.Tail`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import EvalRecord, EventRecord, SystemRecord, TrainRecord, parse_metric
from fmnist_tui.runs.store import RunError


@dataclass(frozen=True)
class Metrics:
    """A run's records in the order of the file; of a resumed run no step stands twice."""

    train: list[TrainRecord] = field(default_factory=list)
    eval: list[EvalRecord] = field(default_factory=list)
    system: list[SystemRecord] = field(default_factory=list)
    event: list[EventRecord] = field(default_factory=list)


def read_metrics(run: RunDirectory) -> Metrics:
    """Every whole line of metrics.jsonl; lines that are damaged or of a newer version are passed over.

    A run without the file has none. Raises RunError where it can't be read.
    """
    try:
        content = run.metrics.read_bytes()
    except FileNotFoundError:
        return Metrics()
    except OSError as error:
        raise RunError(f"{run.id}: {run.metrics.name} cannot be read: {error.strerror}") from None
    metrics = Metrics()
    for line in content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]:
        record = parse_metric(line)
        if record is not None:
            getattr(metrics, record.kind).append(record)
    return metrics
