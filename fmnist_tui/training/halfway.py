"""Steps that a signal to stop may cut short, as if they had not begun. Called by the training loop.

A cluster kills whoever has not left some seconds after SIGTERM, and a step may take longer than that: the first
one and one at another image size compile, and on a slow CPU every step of a large network does (WideResNet-28-10:
30 s on one core).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from fmnist_tui.models import phase
from fmnist_tui.training.control import CutShort, StopSignal
from fmnist_tui.training.step import TrainStep

LONG_STEP_SECONDS = 1.0
"""A step that took longer than this makes the next one a long one."""


class LongSteps:
    """Tells which steps may take long, and makes it possible to give those up half-way."""

    def __init__(self, step: TrainStep, stop_signal: StopSignal) -> None:
        self._step, self._stop_signal = step, stop_signal
        self._kind: tuple[object, ...] | None = None
        self._seconds = 0.0

    @contextmanager
    def under_way(self, size: int | None) -> Iterator[None]:
        """Around a step on images of that size. Raises CutShort with everything as it was before the step."""
        kind = (size, phase(self._step.model))  # what a compiled network is compiled anew for
        long = kind != self._kind or self._seconds > LONG_STEP_SECONDS
        self._kind, began = kind, time.perf_counter()
        with self._may_be_cut() if long else ExitStack():
            yield
        self._seconds = time.perf_counter() - began

    @contextmanager
    def _may_be_cut(self) -> Iterator[None]:
        """Until the update begins: no weight is left half changed. Until then a step changes buffers only."""
        model = self._step.model
        before = [buffer.clone() for buffer in model.buffers()]
        with ExitStack() as hooks:
            hooks.callback(setattr, self._step, "before_update", self._step.before_update)
            self._step.before_update = self._stop_signal.no_cut
            if self._step.execution.device.type == "cpu" and self._step.compile == "off":
                # A backward pass is one call into torch: Python sees a signal only where it is called back.
                for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
                    hooks.callback(parameter.register_post_accumulate_grad_hook(_nothing).remove)
            try:
                with self._stop_signal.may_cut():
                    yield
            except CutShort:
                _restore(model, before)
                raise


@torch.no_grad()
def _restore(model: nn.Module, values: list[torch.Tensor]) -> None:
    for buffer, value in zip(model.buffers(), values, strict=True):
        buffer.copy_(value)


def _nothing(*_: Any) -> None:
    """A hook that only gives Python its turn."""
