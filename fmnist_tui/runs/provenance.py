"""What a run was made with, as its files tell, and in which words that differs from what is here now.

Called by `runs show`, `run repeat`, the report and the Python API.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from pydantic import ValidationError

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EventRecord, parse_metric
from fmnist_tui.runs.result import Provenance
from fmnist_tui.runs.store import Run

LABELS = {
    "fmnist_tui": "fmnist-tui",
    "git_commit": "git commit",
    "python": "Python",
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "NumPy",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "driver": "NVIDIA driver",
    "system": "system",
    "platform": "platform",
    "cpu": "CPU",
    "threads": "CPU threads",
}
"""What people call the fields of Provenance, in the order they are shown."""


def recorded(run: Run) -> Provenance | None:
    """A run's provenance: its result's; of a run without one, its newest start's. None where neither tells."""
    return run.result.provenance if run.result is not None else _of_newest_start(run.directory)


def _of_newest_start(directory: RunDirectory) -> Provenance | None:
    try:
        lines = directory.metrics.read_bytes().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        if b'"provenance"' not in line:
            continue
        record = parse_metric(line)
        if isinstance(record, EventRecord) and record.event in ("start", "resume"):
            try:
                return Provenance.model_validate(record.data.get("provenance"))
            except ValidationError:  # a line of a newer version
                return None
    return None


def described(made: Provenance) -> dict[str, str]:
    """A provenance as label and text, without what it does not know; the command and data hashes stand last."""
    rows = {label: text for name, label in LABELS.items() if (text := _text(getattr(made, name)))}
    if made.git_dirty:
        rows[LABELS["git_commit"]] += ", with changes"
    if made.command:
        rows["command"] = shlex.join(made.command)
    return rows | {name: f"sha256 {digest}" for name, digest in made.data_sha256.items()}


def differences(then: Provenance, now: Provenance) -> list[str]:
    """What differs, one sentence a field: 'torch: 2.13.0 then, 2.14.1 now'. What `then` did not record is passed over.

    The command line is no difference, nor is CUDA where the run was not on a GPU (then it has no CUDA version).
    """
    said = []
    for name, label in LABELS.items():
        if name not in then.model_fields_set:  # a record of an older version
            continue
        before, after = getattr(then, name), getattr(now, name)
        if before is not None and before != after:
            said.append(f"{label}: {_text(before)} then, {_text(after) or 'none'} now")
    if then.git_dirty:
        said.append(f"the program had changes that commit {_text(then.git_commit)[:12]} does not hold")
    if now.git_dirty:
        said.append("the program has changes now that its commit does not hold")
    return said + _data_differences(then.data_sha256, now.data_sha256)


def _data_differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"the data differ: {name} has another content than then"
        for name, digest in then.items()
        if name in now and now[name] != digest
    ]


def _text(value: object) -> str:
    return "" if value is None else str(value)
