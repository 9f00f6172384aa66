"""The Log screen's lines: none is wider than the terminal, whatever its width becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.widgets.wrapped_log import WrappedLog, wrapped
from tests.tui.synthetic import RunMaker, drawn
from tests.tui.typing_helpers import until, until_drawn


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
async def test_a_long_line_is_wrapped_and_a_blank_one_is_kept(
    app: FmnistApp, maker: RunMaker, size: tuple[int, int]
) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    run.worker_log.write_text("first\n\n" + "x" * 100 + "END\n" + "\u5bbd" * 60 + "\u5b8c\n")
    async with app.run_test(size=size) as pilot:
        await until_drawn(pilot, "running" if size[0] > 40 else "wrn")
        await pilot.press("l")
        await until_drawn(pilot, "\u5b8c")
        log = app.screen.query_one(WrappedLog)
        assert not log.show_horizontal_scrollbar
        await pilot.press("home")
        lines = [line.strip() for line in (await until_drawn(pilot, "first")).splitlines()]
        assert lines[lines.index("first") + 1] == "", "as the worker wrote it"
        assert "".join(log.lines).replace("\n", "").endswith("\u5b8c")
        assert any("END" in line for line in log.lines)


async def test_it_is_wrapped_anew_at_another_width_and_still_follows(app: FmnistApp, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=3)
    run.worker_log.write_text("".join(f"line {n} " + "y" * 90 + f" end{n}\n" for n in range(60)))
    async with app.run_test(size=(120, 40)) as pilot:
        await until_drawn(pilot, "\u25cf running")
        await pilot.press("l")
        await until_drawn(pilot, "line 59", "end59")
        log = app.screen.query_one(WrappedLog)
        assert log.line_count == 60
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: log.line_count == 120)
        await until_drawn(pilot, "line 59", "end59")
        await pilot.resize_terminal(60, 14)
        await until_drawn(pilot, "line 59", "end59")
        await pilot.press("home")
        await until_drawn(pilot, "line 0 ")
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: log.line_count == 60)
        await until_drawn(pilot, "line 0 ")
        with run.worker_log.open("a") as file:
            file.write("later\n")
        await until(pilot, lambda: log.line_count == 61)
        assert not any("later" in line for line in drawn(app)), "who reads further up is left there"
        await pilot.press("f")
        await until_drawn(pilot, "later")


async def test_only_so_many_lines_are_kept(app: FmnistApp, tmp_path: Path) -> None:
    log = WrappedLog(3)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.screen.mount(log)
        await until(pilot, lambda: log._wrapped_at > 0)  # before, it keeps lines and shows none
        log.add(["a", "b"])
        log.add(["c", "d"])
        assert [line.strip() for line in log.lines] == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("bf16: this CPU has bf16 instructions", ["bf16: this CPU has", "bf16 instructions"]),
        ("    indented stays so, once", ["    indented stays", "so, once"]),
        ("x" * 45, ["x" * 20, "x" * 20, "x" * 5]),
        (" " * 30, [""]),
        ("宽" * 12, ["宽" * 10, "宽" * 2]),
    ],
)
def test_lines_are_parted_between_words(text: str, lines: list[str]) -> None:
    assert wrapped(text, 20) == lines
