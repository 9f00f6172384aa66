"""The ghost of a run: the best earlier run of the same preset, whose curves are drawn behind its own.

Used by the Run screen: `find_ghost` on the event loop, `load_ghost` in a worker thread (it reads a file).
"""

from __future__ import annotations

from collections.abc import Sequence

from fmnist_tui.analysis.epochs import evaluations
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run


def find_ghost(run: Run, runs: Sequence[Run]) -> Run | None:
    """The finished run of the same preset and data with the highest test accuracy that started before `run`."""
    if run.config is None or run.config.preset is None:
        return None
    earlier = [
        other
        for other in runs
        if other.id < run.id
        and other.state is State.FINISHED
        and other.result is not None
        and other.config is not None
        and other.config.preset == run.config.preset
        and other.config.data == run.config.data
    ]
    return max(earlier, key=lambda other: other.result.test_accuracy if other.result else 0.0, default=None)


def load_ghost(directory: RunDirectory) -> list[EvalRecord]:
    """The run's evaluations, oldest first; none where its metrics can't be read."""
    return evaluations(directory)
