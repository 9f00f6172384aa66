"""Losses on their way from the device to the metric lines, without the loop ever waiting for the device.

The loop adds every step's loss, which stays on the device. When a line's worth is there it is copied to
pinned memory in the background; `collect` turns copies that have arrived into records.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fmnist_tui.runs.metrics import TrainRecord

LINES_PER_EPOCH = 60
"""About how many metric lines an epoch gives: a curve needs no more, and 1,800 epochs stay under 15 MB."""


class NonFiniteLoss(ArithmeticError):
    """The loss or a weight stopped being a finite number; `step` says where."""

    def __init__(self, step: int, epoch: int, value: float, where: str = "the loss") -> None:
        self.step, self.epoch, self.value = step, epoch, value
        super().__init__(f"{where} was not finite ({value}) at step {step} in epoch {epoch}")


@dataclass
class _Line:
    step: int
    epoch: int
    lr: float
    images: int
    losses: Tensor
    """(steps,) float32 on the host once `arrived`."""
    arrived: torch.cuda.Event | None


def lines_every(steps_per_epoch: int) -> int:
    """Steps a metric line covers."""
    return math.ceil(steps_per_epoch / LINES_PER_EPOCH)


class LossLog:
    """Collects losses by line. Lines end at multiples of `every` within an epoch and at its end."""

    def __init__(self, device: torch.device, steps_per_epoch: int) -> None:
        self.every = lines_every(steps_per_epoch)
        self.steps_per_epoch = steps_per_epoch
        self._device = device
        self._losses: list[Tensor] = []
        self._images = 0
        self._last = (0, 0, 0.0)
        self._lines: deque[_Line] = deque()
        self._clock = time.perf_counter()

    def restart_clock(self) -> None:
        """Leave out the time until now (an evaluation, a checkpoint) from the speed of the next line."""
        self._clock = time.perf_counter()

    def add(self, loss: Tensor, images: int, step: int, epoch: int, batch: int, lr: float) -> None:
        """The loss of a step, () float32 on the device. `step` and `batch` count it: 1 is the first."""
        self._losses.append(loss)
        self._images += images
        self._last = (step, epoch, lr)
        if batch % self.every == 0 or batch == self.steps_per_epoch:
            self._send(step, epoch, lr)

    def end_line(self) -> None:
        """Close the unfinished line, if there is one: no further step comes."""
        if self._losses:
            self._send(*self._last)

    def _send(self, step: int, epoch: int, lr: float) -> None:
        losses = torch.stack(self._losses)
        arrived = None
        if self._device.type == "cuda":
            host = torch.empty(losses.shape, dtype=losses.dtype, pin_memory=True)
            host.copy_(losses, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
            losses = host
        self._lines.append(_Line(step, epoch, lr, self._images, losses, arrived))
        self._losses, self._images = [], 0

    def collect(self, wait: bool = False) -> list[TrainRecord]:
        """The lines whose losses have reached the host, oldest first; `wait` for all of them.

        Those that are found together share the time since the one before: when each arrived nobody saw.
        """
        records = []
        while self._lines:
            if wait and self._lines[0].arrived is not None:
                self._lines[0].arrived.synchronize()
            lines = []
            while self._lines and (self._lines[0].arrived is None or self._lines[0].arrived.query()):
                lines.append(self._lines.popleft())
            if not lines:
                break
            now = time.perf_counter()
            speed = sum(line.images for line in lines) / max(1e-9, now - self._clock)
            self._clock = now
            records += [self._record(line, speed) for line in lines]
        return records

    def _record(self, line: _Line, speed: float) -> TrainRecord:
        losses = [float(loss) for loss in line.losses.tolist()]
        finite = [loss for loss in losses if math.isfinite(loss)]
        mean = math.fsum(losses) / len(losses) if len(finite) == len(losses) else _first_bad(losses)
        return TrainRecord(
            step=line.step,
            epoch=line.epoch,
            loss=mean,
            loss_min=min(finite, default=mean),
            loss_max=max(losses) if len(finite) == len(losses) else mean,
            lr=line.lr,
            images_per_second=speed,
        )

    def state(self) -> dict[str, Any]:
        """The unfinished line, for a checkpoint; every finished one must have been collected."""
        assert not self._lines
        return {"losses": [float(loss) for loss in self._losses], "images": self._images, "last": list(self._last)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the unfinished line of a checkpoint."""
        self._losses = [torch.tensor(loss, device=self._device) for loss in state["losses"]]
        self._images = state["images"]
        step, epoch, lr = state["last"]
        self._last = (int(step), int(epoch), float(lr))

    def unfinished(self) -> list[float]:
        """The losses of the unfinished line; waits for the device."""
        return [float(loss) for loss in self._losses]


def _first_bad(losses: list[float]) -> float:
    return next(loss for loss in losses if not math.isfinite(loss))


def first_non_finite_step(record: TrainRecord, every: int) -> int:
    """The earliest step a line's bad loss can be of: the exact one where a line is one step."""
    return max(1, record.step - every + 1)
