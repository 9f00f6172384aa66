"""What several processes make of one batch: parts, noise, sums. Whole runs: tests/process/test_ranks.py."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from fmnist_tui.analysis.confusion import confusion_matrix
from fmnist_tui.config import ConfigError
from fmnist_tui.data import source
from fmnist_tui.data.source import Images
from fmnist_tui.models.layers import dropout
from fmnist_tui.models.noise import part_of_batch
from fmnist_tui.models.shake_shake import draw_branch_weights
from fmnist_tui.runs.requests import ControlRequest
from fmnist_tui.training.distributed import Team, execution_of_rank, joined, part_of
from fmnist_tui.training.evaluate import Evaluation
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import choose
from fmnist_tui.training.ranks import Rank
from fmnist_tui.training.step import OutOfMemory, TrainStep
from fmnist_tui.training.team_step import TeamStep, with_batch_norm
from tests.process.forked import LOADED, SERVER
from tests.training.tiny import full_size_config


@pytest.mark.parametrize(("total", "size"), [(48, 2), (40_000, 3), (7, 7), (10, 4), (256, 8)])
def test_parts_cover_everything_once(total: int, size: int) -> None:
    parts = [part_of(total, rank, size) for rank in range(size)]
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(total))
    assert sum(part.share for part in parts) == pytest.approx(1.0)
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


def test_fewer_images_than_ranks_are_everybodys() -> None:
    assert [part_of(2, rank, 3) for rank in range(3)] == [(0, 2, 1 / 3)] * 3


def test_noise_is_drawn_for_the_whole_batch() -> None:
    """A part draws what its images would have met in the whole batch, in either memory format and precision."""
    for layout in (torch.contiguous_format, torch.channels_last):
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(7, 4, 6, 6, dtype=dtype).contiguous(memory_format=layout)
            torch.manual_seed(1)
            weights, dropped = draw_branch_weights(x, "image"), dropout(x, 0.3, True)
            for start, stop in ((0, 3), (3, 7)):
                torch.manual_seed(1)
                with part_of_batch(7, start):
                    part = x[start:stop]
                    own_weights, own_dropped = draw_branch_weights(part, "image"), dropout(part, 0.3, True)
                for own, whole in zip(own_weights, weights, strict=True):
                    assert torch.equal(own, whole[start:stop])
                torch.testing.assert_close(own_dropped, dropped[start:stop])
                assert torch.equal(own_dropped == 0, dropped[start:stop] == 0)


def test_a_weight_for_the_batch_is_the_same_on_every_rank() -> None:
    x = torch.zeros(4, 1, 2, 2)
    torch.manual_seed(1)
    whole = draw_branch_weights(x, "batch")
    torch.manual_seed(1)
    with part_of_batch(8, 4):
        assert all(torch.equal(a, b) for a, b in zip(draw_branch_weights(x, "batch"), whole, strict=True))


def test_evaluations_of_parts_are_joined_in_order() -> None:
    labels = np.arange(7, dtype=np.uint8) % 3
    classes = np.array([0, 1, 2, 0, 0, 0, 0], dtype=np.uint8)  # right: 0, 1, 2, 3 and 6
    probabilities = np.arange(70, dtype=np.float16).reshape(7, 10)

    def part(start: int, stop: int, loss: float, tta: float) -> Evaluation:
        own = slice(start, stop)
        accuracy = 100.0 * float((classes[own] == labels[own]).mean())
        matrix = confusion_matrix(labels[own], classes[own])
        return Evaluation(loss, accuracy, classes[own], probabilities[own], matrix, tta, probabilities[own] + 1)

    whole = joined([part(0, 3, 1.0, 100.0), part(3, 5, 2.0, 50.0), part(5, 7, 4.0, 0.0)], labels)
    assert whole.accuracy == pytest.approx(100 * 5 / 7)
    assert whole.loss == pytest.approx((3 * 1.0 + 2 * 2.0 + 2 * 4.0) / 7)
    assert whole.tta_accuracy == pytest.approx(100 * 4 / 7)
    assert np.array_equal(whole.confusion, confusion_matrix(labels, classes))
    assert np.array_equal(whole.classes, classes) and np.array_equal(whole.probabilities, probabilities)
    assert whole.tta_probabilities is not None and np.array_equal(whole.tta_probabilities, probabilities + 1)


class Small(nn.Module):
    """No batch norm, which is the one thing that depends on the division; dropout, which must not."""

    def __init__(self, limit: int = 10_000) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB. More text.")
        logits: Tensor = self.layer(dropout(x, 0.3, self.training).flatten(1))
        return logits


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Team]:
    """A team of one, in this process."""
    rank = Rank(0, 1, 0, 0, launched=True, store=str(tmp_path / "store"), devices=("cpu",))
    yield Team(rank, torch.device("cpu"))
    dist.destroy_process_group()


CASES: list[dict[str, Any]] = [
    {"images": 30},
    {"images": 31},
    {"images": 31, "micro_batch": 7},
    {"images": 1},
    {"images": 31, "cutmix": 1.0},
]
"""Batches a pair divides evenly and unevenly, in passes of a different number of images, and not at all."""


def trained(images: Images, team: Team | None, limit: int = 10_000) -> list[dict[str, Any]]:
    """Two steps for each case: losses, correct predictions and the weights after them."""
    found = []
    for case in CASES:
        config = full_size_config(
            augment={"cutout_size": 8, "cutmix_probability": case.get("cutmix", 0.0)},
            training={"batch_size": 32, "micro_batch": case.get("micro_batch", "full")},
        )
        torch.manual_seed(0)
        model = Small(limit)
        optimizer = build_optimizer(model, config.optimizer)
        execution = choose(config.training, torch.device("cpu"))
        whole = TrainStep(model, optimizer, config.model_copy(), execution)
        step = whole if team is None else TeamStep(model, optimizer, config, execution, team)
        if team is None:
            whole.micro_batch = 32  # passes of one process draw their noise apart
        batch = torch.from_numpy(images.train_images[: case["images"]].copy())
        labels = torch.from_numpy(images.train_labels[: case["images"]].copy()).long()
        results = [step(batch, labels, 0.1, 1, index) for index in range(2)]
        found.append(
            {
                "losses": [float(loss) for loss, _ in results],
                "correct": [int(correct) for _, correct in results],
                "weight": model.layer.weight.detach().flatten().tolist(),
            }
        )
    return found


def train_as_rank(rank: int, store: str, out: str) -> None:
    """What each of two processes does: train the cases, and talk about requests."""
    os.environ |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    team = Team(Rank(rank, 2, rank, 0, True, store, ("cpu", "cpu")), torch.device("cpu"))
    found = trained(source.load_sample(), team)
    asked = [ControlRequest(id="a", request="edit", epochs=5)] if rank == 0 else []
    said = [team.agree(None, asked), team.agree("SIGTERM" if rank == 1 else None, []), team.agree(None, [])]
    talk = [[stop, [r.epochs for r in requests]] for stop, requests in said]
    Path(out).write_text(json.dumps({"found": found, "talk": talk}))
    team.leave()


def test_two_processes_equal_one_on_the_whole_batch(tmp_path: Path) -> None:
    """Losses, correct predictions and weights, whatever the division; and they agree on what was asked for."""
    outs = [tmp_path / f"out{rank}.json" for rank in range(2)]
    SERVER.set_forkserver_preload(LOADED)
    processes = [
        SERVER.Process(target=train_as_rank, args=(rank, str(tmp_path / "store"), str(outs[rank]))) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    first, second = (json.loads(out.read_text()) for out in outs)
    assert first == second, "every rank has the same losses, weights and requests"
    assert first["talk"] == [[None, []], [None, [5]], ["SIGTERM", []]], "each word arrives at the next step"
    for case, two, one in zip(CASES, first["found"], trained(source.load_sample(), None), strict=True):
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-5), case
        assert two["correct"] == one["correct"], case
        assert two["weight"] == pytest.approx(one["weight"], rel=1e-4, abs=1e-6), case


def test_a_team_of_one_equals_a_process_alone(images: Images, alone: Team) -> None:
    for one, team in zip(trained(images, None), trained(images, alone), strict=True):
        assert one["losses"] == pytest.approx(team["losses"], rel=1e-6) and one["correct"] == team["correct"]


def test_out_of_memory_on_a_rank_names_it_and_a_remedy(images: Images, alone: Team) -> None:
    with pytest.raises(OutOfMemory) as caught:
        trained(images, alone, limit=8)
    text = str(caught.value)
    assert "rank 0, cpu with 30 images" in text and "3.00 GiB" in text and "training.micro_batch=15" in text


def test_ranks_record_no_steps() -> None:
    """The exchange of gradients would be part of the record."""
    execution = replace(choose(full_size_config().training, torch.device("cpu")), cuda_graphs=True)
    of_rank = execution_of_rank(execution)
    assert not of_rank.cuda_graphs and "exchange gradients" in of_rank.reasons["cuda_graphs"]


def test_synchronised_batch_norm_on_a_cpu_is_refused() -> None:
    model, cpu = Small(), torch.device("cpu")
    assert with_batch_norm(model, full_size_config(), cpu) is model
    with pytest.raises(ConfigError, match=r"training\.sync_batch_norm = true: torch synchronises .* on CUDA only"):
        with_batch_norm(model, full_size_config(training={"sync_batch_norm": True}), cpu)


def test_requests_come_back_at_the_next_step(alone: Team) -> None:
    request = ControlRequest(id="b", request="stop")
    assert alone.agree(None, [request]) == (None, [])
    assert alone.agree("SIGINT", []) == (None, [request])
    assert alone.agree(None, []) == ("SIGINT", [])


def test_ranks_know_themselves_by_the_agents_variables() -> None:
    assert Rank.from_environment({"RANK": "1"}) is None
    environment = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    rank = Rank.from_environment(environment)
    assert rank is not None and (rank.rank, rank.size, rank.launched) == (3, 4, False)
    assert rank.devices == () and rank.store is None
    rank = Rank.from_environment(environment | {"FMNIST_TUI_DEVICES": "cuda:0,cuda:2", "FMNIST_TUI_LAUNCHER": "5"})
    assert rank is not None and rank.devices == ("cuda:0", "cuda:2") and rank.launched
