"""The app's questions on the lowest terminal: their keys, what is wrong and the present answer stay in view."""

from __future__ import annotations

from pathlib import Path

from textual import events
from textual.widgets import Input

from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import load_run
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.choice_dialogs import stop_dialog
from fmnist_tui.tui.screens.dialogs import Dialog, Edit, EditDialog, ExportDialog, MessageDialog, Wrong
from fmnist_tui.tui.screens.help import HelpScreen
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn

LOWEST = (40, 10)


async def test_the_keys_of_a_question_stay_in_view_and_its_answers_scroll(app: FmnistApp, maker: RunMaker) -> None:
    run = load_run(maker.make("wrn", State.RUNNING, epoch=3))
    async with app.run_test(size=LOWEST) as pilot:
        app.push_screen(stop_dialog(run, here=False))
        text = await until_drawn(pilot, "esc cancels", "it can be asked, not", "Now, with a checkpoint")
        assert "    on from there." in text, "what an answer does goes on under itself"
        await pilot.press("down")
        await until_drawn(pilot, "Evaluates and saves first.", "esc cancels")
        await pilot.resize_terminal(80, 24)
        await until_drawn(pilot, "After the step at work; r goes on from there.")


async def test_the_keys_of_other_boxes_stay_in_view(app: FmnistApp, maker: RunMaker) -> None:
    run = load_run(maker.make("wrn", State.RUNNING, epoch=3))
    async with app.run_test(size=LOWEST) as pilot:
        app.push_screen(MessageDialog("It did not start", "words " * 100))
        await until_drawn(pilot, "enter or esc closes")
        app.push_screen(HelpScreen(app.screen_stack[0]))
        await until_drawn(pilot, "esc closes", "Every run of the runs directory")
        app.push_screen(EditDialog(run, "edit"))
        text = await until_drawn(pilot, "Epochs in all", "enter sends it, esc cancels")
        assert "plan" not in text and "%;" not in text, "no half a word beside a field"


async def test_three_lines_of_what_is_wrong_push_nothing_out_of_view(app: FmnistApp, runs_dir: Path) -> None:
    async with app.run_test(size=LOWEST) as pilot:
        app.push_screen(ExportDialog(Path("benchmarks.md"), (".md", ".csv", ".json", ".html")))
        await until(pilot, lambda: isinstance(app.screen, Dialog))
        app.screen.query_one(Input).value = "no/such/directory/anywhere/here/or/there/benchmarks.md"
        await pilot.press("enter")
        await until_drawn(pilot, "there is no directory", "esc cancels")
        assert app.focused is app.screen.query_one(Input) and "no/such/dir" in "\n".join(drawn(app))


async def test_enter_comes_after_what_was_typed_at_once_with_it(app: FmnistApp, maker: RunMaker) -> None:
    """Over a slow line several keys arrive together: the value of before was sent then."""
    run = load_run(maker.make("wrn", State.RUNNING, epoch=3))
    async with app.run_test(size=(80, 24)) as pilot:
        sent: list[Edit | None] = []
        app.push_screen(EditDialog(run, "edit"), sent.append)
        await until_drawn(pilot, "enter sends it")
        for key in ("7", "1", "enter"):  # in place of the selected value
            app.post_message(events.Key(key, key if key.isdigit() else None))
        await until(pilot, lambda: bool(sent))
        assert sent == [Edit(71, None)]


async def test_enter_sends_also_where_no_field_has_the_focus(app: FmnistApp, maker: RunMaker) -> None:
    run = load_run(maker.make("wrn", State.RUNNING, epoch=3))
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(EditDialog(run, "edit"))
        await until_drawn(pilot, "enter sends it")
        app.screen.query_one("#epochs", Input).value = "2"
        app.screen.set_focus(None)
        app.screen.query_one("#wrong", Wrong).update("")
        await pilot.press("enter")
        await until_drawn(pilot, "a whole number from 3")


async def test_every_box_leaves_in_view_what_it_is_about(app: FmnistApp, maker: RunMaker) -> None:
    """Dimmed, as the others do: two covered the whole screen however small they were."""
    maker.make("wrn")
    async with app.run_test(size=(120, 40)) as pilot:
        await until_drawn(pilot, "finished")
        await pilot.press("c")
        await until_drawn(pilot, "Configuration of", "✓ finished")
        await pilot.press("escape", "2")
        await until_drawn(pilot, "Presets")
        await pilot.press("ctrl+o")
        await until_drawn(pilot, "Save as a preset of your own", "fmnist-tui  1 Runs")
