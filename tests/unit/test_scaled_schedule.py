"""The schedule of a run of another length: `--scale-schedule` moves milestones and warm-up in proportion."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_tui.config import ConfigError, RunConfig, parse_config
from fmnist_tui.fields import notes, scale_schedule, with_changes


def wide_resnet() -> RunConfig:
    return parse_config({"model": {"kind": "wide_resnet"}, "schedule": {"milestones": [60, 120, 160]}})


def milestones(config: RunConfig) -> tuple[int, ...]:
    return config.schedule.milestones


@pytest.mark.parametrize(
    ("epochs", "moved"),
    [
        (200, (60, 120, 160)),
        (100, (30, 60, 80)),
        (400, (119, 239, 319)),
        (20, (7, 13, 17)),
        (10, (4, 7, 9)),
        (5, (2, 4, 5)),
        (4, (2, 3, 4)),
    ],
)
def test_the_schedule_moves_in_proportion(epochs: int, moved: tuple[int, ...]) -> None:
    config = scale_schedule(wide_resnet(), epochs)
    assert config.training.epochs == epochs
    assert milestones(config) == moved
    for old, new in zip((60, 120, 160), moved, strict=True):  # epochs done at the rates before the milestone
        assert (new - 1) / epochs == pytest.approx((old - 1) / 200, abs=1.01 / epochs)
    assert not any("never be reached" in note for note in notes(config))


def test_too_few_epochs_for_the_milestones_are_refused() -> None:
    said = {}
    for epochs in (3, 0, 100_001):
        with pytest.raises(ConfigError) as caught:
            scale_schedule(wide_resnet(), epochs)
        said[epochs] = str(caught.value)
    assert said[3] == "training.epochs = 3: too few to move 3 milestones in proportion; take 4 or more"
    assert "must be at least 1" in said[0] and "must be at most 100000" in said[100_001]


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 20])
def test_moving_them_is_only_advised_where_it_is_not_refused(epochs: int) -> None:
    (note,) = notes(with_changes(wide_resnet(), {"training.epochs": epochs}))
    if "--scale-schedule moves them" in note:
        scale_schedule(wide_resnet(), epochs)
    else:
        assert note.endswith("so few epochs want another schedule.kind, for example cosine") and epochs < 4


def test_a_late_milestone_stays_inside_and_an_unreached_one_outside() -> None:
    late = with_changes(wide_resnet(), {"schedule.milestones": [198, 199, 200]})
    assert milestones(scale_schedule(late, 20)) == (18, 19, 20)
    beyond = with_changes(wide_resnet(), {"schedule.milestones": [100, 201]})
    assert milestones(scale_schedule(beyond, 20)) == (11, 21)


def test_other_schedules_move_their_warm_up_only() -> None:
    config = with_changes(wide_resnet(), {"schedule.kind": "cosine", "schedule.warmup_epochs": 5.0})
    short = scale_schedule(config, 2)
    assert (short.schedule.warmup_epochs, milestones(short)) == (0.05, (60, 120, 160))


@settings(max_examples=150, deadline=None)
@given(
    st.sets(st.integers(2, 300), min_size=1, max_size=8).map(sorted),
    st.integers(1, 300),
    st.integers(9, 400),
    st.floats(0, 0.99),
)
def test_a_moved_schedule_is_valid_and_drops_as_often(steps: list[int], old: int, new: int, share: float) -> None:
    settings_ = {"schedule.milestones": steps, "training.epochs": old, "schedule.warmup_epochs": share * old}
    before = with_changes(wide_resnet(), settings_)
    after = scale_schedule(before, new)
    reached = [m for m in milestones(after) if m <= new]
    assert len(reached) == sum(m <= old for m in steps)
    assert len(milestones(after)) == len(steps)
    assert min(milestones(after)) >= 2
