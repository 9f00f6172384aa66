"""Losses on their way from the device into metric lines."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest
import torch

from fmnist_tui.runs.metrics import parse_metric
from fmnist_tui.training.losses import LossLog, lines_every

CPU = torch.device("cpu")


def test_lines_end_at_multiples_and_at_the_end_of_an_epoch() -> None:
    log = LossLog(CPU, steps_per_epoch=130)
    assert log.every == lines_every(130) == 3
    for epoch in (1, 2):
        for batch in range(1, 131):
            log.add(torch.tensor(float(batch)), 10, (epoch - 1) * 130 + batch, epoch, batch, 0.1)
    lines = log.collect()
    assert [line.step for line in lines[:3]] == [3, 6, 9] and lines[43].step == 130 and lines[44].step == 133
    assert (lines[0].loss, lines[0].loss_min, lines[0].loss_max) == (2.0, 1.0, 3.0)
    assert lines[43].loss == 130.0, "the last line of an epoch holds what is left"
    assert len(lines) == 2 * 44


def test_a_non_finite_loss_is_not_averaged_away() -> None:
    log = LossLog(CPU, steps_per_epoch=120)
    for batch, loss in ((1, 2.0), (2, math.inf)):
        log.add(torch.tensor(loss), 10, batch, 1, batch, 0.1)
    (line,) = log.collect()
    assert line.loss == math.inf and line.loss_min == 2.0
    assert json.loads(line.to_json())["loss"] == "Infinity"
    assert parse_metric(line.to_json()) == line


class Arrival:
    """An event of a device whose lines arrive when the test says so, or when they are waited for."""

    def __init__(self) -> None:
        self.here = False

    def query(self) -> bool:
        return self.here

    def synchronize(self) -> None:
        self.here = True


@pytest.mark.parametrize("wait", [False, True])
def test_lines_that_arrive_together_share_the_time(monkeypatch: pytest.MonkeyPatch, wait: bool) -> None:
    """The host looks between two steps: where two lines arrived since, the second took no millionth of a second."""
    clock = iter([0.0, 2.0, 3.0])
    monkeypatch.setattr("fmnist_tui.training.losses.time.perf_counter", lambda: next(clock))
    log = LossLog(torch.device("cpu"), steps_per_epoch=100)
    log.every = 1
    events = [Arrival() for _ in range(3)]
    for step, event in enumerate(events, 1):
        log.add(torch.tensor(1.0), 100, step, 1, step, 0.1)
        log._lines[-1].arrived = cast("torch.cuda.Event", event)
    events[0].here = events[1].here = True
    records = log.collect(wait)
    assert [record.images_per_second for record in records] == [100.0, 100.0, 100.0][: len(records)]
    assert len(records) == (3 if wait else 2) and log.collect(wait) == []


def test_an_unfinished_line_goes_on_after_a_restore() -> None:
    log = LossLog(CPU, steps_per_epoch=120)
    log.add(torch.tensor(1.0), 10, 1, 1, 1, 0.1)
    again = LossLog(CPU, steps_per_epoch=120)
    again.restore(log.state())
    again.add(torch.tensor(3.0), 10, 2, 1, 2, 0.1)
    assert again.collect()[0].loss == 2.0


def test_the_steps_before_a_step_limit_are_a_line_of_their_own() -> None:
    log = LossLog(CPU, steps_per_epoch=300)
    for batch in (1, 2):
        log.add(torch.tensor(float(batch)), 10, batch, 1, batch, 0.1)
    assert log.collect() == []
    log.end_line()
    log.end_line()
    (line,) = log.collect()
    assert (line.step, line.loss) == (2, 1.5)
