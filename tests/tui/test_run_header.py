"""The Run screen's header: its lines at every width and for every state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from fmnist_tui.runs.status import State
from fmnist_tui.tui.eta import Remaining
from fmnist_tui.tui.format import ASCII, UNICODE
from fmnist_tui.tui.mistakes_words import title
from fmnist_tui.tui.widgets.run_header import Standing, header_lines
from tests.tui.synthetic_runs import NOW, RUN_ID, Plan, data_of, make_run, preset


def plain(lines: Iterable[Iterable[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def standing_of(
    tmp_path: Path, plan: Plan, state: State = State.RUNNING, left: Remaining | None = None, **changes: Any
) -> Standing:
    run, lines = make_run(tmp_path, plan, state, write=False, **changes)
    data = data_of(lines)
    return Standing(RUN_ID, run, plan.per_epoch, int(data.last_step), left)


def test_the_header_says_who_how_far_how_long_and_how_good(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=36.7), left=Remaining(302.0, 320.0))
    who, overall, pace, measures = plain(header_lines(standing, NOW, 80))
    assert who.startswith(f" ● wrn   {RUN_ID}") and who.endswith("running on cuda:0 ")
    assert "epoch 37 of 200" in overall and "18.3 %" in overall
    assert "82/118" in pace and "img/s" in pace and "5m 02s – 5m 20s left, " in pace
    assert standing.run is not None and standing.run.status is not None
    status = standing.run.status
    assert f"test {status.test_accuracy:.2f} %" in measures and f"({status.best_epoch})" in measures
    assert "reference 93.28 %" in measures and "lr 0.1" in measures


def test_the_bars_are_as_long_as_they_should(tmp_path: Path) -> None:
    _, overall, _, _ = plain(header_lines(standing_of(tmp_path, Plan(done=100.0)), NOW, 80))
    filled, rest = overall.count("━") + 0.5 * overall.count("╸"), overall.count("─")
    assert abs(filled - rest) <= 1


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("state", list(State))
def test_no_line_is_wider_than_the_screen(tmp_path: Path, width: int, state: State) -> None:
    standing = standing_of(tmp_path, Plan(done=3.4), state, left=Remaining(3000.0, 99_999.0))
    for shown in (standing, replace(standing, deleted=True), replace(standing, run=None)):
        lines = header_lines(shown, NOW, width)
        assert len(lines) == 4
        if width >= 40:
            assert all(len(text) <= width for text in plain(lines)[:2]), plain(lines)
        if width >= 80:
            assert all(len(text) <= width for text in plain(lines)), plain(lines)


def test_the_end_of_a_run_is_told_instead_of_the_time_left(tmp_path: Path) -> None:
    plan = Plan(config=preset(training__epochs=3), done=3.0, resume_at=1)
    pace = plain(header_lines(replace(standing_of(tmp_path, plan, State.FINISHED), starts=2), NOW, 80))[2]
    assert "finished today" in pace and "14m 53s at work" in pace and "2 starts" in pace and "left" not in pace
    lost = plain(header_lines(standing_of(tmp_path, Plan(done=3.0), State.LOST), NOW, 80))[2]
    assert "last heard of today" in lost and "left" not in lost


def test_a_queued_run_has_no_pace_but_a_place_and_a_time_to_its_start(tmp_path: Path) -> None:
    behind: dict[str, Any] = {"queue_place": 2, "queue_behind": RUN_ID, "starts_in_seconds": 31.0, "device": "cpu"}
    behind["started"] = None
    standing = standing_of(tmp_path, Plan(done=0.0), State.QUEUED, **behind)
    pace = plain(header_lines(standing, NOW, 120))[2]
    assert "starts in 31s, waits since " in pace and f"2nd on cpu, behind {RUN_ID[16:]}" in pace
    assert "measuring" not in pace and "img/s" not in pace
    assert standing.run is not None and standing.run.status is not None
    begun = standing.run.status.model_copy(update={"started": standing.run.status.created})
    resumed = replace(standing, run=replace(standing.run, status=begun))
    assert "waits since" not in plain(header_lines(resumed, NOW, 120))[2], "it was made long before it was resumed"


def test_a_resumed_run_that_starts_has_no_time_left_yet(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=3.4), State.STARTING, left=Remaining(2.0, 4.0))
    assert "time left: measuring" in plain(header_lines(standing, NOW, 120))[2]


def test_a_silent_run_is_told(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=3.0))
    assert "no heartbeat for 40s" in plain(header_lines(standing, NOW + timedelta(seconds=40), 80))[0]
    standing = replace(standing, remaining=None)  # as `eta.remaining` has it of a run silent for a minute
    assert "time left: measuring" in plain(header_lines(standing, NOW + timedelta(seconds=40), 80))[2]
    assert "time left: not known" in plain(header_lines(standing, NOW + timedelta(seconds=70), 80))[2]


def test_the_phase_is_told(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=3.0), phase="evaluating")
    assert "running on cuda:0, evaluating" in plain(header_lines(standing, NOW, 80))[0]


def test_an_ascii_header_is_ascii(tmp_path: Path) -> None:
    standing = standing_of(tmp_path, Plan(done=3.4), left=Remaining(302.0, 320.0))
    assert "".join(plain(header_lines(standing, NOW, 80, ASCII))).isascii()


@pytest.mark.parametrize("name", ["訓" * 64, "long-" * 12], ids=["two cells a letter", "long"])
def test_the_state_stays_beside_a_long_name(tmp_path: Path, name: str) -> None:
    standing = standing_of(tmp_path, Plan(config=preset().model_copy(update={"name": name}), done=3.4))
    (who, *_) = plain(header_lines(standing, NOW, 80))
    assert cell_len(who) == 80 and who.endswith("running on cuda:0 ")
    assert standing.run is not None
    for width in (40, 78):
        said = title(RUN_ID, standing.run, False, None, None, width, UNICODE).plain.splitlines()[0]
        assert cell_len(said) <= width and said.startswith("Mistakes of ") and said.endswith("…  running"), said


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (120, "a-very-long-name-of-a-friday-evening   20261123-142501-wrn-k3f9"),
        (80, "a-very-long-name-of-a-friday-evening   k3f9"),
        (60, "a-very-long-name-of-a-friday-e…   k3f9"),
        (40, "a-very-lon…   k3f9"),
    ],
)
def test_a_name_is_as_whole_as_there_is_room(tmp_path: Path, width: int, shown: str) -> None:
    name = "a-very-long-name-of-a-friday-evening"
    standing = standing_of(tmp_path, Plan(config=preset().model_copy(update={"name": name}), done=3.4))
    line = "".join(text for text, _ in header_lines(standing, NOW, width)[0])
    assert line.startswith(f" ● {shown} ") and line.endswith("running on cuda:0 ") and len(line) == width
