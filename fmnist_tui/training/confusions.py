"""The history of confusion matrices a run keeps: a line of confusions.jsonl for each evaluation. The Desk's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.runs.confusions import ConfusionRecord, parse_confusion
from fmnist_tui.runs.files import LineWriter, replace_bytes
from fmnist_tui.runs.layout import RunDirectory


class ConfusionLog:
    """Appends to confusions.jsonl, and cuts it back where a run resumes, as the Reporter does with the metric lines.

    About 300 bytes an evaluation, half a megabyte in 1,800 of them.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._waiting: list[str] = []
        self._writer: LineWriter | None = None

    def keep_until(self, epoch: int) -> None:
        """Drop the evaluations after that epoch's: a resumed run makes them again. Raises OSError."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if not self._run.confusions.exists():
            return
        lines = self._run.confusions.read_bytes().splitlines()
        kept = [line + b"\n" for line in lines if (record := parse_confusion(line)) and record.epoch <= epoch]
        replace_bytes(self._run.confusions, b"".join(kept), durable=True)

    def add(self, epoch: int, step: int, matrix: NDArray[np.int64]) -> None:
        """Append an evaluation's matrix (10, 10), on disk when it returns: a checkpoint never knows more.

        Raises OSError where it does not fit; the next call tries again.
        """
        record = ConfusionRecord(epoch=epoch, step=step, counts=matrix.ravel().tolist())
        self._waiting.append(record.to_json() + "\n")
        if self._writer is None:
            self._writer = LineWriter(self._run.confusions)
        self._writer.write("".join(self._waiting))
        self._waiting.clear()
        self._writer.sync()
