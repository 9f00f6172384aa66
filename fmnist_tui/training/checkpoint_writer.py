"""Checkpoints written while training goes on. The Saver's; the files are `checkpoint`'s."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training import checkpoint


class Writer:
    """Writes checkpoints in a thread of its own, one at a time, while training goes on."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._owed: dict[str, Any] | None = None
        """The best state, while best.pt is of an earlier one."""
        self._failed: dict[str, Any] | None = None
        """The newest state, where it could not be written."""
        self.problem = ""
        """Why the newest write failed; '' where it did not."""
        self.best_problem = ""
        """Why best.pt could not be written though last.pt was; the best state is kept in memory until it can be."""
        self.told = ""
        """The problem the user was last told of."""

    def save(self, state: dict[str, Any], is_best: bool, arrived: torch.cuda.Event | None = None) -> None:
        """Begin to write a state that nothing changes any more, once it has `arrived`.

        The one before must be done (`wait`).
        """
        assert self._pending is None
        self._pending = self._pool.submit(self._write, state, is_best, arrived)

    def _write(self, state: dict[str, Any], is_best: bool, arrived: torch.cuda.Event | None) -> None:
        if arrived is not None:
            with torch.cuda.device(arrived.device):  # a thread begins on the first GPU, and would take memory there
                arrived.synchronize()
        if is_best:
            self._owed = state
        self._failed = state
        checkpoint.save(self._run, state)
        self._failed = None
        self.best_problem = self._write_best(state)

    def _write_best(self, last: dict[str, Any]) -> str:
        """Give best.pt the state it is owed; where there is no room for it, say why: the next write tries again."""
        try:
            if self._owed is last:
                checkpoint.mark_best(self._run)
            elif self._owed is not None:
                checkpoint.write(self._run.checkpoint("best"), self._owed)
        except OSError as error:
            return error.strerror or str(error)
        self._owed = None
        return ""

    def try_again(self) -> bool:
        """Write what could not be written; returns whether all is on the disk. For when no further checkpoint comes."""
        self.wait()
        if self._failed is not None:
            self.save(self._failed, False)
            self.wait()
        elif self._owed is not None:
            self.best_problem = self._write_best({})
        return not (self.problem or self.best_problem)

    def wait(self) -> None:
        """Until the write under way has ended; `problem` says how."""
        if self._pending is None:
            return
        try:
            self._pending.result()
            self.problem = ""
        except OSError as error:
            self.problem = error.strerror or str(error)
        self._pending = None
