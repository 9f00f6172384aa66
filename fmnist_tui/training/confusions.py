"""The history of confusion matrices a run keeps: a line of confusions.jsonl for each evaluation. The Desk's."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.runs.confusions import ConfusionRecord, parse_confusion
from fmnist_tui.runs.files import LineWriter, replace_if_other, with_unwritten
from fmnist_tui.runs.layout import RunDirectory


class ConfusionLog:
    """Appends to confusions.jsonl, and cuts it back where a run resumes, as the Reporter does with the metric lines.

    About 300 bytes an evaluation, half a megabyte in 1,800 of them.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._waiting: list[str] = []
        self._writer: LineWriter | None = None

    def unwritten(self) -> list[str]:
        """The lines that a full disk has not taken, for the checkpoint."""
        return list(self._waiting)

    def keep_until(self, epoch: int, unwritten: Iterable[str] = ()) -> None:
        """Drop the evaluations after that epoch's: a resumed run makes them again. Raises OSError.

        Lines that were `unwritten` at its checkpoint come back.
        """
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        lines = with_unwritten(self._run.confusions, unwritten)
        kept = [line + b"\n" for line in lines if (record := parse_confusion(line)) and record.epoch <= epoch]
        replace_if_other(self._run.confusions, b"".join(kept))

    def add(self, epoch: int, step: int, matrix: NDArray[np.int64]) -> None:
        """Append an evaluation's matrix (10, 10), on disk when it returns.

        Raises OSError where it does not fit: the next call tries again, and a checkpoint until then holds it.
        """
        record = ConfusionRecord(epoch=epoch, step=step, counts=matrix.ravel().tolist())
        self._waiting.append(record.to_json() + "\n")
        self.flush()

    def flush(self) -> None:
        """Write what waits for room; nothing where nothing does. Raises OSError where there is still none."""
        if not self._waiting:
            return
        if self._writer is None:
            self._writer = LineWriter(self._run.confusions)
        self._writer.write("".join(self._waiting))
        self._waiting.clear()
        self._writer.sync()
