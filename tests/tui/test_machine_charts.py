"""The GPU screen's charts of the last minutes, and its runs at work: what fits, and what stands in them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from fmnist_tui.runs.metrics import GpuSample, HostSample, SystemRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.format import ASCII, UNICODE
from fmnist_tui.tui.machine import HISTORY, History
from fmnist_tui.tui.machine_charts import charts, runs_at_work
from tests.tui.synthetic import RunMaker, drawn, until_drawn
from tests.tui.synthetic_runs import NOW, Plan, make_run


def history(samples: int = HISTORY, gpus: int = 0) -> History:
    made = History()
    for at in range(samples):
        host = HostSample(cpu_percent=100.0 * at / HISTORY, ram_used=6 << 30, ram_total=24 << 30)
        cards = [GpuSample(index=i, name="H200", utilization=50.0, power=350.0, power_limit=700.0) for i in range(gpus)]
        made.add(SystemRecord(gpus=cards, host=host))
    return made


def text(lines: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in lines]


@pytest.mark.parametrize("rows", [0, 7, 8, 14, 30, 60, 200])
@pytest.mark.parametrize("width", [40, 77, 197])
@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_they_fit_the_room_there_is(rows: int, width: int, gpus: int) -> None:
    lines = text(charts(history(60, gpus), rows, width, UNICODE))
    assert len(lines) <= rows and all(len(line) <= width for line in lines)
    assert bool(lines) == (rows >= 7 and width >= 60)
    if rows == 200 and width > 60 and gpus < 8:
        titles = [line.strip() for line in lines if line.strip().endswith(("%", "W", "GiB"))]
        assert titles == [*["GPU 0 busy %", "GPU 0 power W"] * gpus, "CPU %", "RAM GiB"]


def test_columns_rise_with_what_was_measured() -> None:
    lines = text(charts(history(), 30, 106, UNICODE))
    title = next(at for at, line in enumerate(lines) if "CPU %" in line)
    assert lines[title + 1].startswith("  100 ") and lines[title + 12].startswith("    0 ")
    heights = [sum(line[at] != " " for line in lines[title + 1 : title + 13]) for at in range(6, 106)]
    assert heights == sorted(heights) and heights[0] == 1 and heights[-1] == 12
    assert lines[-1].startswith("      10 min ago") and lines[-1].endswith("now")


def test_a_short_history_stands_at_the_right_and_a_gap_stays_one() -> None:
    made = history(29)
    made.add(SystemRecord(host=HostSample()))
    lines = text(charts(made, 8, 66, ASCII))
    (row, *_) = [line for line in lines if line.startswith("    0 ")]
    assert row[6:-30].isspace() and row[-29] != " " and row[-2] != " " and row[-1] == " "
    assert lines[-1].startswith("      1 min ago")
    for samples, left in ((61, "2 min"), (121, "5 min"), (301, "10 min"), (600, "10 min")):
        assert text(charts(history(samples), 8, 66, ASCII))[-1].startswith(f"      {left} ago")


def test_runs_at_work_are_named(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, Plan(done=3.0), State.RUNNING, write=False)
    (head, line) = text(runs_at_work([run], NOW, 100, UNICODE))
    assert head == "Runs at work" and run.name in line and "epoch" in line and len(line) <= 100
    assert text(runs_at_work([], datetime.now().astimezone(), 100, UNICODE)) == ["No run is at work."]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_screen_is_used_and_nothing_has_to_scroll(
    app: FmnistApp, maker: RunMaker, size: tuple[int, int]
) -> None:
    maker.make("wrn", State.RUNNING, epoch=37)
    async with app.run_test(size=size) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("4")
        await until_drawn(pilot, "Host")
        for _ in range(30):
            app.history.add(SystemRecord(host=HostSample(cpu_percent=40.0, ram_used=6 << 30, ram_total=24 << 30)))
        app.screen._show()  # type: ignore[attr-defined]
        await until_drawn(pilot, "Runs at work", "wrn", "CPU %", "1 min ago", "30 s")
        assert app.screen.query_one("#system").max_scroll_y == 0
        if size[1] >= 40:
            assert "RAM GiB" in "\n".join(drawn(app))
