"""The plain loop's own process: `python -m fmnist_tui.training.bench.plain_process PID`, PID being who started it.

Started by `versus.PlainProcess`. The first line on stdin is a Task, each later one a Turn, and each is answered with a
line on stdout. Between turns the process waits for the next line and does nothing else; its DataLoader's workers have
ended. It sets the number of threads and nothing else: the trainer's settings (`precision.apply_global_settings`) are of
another process, as they would be for a user's own script.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.records import Record
from fmnist_tui.runs.status import ExitCode
from fmnist_tui.training.parent import die_with_parent

if TYPE_CHECKING:
    from fmnist_tui.training.bench.plain import PlainLoop


class Task(Record):
    """What the loop trains, and on what."""

    config: RunConfig
    device: str
    threads: int
    batch_size: int
    epoch: int
    """The one, counted from 1, whose arithmetic the network does."""
    source: str | None
    """The images to measure with where they are not the configuration's own."""
    data_dir: Path | None


class Turn(Record):
    """What is to be done now."""

    kind: Literal["train", "load"]
    """Steps, or the DataLoader's batches alone."""
    count: int
    batch_size: int


class Answer(Record):
    """What came of a line."""

    seconds: float = 0.0
    """Of a Turn's steps or batches."""
    error: str | None = None
    """Why there is none; the process ends with it."""


def answers(lines: Iterable[str]) -> Iterator[Answer]:
    """Set the loop up as the first of `lines` says and take the turns of the others, each when it is asked for."""
    import torch

    asked = iter(lines)
    task = Task.model_validate_json(next(asked))
    batch_size = task.batch_size
    try:
        loop = _loop(task)
        yield Answer()
        for line in asked:
            turn = Turn.model_validate_json(line)
            loop.batch_size = batch_size = turn.batch_size
            seconds = loop.train(turn.count)[0] if turn.kind == "train" else loop.load(turn.count)
            if loop.device.type == "cuda":
                torch.cuda.empty_cache()  # the other side may need it; the first step of a turn is not counted
            yield Answer(seconds=seconds)
    except Exception as error:
        traceback.print_exc()
        yield Answer(error=_words(error, task.device, batch_size))


def _loop(task: Task) -> PlainLoop:
    import torch

    from fmnist_tui.data import source
    from fmnist_tui.data.split import split
    from fmnist_tui.training.bench.plain import PlainLoop

    if torch.get_num_threads() != task.threads:
        torch.set_num_threads(task.threads)
    data = task.config.data.model_copy(update={"source": task.source or task.config.data.source})
    parts = split(source.load(data, task.data_dir), data.split)
    return PlainLoop(task.config, parts, torch.device(task.device), task.batch_size, task.epoch)


def _words(error: Exception, device: str, batch_size: int) -> str:
    """The first line of an error, or what to do about it where memory ran out."""
    import torch

    said = (str(error).splitlines() or [type(error).__name__])[0]
    # torch's allocator for CPUs has no exception of its own
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return (
            f"out of memory on {device} with batches of {batch_size} ({said}); our trainer's memory is held beside it: "
            "take a smaller --batch, or leave --compare out"
        )
    return said


def main() -> int:
    """Answer the lines on stdin until it is closed."""
    die_with_parent(int(sys.argv[1]))
    for answer in answers(sys.stdin):
        print(answer.to_json(), flush=True)
        if answer.error is not None:
            return ExitCode.FAILED
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
