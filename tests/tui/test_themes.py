"""Every theme one can choose: what is drawn cell by cell takes its colours too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.color import ColorType
from rich.segment import Segment

from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.widgets.matrix import MatrixView
from tests.tui.mistakes_runs import make, opened
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn, write_result


def segments(app: FmnistApp) -> list[Segment]:
    """What is on screen, with its styles."""
    screen = app.screen
    return [segment for strip in screen._compositor.render_strips() for segment in strip]


@pytest.fixture
def shown(maker: RunMaker) -> FmnistApp:
    """A finished and a failed run, one with mistakes."""
    write_result(maker.make("wrn", run_id="20261123-142501-wrn-k3f1"))
    maker.make("wrn", State.FAILED, error="out of memory")
    make(maker)
    return FmnistApp(maker.runs_dir, None)


async def test_the_lists_and_the_matrix_can_be_drawn_in_every_theme(shown: FmnistApp, maker: RunMaker) -> None:
    async def in_every_theme(text: str) -> None:
        for theme in sorted(shown.available_themes):
            shown.theme = theme
            await pilot.pause()
            await until(pilot, lambda: text in "\n".join(drawn(shown)))

    async with shown.run_test(size=(120, 40)) as pilot:
        await until_drawn(pilot, "failed")
        await in_every_theme("failed")
        await pilot.press("3")
        await until_drawn(pilot, "1 finished run")
        await in_every_theme("WideResNet")
        await pilot.press("4")
        await in_every_theme("Host")
        await pilot.press("1")
        run = next(run for run in shown.runs if run.config and run.config.preset == "quick")
        await opened(pilot, run.directory)
        await in_every_theme("Worst pairs")


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light"])
async def test_a_theme_of_the_terminal_s_own_colours_has_no_others(
    shown: FmnistApp, maker: RunMaker, theme: str
) -> None:
    shown.theme = theme
    async with shown.run_test(size=(120, 40)) as pilot:
        await until_drawn(pilot, "failed")
        run = next(run for run in shown.runs if run.config and run.config.preset == "quick")
        (failed,) = [segment for segment in segments(shown) if segment.text.strip().endswith("failed")]
        assert failed.style and failed.style.color and failed.style.color.type is ColorType.STANDARD
        screen = await opened(pilot, run.directory)
        await pilot.pause()
        used = [segment.style for line in range(12) for segment in screen.query_one(MatrixView).render_line(line)]
        colors = [color for style in used if style for color in (style.color, style.bgcolor) if color]
        assert {color.type for color in colors} <= {ColorType.STANDARD, ColorType.DEFAULT}
        assert any(style and style.dim for style in used) and any(style and style.reverse for style in used)


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light"])
async def test_what_is_chosen_can_be_read_in_the_terminal_s_own_colours(
    shown: FmnistApp, maker: RunMaker, theme: str
) -> None:
    """The row under the cursor, the tab of the place, the option of a dialog: no text in its background's colour."""
    maker.make("wrn", State.RUNNING, epoch=3)
    shown.theme = theme
    async with shown.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "running")
        for keys, text in (((), "running"), (("s",), "Now, with a checkpoint"), (("escape", "3"), "last epoch %")):
            await pilot.press(*keys)
            await until_drawn(pilot, text)
            await pilot.pause()
            styled = [segment for segment in segments(shown) if segment.text.strip() and segment.style]
            chosen = [s for s in styled if s.style and s.style.bgcolor and not s.style.bgcolor.is_default]
            assert chosen, "something stands out"
            assert not [s.text for s in chosen if s.style and s.style.color == s.style.bgcolor]


@pytest.mark.parametrize(
    ("environment", "theme"),
    [
        ({"TERM": "linux"}, "ansi-dark"),
        ({"TERM": "screen"}, "ansi-dark"),
        ({"TERM": "screen-256color"}, "fmnist-dark"),
        ({"TERM": "linux", "COLORTERM": "truecolor"}, "fmnist-dark"),
        ({"TERM": "linux", "NO_COLOR": "1"}, "fmnist-dark"),
    ],
)
def test_a_terminal_of_16_colours_has_a_theme_of_them(runs_dir: Path, environment: dict[str, str], theme: str) -> None:
    code = f"""
from pathlib import Path
from fmnist_tui.tui.app import FmnistApp
print(FmnistApp(Path({str(runs_dir)!r}), None).theme)
"""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLORTERM", "NO_COLOR")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=kept | environment | {"TTY_COMPATIBLE": "1"},
    )
    assert done.stdout.strip() == theme, done.stderr


async def test_f2_stays_among_the_terminal_s_own_colours(app: FmnistApp) -> None:
    app.theme = "ansi-dark"
    async with app.run_test() as pilot:
        await pilot.press("f2")
        assert app.theme == "ansi-light"
        await pilot.press("f2")
        assert app.theme == "ansi-dark"
