"""Training steps as CUDA graphs: recorded once, then replayed by one call of the host.

A GPU works through the thousand and more kernels of a densenet's step in less time than the host takes to hand them
over one by one. A recorded step is handed over at once: augmentation, both passes and the update. What differs from
step to step goes in through fixed memory: images, labels, flips and the learning rate; and the random draws through
the generators' seeds, so that a replayed step draws what an eager one would.

Used by `step` for the steps of a run, and by `compiling` for the passes of its trial.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from fmnist_tui.models import phase
from fmnist_tui.training.optim import set_learning_rate

if TYPE_CHECKING:
    from fmnist_tui.training.step import TrainStep

T = TypeVar("T")

CANNOT = "steps can't be recorded as CUDA graphs"
EAGER_STEPS = 3
"""Steps of a kind before one is recorded: they let cuDNN choose its algorithms, compile, and make the optimizer's
state, none of which can be recorded."""


class Recorder:
    """Records on a CUDA device, in a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Within, work goes to the recorder's stream, after what was handed over before and before what comes after.

        What autograd keeps of a stream is then that of the recording.
        """
        usual = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(usual)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:  # a step that was cut short, too, may have left work on its way
            usual.wait_stream(self._stream)

    def record(self, run: Callable[[], T], generators: Sequence[torch.Generator] = ()) -> tuple[Callable[[], None], T]:
        """What repeats `run` on the device, and where each repetition leaves its result; `run` itself has no effect.

        It draws from the device's default generator and from `generators` as they stand at each repetition. Where it
        can't be recorded, the error is raised with everything as it was.
        """
        device = self._stream.device
        usual = torch.cuda.current_stream(device)
        graph = torch.cuda.CUDAGraph()
        _register(graph, generators)
        try:
            # Other threads, as the one that writes checkpoints, may go on with theirs.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                result = run()
        except BaseException:
            # A recording that breaks off may leave its stream the current one, and generators that wait for its end.
            torch.cuda.set_stream(usual)
            for generator in (torch.cuda.default_generators[device.index], *generators):
                _renew(generator)
            raise
        return graph.replay, result


def _register(graph: torch.cuda.CUDAGraph, generators: Sequence[torch.Generator]) -> None:
    """Let a graph draw from generators of its own; torch from about 2.13 on finds them itself, and says so."""
    register = getattr(graph, "register_generator_state", None)
    if register is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for generator in generators:
            register(generator)


def _renew(generator: torch.Generator) -> None:
    """Give a generator a state of its own again, of the same seed and place, that belongs to no recording."""
    fresh = torch.Generator(generator.device)
    fresh.set_state(generator.get_state())
    generator.graphsafe_set_state(fresh)


class StepGraph:
    """One recorded step, for batches of one size."""

    def __init__(
        self, step: TrainStep, recorder: Recorder, images: Tensor, labels: Tensor, flip: Tensor | None, size: int | None
    ) -> None:
        self._images, self._labels = images.clone(), labels.clone()
        self._flip = None if flip is None else flip.clone()
        self._lr = torch.zeros((), device=images.device)

        def run() -> tuple[Tensor, Tensor]:
            set_learning_rate(step.optimizer, self._lr)
            return step.compute(self._images, self._labels, self._flip, size)

        self._replay, self._result = recorder.record(run, (step.generator,))

    def __call__(self, images: Tensor, labels: Tensor, lr: float, flip: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `TrainStep`, the random generators being at the step's seeds."""
        self._images.copy_(images)
        self._labels.copy_(labels)
        if self._flip is not None and flip is not None:
            self._flip.copy_(flip)
        self._lr.fill_(lr)
        self._replay()
        loss, correct = self._result
        return loss.clone(), correct.clone()


class StepGraphs:
    """Takes a step's batches, the first of a kind as they come, the others from its record.

    A kind is the size of batch and images and what else decides which kernels a step is made of. There is one
    record at a time, since runs do not go back to an earlier kind. Batches that are shorter than others, as the last
    of an epoch, are not recorded.
    """

    def __init__(self, step: TrainStep) -> None:
        self.problem: str | None = None
        """Why nothing is recorded any more."""
        self._step = step
        if step.scaler.is_enabled() and not getattr(step.optimizer, "_step_supports_amp_scaling", False):
            self.problem = f"{CANNOT}: in fp16 this optimizer waits for whether a gradient overflowed"
        self._recorder = Recorder(step.execution.device)
        self._longest = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew: what the steps are made of has changed."""
        self._kind: tuple[object, ...] = ()
        self._taken = 0
        self._graph: StepGraph | None = None

    def give_way(self) -> bool:
        """Let go of the record for good, since memory is wanted; False where there is none."""
        if self._graph is None:
            return False
        self._give_up()
        self.problem = "memory does not suffice for recorded steps"
        return True

    def take(
        self, images: Tensor, labels: Tensor, lr: float, flip: Tensor | None, size: int | None
    ) -> tuple[Tensor, Tensor]:
        """A step, as `TrainStep.take`."""
        step = self._step
        self._longest = max(self._longest, len(images))
        if self.problem is not None or len(images) < self._longest:
            return step.take(images, labels, flip, size)
        kind = (len(images), size, flip is None, step.micro_batch, step.mixing, phase(step.model))
        if kind != self._kind:
            self._give_up()
            self._kind = kind
        if self._graph is None and self._taken < EAGER_STEPS:
            self._taken += 1
            with self._recorder.aside():
                return step.take(images, labels, flip, size)
        if self._graph is None:
            try:
                self._graph = StepGraph(step, self._recorder, images, labels, flip, size)
            except Exception as error:  # also for want of memory: eager steps need less
                self.fail(error)
            finally:
                set_learning_rate(step.optimizer, lr)
        if self._graph is None:
            return step.take(images, labels, flip, size)
        step.before_update()
        return self._graph(images, labels, lr, flip)

    def recorded(self, run: Callable[[], object]) -> Callable[[], object]:
        """What repeats `run` from a record of its own. Raises what torch does where it can't be recorded."""
        with self._recorder.aside():
            for _ in range(EAGER_STEPS):
                run()
        return self._recorder.record(run)[0]

    def _give_up(self) -> None:
        """Forget, and let go of the record's memory, in which the gradients are too."""
        self.forget()
        self._step.optimizer.zero_grad(set_to_none=True)

    def fail(self, error: Exception) -> None:
        """Take all steps as they come from here on, because of this error."""
        self._give_up()
        while isinstance(error.__context__, Exception):  # what broke the recording, not what that led to
            error = error.__context__
        said = str(error).strip().splitlines() or [type(error).__name__]
        self.problem = f"{CANNOT}: {said[0][:200]}"
