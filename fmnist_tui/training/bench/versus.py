"""Our trainer and the plain loop in turns, round after round: `fmnist-tui bench --compare`.

One side of a round directly follows the other, so that whatever else slows the machine slows both.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Literal

from fmnist_tui.report.bench import Comparison, Round
from fmnist_tui.runs.process import users_environment
from fmnist_tui.runs.records import Record
from fmnist_tui.training.bench.plain import WORKERS
from fmnist_tui.training.bench.plain_process import Answer, Task, Turn
from fmnist_tui.training.rig import Rig

COMMAND = (sys.executable, "-m", "fmnist_tui.training.bench.plain_process")

DATA_SHARE = 0.25
"""Of the time, for the data path alone."""
MAX_COUNT = {"cuda": 300}
"""Steps a side takes in a round at most; 100 where none is named."""
MIN_COUNT = 2


class PlainProcess:
    """The plain loop in a process of its own, which works when it is told to and waits otherwise.

    It has the user's environment, without what a run's has besides, and dies with this process. The block of `with`
    ends it; DataLoader workers that it had then follow within the five seconds after which torch's look for it.
    """

    def __init__(self, task: Task, command: Sequence[str] = COMMAND) -> None:
        """Return when the loop is set up. Raises RuntimeError where that, or later a turn, fails."""
        self.batch_size = task.batch_size
        self._child = subprocess.Popen(
            [*command, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=users_environment() | {"PYTHONSAFEPATH": "1"},  # as `worker_environment` says
            text=True,
        )
        try:
            self._ask(task)
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> PlainProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    def end(self) -> None:
        """End the process at once, whatever it does."""
        self._child.kill()
        self._child.wait()

    def train(self, steps: int) -> float:
        """Seconds for this many steps."""
        return self._turn("train", steps)

    def load(self, batches: int) -> float:
        """Seconds for this many batches from the DataLoader to the device, without a network."""
        return self._turn("load", batches)

    def _turn(self, kind: Literal["train", "load"], count: int) -> float:
        return self._ask(Turn(kind=kind, count=count, batch_size=self.batch_size))

    def _ask(self, what: Record) -> float:
        assert self._child.stdin and self._child.stdout
        with contextlib.suppress(BrokenPipeError):  # it died: no answer comes, and its exit is reported
            self._child.stdin.write(what.to_json() + "\n")
            self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the plain loop's process {_how_ended(self._child.wait())}")
        answer = Answer.model_validate_json(line)
        if answer.error is not None:
            raise RuntimeError(f"the plain loop failed: {answer.error}")
        return answer.seconds


def _how_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and without a word"
    name = signal.Signals(-code).name
    why = " (perhaps by the system, for lack of memory: take a smaller --batch)" if name == "SIGKILL" else ""
    return f"was killed by {name}{why}"


def compare(rig: Rig, plain: PlainProcess, seconds: float, rounds: int) -> Generator[dict[str, Any], None, Comparison]:
    """Measure both sides `rounds` times in about `seconds`, at the rig's batch size; yields each round as it begins.

    Both count whole steps: images gathered and augmented, forward, backward, update.
    """
    for_steps = seconds * (1 - DATA_SHARE) / rounds / 2
    limit = MAX_COUNT.get(rig.device.type, 100)
    ours_count = _count(rig.run_steps(1), for_steps, limit)
    plain_count = _count(plain.train(1), for_steps, limit)
    training: list[Round] = []
    for number in range(1, rounds + 1):
        yield {"phase": f"round {number} of {rounds}"}
        rig.run_steps(1)  # after the other side's turn caches are cold
        ours = ours_count * rig.batch_size / rig.run_steps(ours_count)
        theirs = plain_count * plain.batch_size / plain.train(plain_count)
        training.append(Round(ours=ours, plain=theirs))
    data_batch_size = min(rig.config.training.batch_size, len(rig.train_set))
    data_path = yield from _data_path(rig, plain, data_batch_size, seconds * DATA_SHARE, rounds)
    return Comparison(
        batch_size=rig.batch_size,
        own_process=True,
        data_batch_size=data_batch_size,
        workers=WORKERS,
        ours_steps=ours_count,
        plain_steps=plain_count,
        training=training,
        data_path=data_path,
    )


def _data_path(
    rig: Rig, plain: PlainProcess, batch_size: int, seconds: float, rounds: int
) -> Generator[dict[str, Any], None, list[Round]]:
    """Images/s of the data path alone on both sides."""
    before = rig.batch_size, plain.batch_size
    rig.batch_size = plain.batch_size = batch_size
    each = seconds / rounds / 2
    rig.prepare_batches(2)
    ours_count = _count(rig.prepare_batches(4) / 4, each, 10_000)
    plain_count = _count(plain.load(4) / 4, each, 10_000)
    found: list[Round] = []
    for number in range(1, rounds + 1):
        yield {"phase": f"data path, round {number} of {rounds}"}
        ours = ours_count * rig.batch_size / rig.prepare_batches(ours_count)
        theirs = plain_count * plain.batch_size / plain.load(plain_count)
        found.append(Round(ours=ours, plain=theirs))
    rig.batch_size, plain.batch_size = before
    return found


def _count(seconds_each: float, seconds: float, limit: int) -> int:
    """How many fit into `seconds`, one uncounted among them."""
    return max(MIN_COUNT, min(limit, int(seconds / seconds_each) - 1))
