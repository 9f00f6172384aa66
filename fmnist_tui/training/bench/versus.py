"""Our trainer and the plain loop in turns, round after round: `fmnist-tui bench --compare`.

One side of a round directly follows the other, so that whatever else slows the machine slows both.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from fmnist_tui.report.bench import Comparison, Round
from fmnist_tui.training.bench.plain import WORKERS, PlainLoop
from fmnist_tui.training.rig import Rig

DATA_SHARE = 0.25
"""Of the time, for the data path alone."""
MAX_COUNT = {"cuda": 300}
"""Steps a side takes in a round at most; 100 where none is named."""
MIN_COUNT = 2


def compare(rig: Rig, plain: PlainLoop, seconds: float, rounds: int) -> Generator[dict[str, Any], None, Comparison]:
    """Measure both sides `rounds` times in about `seconds`, at the rig's batch size; yields each round as it begins.

    Both count whole steps: images gathered and augmented, forward, backward, update.
    """
    for_steps = seconds * (1 - DATA_SHARE) / rounds / 2
    limit = MAX_COUNT.get(rig.device.type, 100)
    ours_count = _count(rig.run_steps(1), for_steps, limit)
    plain_count = _count(plain.train(1)[0], for_steps, limit)
    training: list[Round] = []
    for number in range(1, rounds + 1):
        yield {"phase": f"round {number} of {rounds}"}
        rig.run_steps(1)  # after the other side's turn caches are cold
        ours = ours_count * rig.batch_size / rig.run_steps(ours_count)
        theirs = plain_count * plain.batch_size / plain.train(plain_count)[0]
        training.append(Round(ours=ours, plain=theirs))
    data_path = yield from _data_path(rig, plain, seconds * DATA_SHARE, rounds)
    return Comparison(
        batch_size=rig.batch_size,
        workers=WORKERS,
        ours_steps=ours_count,
        plain_steps=plain_count,
        training=training,
        data_path=data_path,
    )


def _data_path(rig: Rig, plain: PlainLoop, seconds: float, rounds: int) -> Generator[dict[str, Any], None, list[Round]]:
    """Images/s of the data path alone on both sides, at the configuration's own batch size."""
    before = rig.batch_size, plain.batch_size
    rig.batch_size = plain.batch_size = min(rig.config.training.batch_size, len(rig.train_set))
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
