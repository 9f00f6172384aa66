"""The configuration of a run on a screen of its own, and its difference from the preset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fmnist_tui.runs.status import State
from fmnist_tui.tui.screens.run_config import RunConfigScreen
from tests.tui.run_screen_host import SMALL, Host, live, screen_text, show, until
from tests.tui.synthetic_runs import make_run, preset

pytestmark = pytest.mark.usefixtures("quick_redraws")


async def test_the_configuration_and_its_difference(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, lines = make_run(tmp_path, live(config=preset(optimizer__lr=0.05, training__epochs=90), done=2.0))
        await show(pilot, run, lines)
        app.push_screen(RunConfigScreen(run))
        await until(pilot, lambda: "Different from the preset wrn" in screen_text(app))
        text = screen_text(app)
        assert "optimizer.lr" in text and "0.05" in text and "preset: 0.1" in text and "preset: 200" in text
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.shown)


async def test_the_configuration_of_a_preset_unchanged_or_gone(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, _ = make_run(tmp_path, live(done=1.0))
        app.push_screen(RunConfigScreen(run))
        await until(pilot, lambda: "Exactly the preset wrn." in screen_text(app))
        assert run.config is not None
        gone = replace(run, config=run.config.model_copy(update={"preset": "my-own"}))
        app.switch_screen(RunConfigScreen(gone))
        await until(pilot, lambda: "The preset my-own it started from is no longer there." in screen_text(app))


async def test_an_edited_run_is_not_exactly_its_preset(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, _ = make_run(tmp_path, live(done=1.0))
        assert run.status is not None
        edited = run.status.model_copy(update={"epochs": 40, "stop_at_accuracy": 94.5})
        app.push_screen(RunConfigScreen(replace(run, status=edited)))
        await until(pilot, lambda: "Changed since the run was made" in screen_text(app))
        lines = [" ".join(line.strip(" │").split()) for line in screen_text(app).splitlines()]
        assert lines.count("training.epochs 40 at first: 200") == 1
        assert lines.count("training.epochs 40 preset: 200") == 1
        assert lines.count("training.stop_at_accuracy 94.5 at first: none") == 1
        assert "Exactly the preset" not in screen_text(app)


async def test_lines_are_whole_on_a_narrow_screen_and_numbers_in_all_their_digits(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=(60, 20)) as pilot:
        config = preset(optimizer__lr=0.03128475613, schedule__kind="one_cycle", schedule__min_lr=0.0001)
        run, _ = make_run(tmp_path, live(config=config, done=1.0))
        app.push_screen(RunConfigScreen(run))
        await until(pilot, lambda: "Different from the preset wrn" in screen_text(app))
        lines = [" ".join(line.strip(" │").split()) for line in screen_text(app).splitlines()]
        assert "optimizer.lr 0.03128475613 preset: 0.1" in lines
        assert "schedule.kind one_cycle preset: step" in lines


async def test_where_the_configuration_is_damaged_what_it_ran_on_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=SMALL) as pilot:
        run, _ = make_run(tmp_path, live(done=1.0), State.FINISHED)
        assert run.result is not None
        app.push_screen(RunConfigScreen(replace(run, config=None, problem="config.json is damaged (not JSON)")))
        await until(pilot, lambda: "Ran with" in screen_text(app))
        lines = [line.strip(" │") for line in screen_text(app).splitlines()]
        at = lines.index("config.json is damaged (not JSON)")
        assert lines[at + 1 : at + 3] == ["", "Ran with"]


async def test_at_40_columns_nothing_begins_at_the_left_edge_but_titles(tmp_path: Path) -> None:
    """Units and long values were broken into lines of their own there: 'probability' below 'drop_rate 0'."""
    app = Host()
    async with app.run_test(size=(40, 60)) as pilot:
        run, lines = make_run(tmp_path, live(config=preset(optimizer__lr=0.05), done=2.0))
        await show(pilot, run, lines)
        app.push_screen(RunConfigScreen(run))
        await until(pilot, lambda: "Different from the preset wrn" in screen_text(app))
        text = screen_text(app)
        inner = [line.strip("│▁▂▃▄▅▆▇█ \n") and line[1:] for line in text.splitlines()[1:-1]]
        at_edge = {line[:38].strip() for line in inner if line[:1] == " " and line[1:2].strip()}
        sections = {"Run", "Model", "Data", "Augment", "Optimizer", "Schedule", "Training"}
        assert at_edge <= {"Different from the preset wrn", *sections}
        assert "depth                 28  layers" in text and "preset: 0.1" in text
        await pilot.resize_terminal(100, 60)
        await until(pilot, lambda: "drop_rate             0             probability" in screen_text(app))
