"""Whether compiling the network pays on this device: found out by trying, on the spot.

Called by the loop before the first step, and by `rig`, which measures. A trial leaves nothing behind: no weight
moves, batch norm's statistics and the random generators are put back, and only the compiled network is kept where
it turns out correct and faster. A compiler that fails costs a warning, never the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_tui.data.batches import DeviceDataset, epoch_permutation, normalize, train_batch
from fmnist_tui.models import begin_epoch
from fmnist_tui.training.evaluate import eval_batch
from fmnist_tui.training.progress import evaluated_epochs
from fmnist_tui.training.schedule import train_resolution

if TYPE_CHECKING:
    from fmnist_tui.training.step import TrainStep

Network = Callable[[Tensor], Tensor]

BACKEND = "inductor"
CANDIDATE = "default"
"""What `auto` tries."""
WITHOUT_GRAPHS = {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}
"""Modes that would capture CUDA graphs of the network, without them: `graphs` records whole steps."""
GUESSED_SECONDS = 90.0
"""What compiling a network of this size may take, before it was tried. Beside ten other processes on 16 cores it took
95 s (wrn) to 191 s (densenet), with torch 2.11."""
HOPED_SHARE = 0.25
"""Share of the time left that compiling may save: a trial is made where this is more than it may take. On an H200 it
took 14 % (wrn) to 26 % (densenet) off a recorded step."""
NO_MEMORY = "memory does not suffice for a trial"
LEAST_GAIN = 1.03
CHECKED_STEPS = 4
"""Steps compared with eager ones."""
WARM_UP_STEPS, TIMED_STEPS = 3, 20
TOLERANCE = 0.02
"""Largest distance of loss, gradients and logits from the eager ones in fp32, relative to their norm. TF32 keeps 10
bits of each factor, and fused kernels round elsewhere; a wrong kernel is off by the order of 1."""
ROUNDING = 1.5
"""In lower precision more is allowed: so many times the distance that the eager network has from itself in fp32. What
is right may round otherwise everywhere, and rounding grows with depth. On a CPU (bf16, torch 2.14) the first gradients
of densenet (64 images) lay 18 % from those in fp32, and 16 % from those in bf16 with another order in memory."""


class Choice(NamedTuple):
    """A mode of torch.compile, or 'off', why, and what went wrong on the way."""

    mode: str
    reason: str
    problems: tuple[str, ...] = ()


class Settled(NamedTuple):
    """What was chosen for training and for evaluation; the latter is None where no evaluation has a whole batch."""

    training: Choice
    evaluation: Choice | None


class Refused(Exception):
    """A compiled network that does not compute what the eager one does; the text says by how much."""


def compiled(model: nn.Module, mode: str) -> Network:
    """`model` compiled for unchanging shapes; it compiles at its first call, once for each shape it is given."""
    torch._inductor.config.fallback_random = True  # draws the same dropout and branch weights as the eager network
    if BACKEND != "inductor":
        return torch.compile(model, backend=BACKEND, dynamic=False)
    return torch.compile(model, mode=WITHOUT_GRAPHS.get(mode, mode), dynamic=False)


def may_compile(step: TrainStep, train_set: DeviceDataset) -> bool:
    """Whether there is anything to settle: compiling may be tried or was asked for, and a whole batch exists."""
    whole = len(train_set) >= step.config.training.batch_size
    return whole and (step.execution.try_compile or step.compile != "off")


def settle(
    step: TrainStep, train_set: DeviceDataset, test_set: DeviceDataset, epoch: int, epochs: int, steps_left: int
) -> Settled:
    """Let the step's network be compiled where that pays, or was asked for: a trial on batches of `epoch` decides.

    What compiling may save counts from there to the end of `epochs`. Only where `may_compile` says so.
    """
    config, device = step.config, step.execution.device
    permutation = epoch_permutation(len(train_set), config.seed, epoch, device)
    size = train_resolution(epoch, config, epochs)
    begin_epoch(step.model, epoch, epochs)
    batches = []
    for index in range(min(2, len(train_set) // config.training.batch_size)):
        images, labels = train_batch(train_set, permutation, index, config.training.batch_size)
        inputs = step.inputs(images, epoch, index, size=size)
        batches.append((inputs[: step.micro_batch], labels[: step.micro_batch]))
    training = choose_training(step, batches, steps_left)
    count = eval_batch(device)
    if len(test_set) < count:
        return Settled(training, None)
    with torch.inference_mode():  # as `evaluate` makes them: for any other tensors the network would be compiled again
        inputs = normalize(test_set.images[:count], step.execution.dtype, step.execution.memory_format)
    evaluations = len(evaluated_epochs(epoch, epochs, config.training.eval_every))
    return Settled(training, choose_evaluation(step, inputs, evaluations * (len(test_set) // count)))


def choose_training(step: TrainStep, batches: list[tuple[Tensor, Tensor]], steps_left: int) -> Choice:
    """Settle how `step` runs its network, and have it run so: eager, or compiled in a mode that is right and pays.

    `batches` are inputs (B, 1, H, W) and labels (B,) int64 as the step's network is going to see them.
    """
    if not step.execution.try_compile:
        return _check_what_was_set(step, batches)
    try:
        return _try_training(step, batches, steps_left)
    except torch.OutOfMemoryError:  # the steps themselves have a remedy for that
        pass
    _settle(step, "off")
    _free_memory(step)
    return Choice("off", NO_MEMORY)


def _try_training(step: TrainStep, batches: list[tuple[Tensor, Tensor]], steps_left: int) -> Choice:
    """As `choose_training`, where nothing was set. Raises torch.OutOfMemoryError where not even a step fits."""
    execution = step.execution
    with _no_trace(step.model, execution.device):
        passes_left = steps_left * -(-step.config.training.batch_size // step.micro_batch)
        for recorded in (False, True) if step.graphs is not None else (False,):  # the former takes longer
            eager = _seconds(_pass(step, step.model, batches[0], recorded), execution.device)
            left = eager * passes_left
            if left * HOPED_SHARE < GUESSED_SECONDS:
                return Choice("off", f"the steps left take {left:.0f} s at most, too few for compiling to pay")
        mode, found, problems = "off", f"eager {1e3 * eager:.2f} ms", tuple[str, ...]()
        gain = "nothing was faster"
        try:
            began = time.perf_counter()
            step.use(CANDIDATE)
            _compare(step, batches)
            compile_seconds = time.perf_counter() - began
            seconds = _seconds(_pass(step, step.network, batches[0]), execution.device)
        except Exception as error:  # a compiler may fail in any way; eager always works
            problems = (_in_words(CANDIDATE, error),)
        else:
            found += f", {CANDIDATE} {1e3 * seconds:.2f} ms after {compile_seconds:.0f} s"
            if eager >= seconds * LEAST_GAIN:
                mode, gain = CANDIDATE, f"saves about {(eager - seconds) * passes_left:.0f} s"
        _settle(step, mode)
    what = "a micro-batch" if step.micro_batch < step.config.training.batch_size else "a step"
    return Choice(mode, f"{what} takes {found}; {gain}", problems)


def choose_evaluation(step: TrainStep, inputs: Tensor, batches_left: int) -> Choice:
    """The same for evaluation, on inputs (B, 1, H, W): only where training is compiled."""
    if step.compile == "off":
        return Choice("off", "as training")
    try:
        return _try_evaluation(step, inputs, batches_left)
    except torch.OutOfMemoryError:
        pass
    _free_memory(step)
    return Choice("off", NO_MEMORY)


def _try_evaluation(step: TrainStep, inputs: Tensor, batches_left: int) -> Choice:
    """As `choose_evaluation`. Raises torch.OutOfMemoryError where the batch does not fit."""
    execution = step.execution
    with _no_trace(step.model, execution.device), torch.inference_mode(), execution.autocast():
        step.model.eval()
        eager = _seconds(partial(step.model, inputs), execution.device)
        if execution.try_compile and eager * batches_left * HOPED_SHARE < GUESSED_SECONDS:
            return Choice("off", "too few evaluations are left for compiling to pay")
        try:
            network = compiled(step.model, "default")
            with torch.autocast(execution.device.type, enabled=False):
                exact = step.model(inputs.float())
            _check(network(inputs).float(), step.model(inputs).float(), exact, "logits")
            seconds = _seconds(partial(network, inputs), execution.device)
        except Exception as error:  # as above
            return Choice("off", "the compiler failed", (_in_words("default for evaluation", error),))
    found = f"{len(inputs)} images take {1e3 * eager:.1f} ms eager, {1e3 * seconds:.1f} ms compiled"
    if eager < seconds * LEAST_GAIN:
        return Choice("off", found)
    step.eval_network = network
    return Choice("default", found)


def _check_what_was_set(step: TrainStep, batches: list[tuple[Tensor, Tensor]]) -> Choice:
    """A mode the user set is kept, where its first steps are right."""
    mode = step.execution.compile
    if mode == "off":
        return Choice("off", step.execution.reasons["compile"])
    try:
        with _no_trace(step.model, step.execution.device):
            _compare(step, batches)
    except Exception as error:  # a compiler may fail in any way; eager always works
        step.use("off")
        return Choice("off", "the network is not compiled correctly", (_in_words(mode, error),))
    _settle(step, mode)
    return Choice(mode, f"set; {CHECKED_STEPS} steps agree with eager ones")


def _free_memory(step: TrainStep) -> None:
    """What a trial held: the gradients, and the blocks that torch keeps for others of their sizes."""
    step.optimizer.zero_grad(set_to_none=True)
    if step.execution.device.type == "cuda":
        torch.cuda.empty_cache()


def _settle(step: TrainStep, mode: str) -> None:
    """Go on in this mode and release what the others hold. A shape that fails to compile later runs eagerly."""
    if step.compile != mode:
        torch._dynamo.reset()  # kernels stay in the compiler's cache
        step.use(mode)
    torch._dynamo.config.suppress_errors = mode != "off"


@contextmanager
def _no_trace(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put buffers and random generators back, and drop the gradients, however the trial ends."""
    saved = [buffer.clone() for buffer in model.buffers()]
    training = model.training
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in zip(model.buffers(), saved, strict=True):
                buffer.copy_(before)
        model.zero_grad(set_to_none=True)
        model.train(training)


def _pass(
    step: TrainStep, network: Network, batch: tuple[Tensor, Tensor], recorded: bool = True
) -> Callable[[], object]:
    """What makes a forward and backward pass as the run would, which is recorded where its steps are."""
    run = partial(_forward_backward, step, network, *batch)
    if step.graphs is None or step.graphs.problem is not None or not recorded:
        return run
    try:
        return step.graphs.recorded(run)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        if network is not step.model:
            raise  # eager steps could be recorded: that is no reason to do without
        step.graphs.fail(error)
        return run


def _forward_backward(step: TrainStep, network: Network, inputs: Tensor, labels: Tensor, exact: bool = False) -> Tensor:
    """A forward and backward pass as a step makes it, without the update: the loss, and gradients in the weights.

    With `exact` in fp32, whatever the step's precision.
    """
    step.model.zero_grad(set_to_none=True)
    step.model.train()
    with nullcontext() if exact else step.execution.autocast():
        logits = network(inputs.float() if exact else inputs)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=step.label_smoothing)
    (loss * (1024.0 if step.execution.precision == "fp16" else 1.0)).backward()
    return loss.detach().clone()


def _compare(step: TrainStep, batches: list[tuple[Tensor, Tensor]]) -> None:
    """Raise Refused where loss or gradients of the step's network differ from the eager ones, or are not finite."""
    for index in range(CHECKED_STEPS):
        batch = batches[index % len(batches)]
        results = []
        for network, exact in ((step.model, True), (step.model, False), (step.network, False)):
            torch.manual_seed(index)
            loss = _forward_backward(step, network, *batch, exact=exact)
            gradients = [p.grad.detach().float().flatten() for p in step.model.parameters() if p.grad is not None]
            results.append((loss.float(), torch.cat(gradients)))
        for what, exact_value, eager, other in zip(("loss", "gradients"), *results, strict=True):
            _check(other, eager, exact_value, what)


def _check(value: Tensor, eager: Tensor, exact: Tensor, what: str) -> None:
    """`exact` is what `eager` comes to in fp32."""
    norm = exact.norm().clamp_min(1e-12)
    distance = float((value - exact).norm() / norm)
    allowed = TOLERANCE + ROUNDING * float((eager - exact).norm() / norm)
    if not distance <= allowed:  # also where it is not a number
        limit = f"; up to {100 * allowed:.3g} % may be rounding"
        raise Refused(f"its {what} differ from the eager ones by {100 * distance:.3g} %{limit}")


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Seconds a call takes in the steady state."""
    for _ in range(WARM_UP_STEPS):
        run()
    _synchronize(device)
    began = time.perf_counter()
    for _ in range(TIMED_STEPS):
        run()
    _synchronize(device)
    return (time.perf_counter() - began) / TIMED_STEPS


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _in_words(mode: str, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"training.compile = {mode} is not used: {' '.join(lines[:2])[:200]}"
