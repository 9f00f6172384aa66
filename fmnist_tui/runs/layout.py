"""Every file name in a run directory, and the form of a run's id.

The one place that spells a file name; the trainer, the command line, the app and the report all ask here.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fmnist_tui.runs.files import is_there

RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z0-9-]{1,40}-[a-z0-9]{4}")
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no letters that are mistaken for digits


def new_run_id(name: str, now: datetime | None = None) -> str:
    """A readable id that sorts by time (UTC), for example '20261123-142501-wrn-k3f9'.

    Whatever the name holds, the id matches RUN_ID: it can't name a path outside the runs directory.
    """
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-") or "run"
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(4))
    return f"{stamp}-{slug}-{tail}"


@dataclass(frozen=True)
class RunDirectory:
    """The paths of one run; holds no state and creates nothing."""

    path: Path

    @property
    def id(self) -> str:
        """The run's id: the directory's name."""
        return self.path.name

    @property
    def marker(self) -> Path:
        """What makes a directory a run: holds the schema version; nothing without it is ever deleted."""
        return self.path / ".fmnist-tui-run"

    @property
    def config(self) -> Path:
        """The validated RunConfig, written once by the launcher."""
        return self.path / "config.json"

    @property
    def launch(self) -> Path:
        """The newest start's LaunchRequest (device, data directory, checkpoint), written by the launcher."""
        return self.path / "launch.json"

    @property
    def status(self) -> Path:
        """The Status record, replaced atomically by the trainer (by the launcher until it lives)."""
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        """Metric records, one JSON object a line, appended by the trainer."""
        return self.path / "metrics.jsonl"

    @property
    def confusions(self) -> Path:
        """The confusion matrix of every evaluation, one ConfusionRecord a line, appended by the trainer."""
        return self.path / "confusions.jsonl"

    @property
    def control(self) -> Path:
        """Requests to the trainer, replaced atomically by the app or the command line."""
        return self.path / "control.json"

    @property
    def control_lock(self) -> Path:
        """Held while control.json is replaced, so that two who ask at once do not lose each other's request."""
        return self.path / "control.lock"

    @property
    def checkpoints(self) -> Path:
        """The directory of the three checkpoints."""
        return self.path / "checkpoints"

    def checkpoint(self, which: str) -> Path:
        """The checkpoint called 'last', 'previous' or 'best'."""
        assert which in CHECKPOINTS, which
        return self.checkpoints / f"{which}.pt"

    def has_checkpoint(self) -> bool:
        """Whether there is one to go on from: the last, or the one before."""
        return any(is_there(self.checkpoint(which)) for which in ("last", "previous"))

    @property
    def predictions(self) -> Path:
        """Predicted class and probabilities of every test image, at the best and the last evaluation.

        And the classes alone of the evaluation before the last.
        """
        return self.path / "predictions.npz"

    @property
    def result(self) -> Path:
        """The Result record: the run's row of the benchmark table, written at the end."""
        return self.path / "result.json"

    @property
    def earlier(self) -> Path:
        """What a finished run that goes on had come to, until it is finished again: result and predictions."""
        return self.path / "earlier"

    @property
    def earlier_result(self) -> Path:
        """Its result.json."""
        return self.earlier / self.result.name

    @property
    def earlier_predictions(self) -> Path:
        """Its predictions.npz: those the earlier result is of."""
        return self.earlier / self.predictions.name

    @property
    def worker_log(self) -> Path:
        """The worker's stdout, stderr and fault traces."""
        return self.path / "worker.log"

    @property
    def comment(self) -> Path:
        """What the user wrote down about the run."""
        return self.path / "comment.txt"

    @property
    def slurm(self) -> Path:
        """submitit's directory: a Slurm job's script, what it runs, and what its tasks print; only of such runs."""
        return self.path / "slurm"

    @property
    def last_word(self) -> Path:
        """The LastWord record: how several processes that train together ended, for their launcher."""
        return self.path / "last-word.json"

    @property
    def lock(self) -> Path:
        """Held by the worker while it lives, so that two never train one run."""
        return self.path / "worker.lock"

    @property
    def written_by_worker(self) -> list[Path]:
        """Every file that the worker replaces as a whole."""
        checkpoints = [self.checkpoint(which) for which in CHECKPOINTS]
        return [self.status, self.metrics, self.confusions, self.predictions, self.result, *checkpoints]


CHECKPOINTS = ("last", "previous", "best")
BENCHMARKS = "BENCHMARKS.md"
"""The table in the runs directory, rewritten when a run finishes."""
