"""The learning rate of every step: the reference's milestones, closed forms, and torch's own schedulers."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_tui.config import RunConfig, parse_config
from fmnist_tui.fields import scale_schedule, with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.training.schedule import ONE_CYCLE_RISE, learning_rate, milestones_passed


def schedule(kind: str, epochs: int = 10, lr: float = 0.1, **fields: Any) -> RunConfig:
    return parse_config(
        {
            "model": {"kind": "densenet"},
            "optimizer": {"lr": lr},
            "schedule": {"kind": kind, **fields},
            "training": {"epochs": epochs},
        }
    )


def rates(config: RunConfig, steps_per_epoch: int, epochs: int | None = None) -> list[float]:
    steps = (epochs or config.training.epochs) * steps_per_epoch
    return [learning_rate(step, config, steps_per_epoch, epochs) for step in range(steps)]


# The reference: the first epoch at each rate, and the rate.
STEPS = {
    "wrn": (200, {1: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008}),
    "dpn": (200, {1: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008}),
    "densenet": (300, {1: 0.1, 150: 0.01, 225: 0.001}),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("steps_per_epoch", [1, 118])
def test_the_references_steps_epoch_by_epoch(name: str, steps_per_epoch: int) -> None:
    epochs, table = STEPS[name]
    config = load_preset(name)
    assert config.training.epochs == epochs
    expected = 0.0
    for epoch in range(1, epochs + 1):
        expected = table.get(epoch, expected)
        first = (epoch - 1) * steps_per_epoch
        for step in {first, first + steps_per_epoch // 2, first + steps_per_epoch - 1}:
            rate = learning_rate(step, config, steps_per_epoch)
            assert rate == pytest.approx(expected, rel=1e-12), f"epoch {epoch}, step {step}"


def test_epoch_60_of_wrn_is_the_first_at_a_fifth() -> None:
    config = load_preset("wrn")
    assert learning_rate(59 * 118 - 1, config, 118) == 0.1
    assert learning_rate(59 * 118, config, 118) == pytest.approx(0.02)
    assert [milestones_passed(epoch, config.schedule) for epoch in (1, 59, 60, 119, 120, 160, 200)] == [
        0, 0, 1, 1, 2, 3, 3
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["shake-shake-96", "shake-shake-64"])
def test_the_references_cosine_per_step_over_the_whole_run(name: str) -> None:
    config = load_preset(name)
    total = 1800 * 118
    for step in [0, 1, 117, 118, total // 4, total // 2, total - 2, total - 1]:
        closed = 0.05 * (1 + math.cos(math.pi * step / total))
        assert learning_rate(step, config, 118) == pytest.approx(closed, rel=1e-12, abs=1e-15)
    assert learning_rate(0, config, 118) == 0.1
    assert learning_rate(total // 2, config, 118) == pytest.approx(0.05)
    assert 0 < learning_rate(total - 1, config, 118) < 1e-10


def optimizer(lr: float) -> Any:
    import torch

    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


def torchs(scheduler: Any, sgd: Any, steps: int) -> list[float]:
    seen = []
    for step in range(steps):
        seen.append(float(sgd.param_groups[0]["lr"]))
        sgd.step()
        if step < steps - 1:
            scheduler.step()
    return seen


@pytest.mark.parametrize(("epochs", "steps_per_epoch", "min_lr"), [(10, 7, 0.0), (3, 40, 0.01), (1, 5, 0.1)])
def test_cosine_is_torchs_annealing_stepped_per_step(epochs: int, steps_per_epoch: int, min_lr: float) -> None:
    from torch.optim.lr_scheduler import CosineAnnealingLR

    total, sgd = epochs * steps_per_epoch, optimizer(0.1)
    expected = torchs(CosineAnnealingLR(sgd, T_max=total, eta_min=min_lr), sgd, total)
    config = schedule("cosine", epochs, min_lr=min_lr)
    assert rates(config, steps_per_epoch) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_steps_are_torchs_multi_step_with_epochs_from_zero() -> None:
    from torch.optim.lr_scheduler import MultiStepLR

    sgd = optimizer(0.1)
    expected = torchs(MultiStepLR(sgd, milestones=[2, 6], gamma=0.3), sgd, 8)
    assert rates(schedule("step", 8, milestones=[3, 7], gamma=0.3), 1) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("epochs", "steps_per_epoch", "warmup", "min_lr"),
    [(8, 47, 2.0, 0.0), (10, 10, 0.0, 0.0), (10, 10, 3.0, 1e-4), (4, 25, 0.5, 0.002), (20, 118, 5.0, 0.0)],
)
def test_one_cycle_is_torchs(epochs: int, steps_per_epoch: int, warmup: float, min_lr: float) -> None:
    from torch.optim.lr_scheduler import OneCycleLR

    total, sgd = epochs * steps_per_epoch, optimizer(0.1)
    theirs = OneCycleLR(
        sgd,
        max_lr=0.1,
        total_steps=total,
        pct_start=warmup / epochs or ONE_CYCLE_RISE,
        div_factor=25,
        final_div_factor=0.1 / 25 / min_lr if min_lr else math.inf,
        cycle_momentum=False,
    )
    expected = torchs(theirs, sgd, total)
    ours = rates(schedule("one_cycle", epochs, min_lr=min_lr, warmup_epochs=warmup), steps_per_epoch)
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert ours[0] == pytest.approx(0.1 / 25)
    assert max(ours) == pytest.approx(0.1, rel=1e-3), "the peak may lie between two steps"
    assert ours[-1] == pytest.approx(min_lr, abs=1e-12)


@pytest.mark.parametrize("kind", ["step", "cosine", "constant"])
def test_warm_up_rises_linearly_to_the_rate(kind: str) -> None:
    config = schedule(kind, 10, warmup_epochs=2.0, milestones=[8])
    seen = rates(config, 10)
    assert seen[:20] == pytest.approx([0.1 * (step + 1) / 20 for step in range(20)])
    assert seen[20] == pytest.approx(0.1)
    assert seen[19] == pytest.approx(0.1), "the last step of the warm-up is at the full rate"


def test_a_cosine_after_its_warm_up_reaches_the_end_of_the_run() -> None:
    from torch.optim.lr_scheduler import CosineAnnealingLR

    sgd = optimizer(0.1)
    expected = torchs(CosineAnnealingLR(sgd, T_max=80, eta_min=0.001), sgd, 80)
    assert rates(schedule("cosine", 10, warmup_epochs=2.0, min_lr=0.001), 10)[20:] == pytest.approx(expected, rel=1e-9)


def test_a_warm_up_may_end_inside_an_epoch_or_a_step() -> None:
    seen = rates(schedule("constant", 2, warmup_epochs=0.25), 10)
    assert seen[:4] == pytest.approx([0.04, 0.08, 0.1, 0.1])
    assert rates(schedule("constant", 2, warmup_epochs=0.01), 10) == pytest.approx([0.1] * 20)


def test_a_milestone_within_the_warm_up_counts_after_it() -> None:
    seen = rates(schedule("step", 4, warmup_epochs=2.5, milestones=[2], gamma=0.5), 2)
    assert seen == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.05, 0.05, 0.05])


def test_constant_is_constant() -> None:
    assert set(rates(schedule("constant", 50, lr=0.037), 3)) == {0.037}


def test_changed_epochs_move_the_curves_but_not_the_milestones() -> None:
    cosine = schedule("cosine", 10)
    longer = schedule("cosine", 20)
    assert rates(cosine, 5, epochs=20) == rates(longer, 5)
    assert rates(cosine, 5, epochs=20)[:10] != rates(cosine, 5)[:10]
    cycle, shorter = schedule("one_cycle", 10), schedule("one_cycle", 4)
    assert rates(cycle, 5, epochs=4) == rates(shorter, 5)
    step = schedule("step", 10, milestones=[6])
    assert rates(step, 5, epochs=20)[:50] == rates(step, 5)


def test_a_step_limit_does_not_move_the_schedule() -> None:
    config = schedule("cosine", 10)
    assert rates(with_changes(config, {"training.max_steps": 3}), 5) == rates(config, 5)


def test_a_moved_schedule_spends_the_same_shares_at_each_rate() -> None:
    seen = rates(scale_schedule(load_preset("wrn"), 20), 10)
    spent = [seen.count(rate) / len(seen) for rate in sorted(set(seen), reverse=True)]
    assert spent == pytest.approx([59 / 200, 60 / 200, 40 / 200, 41 / 200], abs=0.03)


def test_one_step_and_steps_past_the_end() -> None:
    for kind in ("cosine", "one_cycle", "constant"):
        config = schedule(kind, 1, min_lr=0.001)
        assert 0.001 <= learning_rate(0, config, 1) <= 0.1
    assert learning_rate(10_000, schedule("cosine", 2, min_lr=0.001), 5) == pytest.approx(0.001)
    assert learning_rate(10_000, schedule("one_cycle", 2, min_lr=0.001), 5) == pytest.approx(0.001)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["step", "cosine", "constant", "one_cycle"]),
    epochs=st.integers(1, 40),
    steps_per_epoch=st.integers(1, 9),
    warmup=st.floats(0, 0.99),
    min_share=st.floats(0, 1),
)
def test_no_schedule_leaves_its_bounds(
    kind: str, epochs: int, steps_per_epoch: int, warmup: float, min_share: float
) -> None:
    config = schedule(kind, epochs, milestones=[2, 5], warmup_epochs=warmup * epochs, min_lr=0.1 * min_share)
    for rate in rates(config, steps_per_epoch):
        assert math.isfinite(rate)
        assert 0.0 <= rate <= 0.1 * (1 + 1e-12)


def test_the_schedule_needs_no_torch() -> None:
    code = "import sys, fmnist_tui.training.schedule; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
