"""Several processes that train one run together: who does which part, and what they tell each other.

Each rank holds the whole data set and the whole network, sees the same batch in the same order, and computes its
own images of it (`team_step`). Rank 0 has the Desk, the others a Bystander.
NCCL on CUDA, gloo on the CPU; what concerns the hosts only goes over gloo, so that no step waits for a device.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from fmnist_tui.config import ConfigError, FieldError
from fmnist_tui.data.batches import DeviceDataset
from fmnist_tui.runs.requests import ControlRequest
from fmnist_tui.training.evaluate import Evaluation, evaluate
from fmnist_tui.training.job import Stopped, Unwritten
from fmnist_tui.training.precision import Execution
from fmnist_tui.training.ranks import Rank

T = TypeVar("T")
LONGEST_WAIT = timedelta(minutes=10)
"""For another rank, which may compile meanwhile. Where a rank has died, the agent ends the others long before."""


class Part(NamedTuple):
    """One rank's images of a batch or a set."""

    start: int
    stop: int
    share: float
    """What their mean counts of the mean over all."""


def part_of(total: int, rank: int, size: int) -> Part:
    """Contiguous parts that differ by one image at most, the longer ones first.

    Where there are fewer images than ranks every rank has all of them, and its result counts 1 / size: a rank
    without an image could not take part in the exchange of gradients.
    """
    if total < size:
        return Part(0, total, 1.0 / size)
    each, more = divmod(total, size)
    start = rank * each + min(rank, more)
    stop = start + each + (rank < more)
    return Part(start, stop, (stop - start) / total)


class Team:
    """The processes that train a run together, as one of them sees them; making it waits for all of them."""

    def __init__(self, rank: Rank, device: torch.device) -> None:
        self.rank, self.size, self.device = rank.rank, rank.size, device
        self._place = rank
        store = dist.FileStore(f"{rank.store}-{rank.restarts}", rank.size) if rank.store else None
        cuda = device.type == "cuda"
        if cuda:
            torch.cuda.set_device(device)
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            store=store,
            rank=rank.rank,
            world_size=rank.size,
            timeout=LONGEST_WAIT,
            device_id=device if cuda else None,
        )
        hosts = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
        assert isinstance(hosts, dist.ProcessGroup)  # every rank is a member
        self._hosts = hosts
        self._pending: tuple[dist.Work, Tensor] | None = None
        self._outbox = b""

    @contextmanager
    def until_the_end(self) -> Iterator[None]:
        """Around the training: leaves at a good end, which all ranks reach at the same step.

        At any other end the other ranks may be gone, and nothing is waited for.
        """
        try:
            yield
        except (Stopped, Unwritten):
            self.leave()
            raise
        self.leave()

    def leave(self) -> None:
        """End the connections; else torch's threads abort the interpreter at its end."""
        if self._pending is not None:
            self._pending[0].wait()
        dist.destroy_process_group()

    def wait(self) -> None:
        """Until every rank has come here."""
        dist.barrier(group=self._hosts)

    # --- what it is called

    @property
    def devices_here(self) -> list[torch.device]:
        """Every rank's device, where all ranks are on this machine; else none."""
        devices = [torch.device(name) for name in self._place.devices]
        return devices if len(devices) == self.size else []

    @property
    def device_label(self) -> str:
        """For Status.device: 'cuda:0,1', or 'cpu'."""
        devices = self._place.devices
        if self.device.type != "cuda" or not devices:
            return str(self.device)
        return "cuda:" + ",".join(device.partition(":")[2] for device in devices)

    def name_label(self, name: str) -> str:
        """For Status.device_name: '2 x NVIDIA H200'."""
        return f"{self.size} x {name}" if self.size > 1 else name

    # --- a step

    def part(self, total: int) -> Part:
        """This rank's part of `total` images."""
        return part_of(total, self.rank, self.size)

    def add_up(self, loss: Tensor, correct: Tensor, total: int) -> tuple[Tensor, Tensor]:
        """The batch's mean loss () float32 and correct predictions () int64 from the ranks' parts, on the device.

        `loss` is this rank's part of the mean. No host waits for its device.
        """
        if total < self.size and self.rank > 0:  # every rank has counted all images
            correct = torch.zeros_like(correct)
        values = torch.stack([loss.double(), correct.double()])
        dist.all_reduce(values)
        return values[0].float(), values[1].to(torch.int64)

    def agree(
        self, received: str | None, requests: Sequence[ControlRequest]
    ) -> tuple[str | None, list[ControlRequest]]:
        """Exchange what was asked for; returns what all ranks have learnt since the call before, the same on each.

        `received` is the name of the signal this rank was sent; requests are rank 0's. What a rank brings comes
        back with its next call, at the end of the next step: the hosts talk while the devices work.
        """
        stop, arrived = None, b""
        if self._pending is not None:
            work, flags = self._pending
            work.wait()
            number, length = (int(flag) for flag in flags.tolist())
            stop = signal.Signals(number).name if number else None
            arrived = self._from_rank_0(self._outbox, length) if length else b""
        self._outbox = b""
        if self.rank == 0 and requests:
            self._outbox = json.dumps([request.model_dump(mode="json") for request in requests]).encode()
        number = signal.Signals[received].value if received else 0
        flags = torch.tensor([number, len(self._outbox)], dtype=torch.int64)
        begun = dist.all_reduce(flags, dist.ReduceOp.MAX, group=self._hosts, async_op=True)
        assert begun is not None
        self._pending = (begun, flags)
        return stop, [ControlRequest.model_validate(item) for item in json.loads(arrived or b"[]")]

    def _from_rank_0(self, content: bytes, length: int) -> bytes:
        buffer = torch.frombuffer(bytearray(content or bytes(length)), dtype=torch.uint8)
        dist.broadcast(buffer, 0, group=self._hosts)
        return bytes(buffer.tolist())

    # --- an evaluation

    def evaluate(self, model: nn.Module, dataset: DeviceDataset, execution: Execution, tta: str) -> Evaluation:
        """The evaluation of the whole set from the ranks' parts of it, each image exactly once and in order.

        All ranks use rank 0's batch-norm statistics, which are those its checkpoints hold.
        """
        assert len(dataset) >= self.size
        self._share_buffers(model)
        parts = [part_of(len(dataset), rank, self.size) for rank in range(self.size)]
        own = evaluate(model, model, dataset.part(*parts[self.rank][:2]), execution, tta)
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, own, group=self._hosts)
        return joined(found, dataset.labels.cpu().numpy())

    def _share_buffers(self, model: nn.Module) -> None:
        """Make the floating-point buffers those of rank 0; counters are the same everywhere."""
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        if not buffers:
            return
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        dist.broadcast(flat, 0)
        for buffer, values in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(values.view_as(buffer))

    def of_first(self, value: T) -> T:
        """Rank 0's value, on every rank: another machine may see a shared file as it was a moment before."""
        shared: list[Any] = [value]
        dist.broadcast_object_list(shared, 0, group=self._hosts)
        found: T = shared[0]
        return found

    def check_same_start(self, epoch: int, step: int) -> None:
        """Raises ConfigError where the ranks do not go on from the same checkpoint (another machine's disk)."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, (epoch, step), group=self._hosts)
        if len(set(found)) > 1:
            raise ConfigError(
                [
                    FieldError(
                        "--runs-dir",
                        None,
                        f"the machines do not see the same checkpoint (epoch and step of each rank: {found}); "
                        "the runs directory must be on a file system that they share",
                    )
                ]
            )


def joined(parts: Sequence[Evaluation], labels: np.ndarray) -> Evaluation:
    """One evaluation from those of contiguous parts, in order; `labels` (N,) are of all images."""
    classes = np.concatenate([part.classes for part in parts])
    assert len(classes) == len(labels)
    counts = [len(part.classes) for part in parts]
    tta = [part.tta_accuracy for part in parts]
    averaged = None
    if all(accuracy is not None for accuracy in tta):
        right = sum(round(accuracy * count / 100.0) for accuracy, count in zip(tta, counts, strict=True) if accuracy)
        averaged = 100.0 * right / len(labels)
    both = [part.tta_probabilities for part in parts if part.tta_probabilities is not None]
    return Evaluation(
        loss=sum(part.loss * count for part, count in zip(parts, counts, strict=True)) / len(labels),
        accuracy=100.0 * float((classes == labels).sum()) / len(labels),
        confusion=sum((part.confusion for part in parts), np.zeros_like(parts[0].confusion)),
        classes=classes,
        probabilities=np.concatenate([part.probabilities for part in parts]),
        tta_accuracy=averaged,
        tta_probabilities=np.concatenate(both) if len(both) == len(parts) else None,
    )


def execution_of_rank(execution: Execution) -> Execution:
    """Without the trial of compiling: the ranks would not try the same steps, and wait for each other for ever.

    And without CUDA graphs, in which the exchange of gradients would have to be recorded.
    """
    execution = execution.without_graphs("several processes exchange gradients in every step")
    if not execution.try_compile:
        return execution
    reason = "several processes compile only where training.compile says so"
    return replace(execution, try_compile=False, reasons=execution.reasons | {"compile": reason})
