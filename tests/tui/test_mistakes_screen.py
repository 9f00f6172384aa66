"""The Mistakes screen: what it draws is what the files hold, by every key, and live."""

from __future__ import annotations

import pytest
from textual.color import Color

from fmnist_tui.analysis.confusion import SHORT_CLASSES
from fmnist_tui.config import CLASSES, DataConfig
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.run import RunScreen
from fmnist_tui.tui.screens.runs import RunsScreen
from fmnist_tui.tui.widgets.image_grid import ImageGrid
from fmnist_tui.tui.widgets.matrix import LABEL, NARROW, MatrixView
from tests.predictions_maker import evaluate, limited, write_evaluations
from tests.tui.mistakes_runs import LABELS, LARGE, MIDDLE, SMALL, cell, make, opened, shown_images
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn


async def test_m_on_the_list_opens_the_matrix_of_the_last_evaluation(maker: RunMaker) -> None:
    make(maker)
    last = evaluate(LABELS, 4)[-1]
    async with FmnistApp(maker.runs_dir, None).run_test(size=SMALL) as pilot:
        await until_drawn(pilot, "finished")
        await pilot.press("m")
        accuracy = 100 * (last.classes == LABELS).mean()
        text = await until_drawn(
            pilot, "Mistakes of sample-0", f"Epoch 4 of 4 (last)  {accuracy:.2f} % right of 2,000 test images", "sample"
        )
        rows = [line for line in text.splitlines() if line.startswith(" Shirt ")]
        counts = last.counts(LABELS)[60:70]
        values = rows[0].split()[1:]
        assert values[:10] == ["·" if count == 0 else f"{100 * count / 200:.1f}" for count in counts]
        recall = 100 * counts[6] / 200
        precision = 100 * counts[6] / sum(last.counts(LABELS)[10 * k + 6] for k in range(10))
        f1 = 2 / (1 / precision + 1 / recall)
        assert values[10:] == [f"{precision:.1f}", f"{recall:.1f}", f"{f1:.1f}"]
        assert f"Shirt taken for T-shirt/top: {100 * counts[0] / 200:.0f} %" in text
        assert f"{counts[0]} of 200 images of Shirt" in text
        assert f"→ {100 * counts[0] / 200:.1f} %" in text
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))


async def test_m_on_a_runs_screen_opens_it_and_escape_goes_back_there(maker: RunMaker) -> None:
    run = make(maker)
    async with FmnistApp(maker.runs_dir, None).run_test(size=SMALL) as pilot:
        await until_drawn(pilot, "finished")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen) and pilot.app.screen.run is not None)
        await pilot.press("m")
        await until_drawn(pilot, "Worst pairs", run.id)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))


async def test_enter_shows_the_images_of_the_cell_most_confident_first_and_pages(maker: RunMaker) -> None:
    run = make(maker)
    last = evaluate(LABELS, 4)[-1]
    wanted = cell(last, 6, 0)
    async with FmnistApp(maker.runs_dir, None).run_test(size=SMALL) as pilot:
        screen = await opened(pilot, run)
        assert screen.cursor == (6, 0), "the cursor begins on the worst pair"
        await pilot.press("enter")
        text = await until_drawn(pilot, f"Shirt taken for T-shirt/top, most confident first: 1-2 of {len(wanted)}")
        assert "▀" * 28 + " " + "▀" * 28 in text
        assert "true      predicted" not in text, "the matrix makes room"
        assert shown_images(screen) == wanted[:2]
        sure = 100 * float(last.probabilities[wanted[0]][0])
        assert screen.query_one(ImageGrid).tiles[0].caption.splitlines()[:2] == [
            "is Shirt", f"said T-shirt/top {sure:.1f} %",
        ]  # fmt: skip
        await pilot.press("right", "space")
        await until_drawn(pilot, f"5-6 of {len(wanted)}")
        assert shown_images(screen) == wanted[4:6]
        await pilot.press("pageup")
        await until_drawn(pilot, f"3-4 of {len(wanted)}")
        await pilot.press(*["pagedown"] * (len(wanted) // 2 + 3))
        await until_drawn(pilot, f": {len(wanted)} of {len(wanted)}")
        await pilot.press("escape")
        await until_drawn(pilot, "true      predicted", "Worst pairs")


async def test_arrows_choose_a_cell_and_the_diagonal_begins_with_the_least_confident(maker: RunMaker) -> None:
    run = make(maker)
    last = evaluate(LABELS, 4)[-1]
    async with FmnistApp(maker.runs_dir, None).run_test(size=MIDDLE) as pilot:
        screen = await opened(pilot, run)
        await pilot.press(*["up"] * 20, *["left"] * 20, "down", "right")
        right = cell(last, 1, 1)[::-1]
        await until_drawn(pilot, "Trouser recognised", f"1-4 of {len(right)}", "Worst pairs")
        first = [float(last.probabilities[index].max()) for index in shown_images(screen)]
        assert first == sorted(float(last.probabilities[index].max()) for index in right)[:4]
        assert "said so" in screen.query_one(ImageGrid).tiles[0].caption
        await pilot.press("w")
        await until_drawn(pilot, "Shirt taken for T-shirt/top, most confident first")
        assert len(shown_images(screen)) == 4
        await pilot.press("w")
        await until(pilot, lambda: screen.cursor != (6, 0))
        pair = f"{CLASSES[screen.cursor[0]]} taken for {CLASSES[screen.cursor[1]]}"
        lines = [line for line in drawn(pilot.app) if f"{pair}:" in line]
        assert len(lines) == 1, "the second of the worst pairs"


async def test_a_click_chooses_a_cell_and_a_pair(maker: RunMaker) -> None:
    run = make(maker)
    async with FmnistApp(maker.runs_dir, None).run_test(size=MIDDLE) as pilot:
        screen = await opened(pilot, run)
        await until_drawn(pilot, "Worst pairs")
        await pilot.click(MatrixView, offset=(LABEL + 7 * NARROW + 1, 2 + 9))
        await until_drawn(pilot, "Ankle boot taken for Sneaker, most")
        assert screen.cursor == (9, 7)
        await pilot.click("#pairs", offset=(3, 1))
        await until(pilot, lambda: screen.cursor == (6, 0))


async def test_every_evaluated_epoch_can_be_seen_and_says_which_images_are_kept(maker: RunMaker) -> None:
    run = make(maker)
    found = evaluate(LABELS, 4)
    async with FmnistApp(maker.runs_dir, None).run_test(size=MIDDLE) as pilot:
        screen = await opened(pilot, run)

        def line(epoch: int, tag: str) -> str:
            accuracy = 100 * (found[epoch - 1].classes == LABELS).mean()
            return f"Epoch {epoch} of 4{tag}  {accuracy:.2f} % right of 2,000 test images"

        await until_drawn(pilot, line(4, " (last)"), "matrix 4 of 4")
        await pilot.press("left_square_bracket")
        await until_drawn(pilot, line(3, " (best)"))
        assert shown_images(screen) == cell(found[2], 6, 0)[:4], "of the best evaluation the images are kept"
        await pilot.press("left_square_bracket", "comma", "comma")
        text = await until_drawn(
            pilot,
            line(1, ""),
            "Of epoch 1 only the matrix is kept. Images are kept of the last evaluation (epoch 4) and of the best one",
        )
        assert shown_images(screen) == []
        assert f"{100 * found[0].counts(LABELS)[60] / 200:.1f}" in text
        await pilot.press("b")
        await until_drawn(pilot, line(3, " (best)"))
        await pilot.press("right_square_bracket")
        await until_drawn(pilot, line(4, " (last)"))


async def test_an_evaluation_in_mid_epoch_is_named_by_what_was_trained(maker: RunMaker) -> None:
    """A step limit ends the run in the midst of its fourth epoch."""
    run = make(maker)
    limited(run, 4, 0.5)
    async with FmnistApp(maker.runs_dir, None).run_test(size=MIDDLE) as pilot:
        await opened(pilot, run)
        await until_drawn(pilot, "Epoch 3.50 of 4 (last)")
        await pilot.press("m")
        await until_drawn(pilot, "All mistakes of epoch 3.50, most confident first")
        await pilot.press("b", "left_square_bracket")
        await until_drawn(pilot, "Epoch 2 of 4", "the last evaluation (epoch 3.50) and of the best one (epoch 3)")
        await pilot.press("u")
        await until_drawn(pilot, "from epoch 3 (the one before) to epoch 3.50")


async def test_the_last_evaluation_is_followed_while_the_run_trains_and_a_chosen_one_stays(maker: RunMaker) -> None:
    run = make(maker, 2, State.RUNNING)
    async with FmnistApp(maker.runs_dir, None).run_test(size=SMALL) as pilot:
        screen = await opened(pilot, run)
        await until_drawn(pilot, "Epoch 2 of", "running")
        write_evaluations(run, LABELS, evaluate(LABELS, 3))
        await until_drawn(pilot, "Epoch 3 of")
        assert screen.reading is not None and len(screen.reading.epochs) == 3
        await pilot.press("left_square_bracket", "left_square_bracket")
        await until_drawn(pilot, "Epoch 1 of")
        write_evaluations(run, LABELS, evaluate(LABELS, 5))
        await until(pilot, lambda: screen.reading is not None and len(screen.reading.epochs) == 5)
        await until_drawn(pilot, "Epoch 1 of")
        await pilot.press("f")
        await until_drawn(pilot, "Epoch 5 of")


async def test_flips_are_what_was_learned_and_forgotten(maker: RunMaker) -> None:
    run = make(maker, 5)
    found = evaluate(LABELS, 5)
    before, best, last = found[3], found[3], found[4]
    assert best is before, "the best is the one before: only one pair of lists"
    learned = {i for i in range(2_000) if before.classes[i] != LABELS[i] == last.classes[i]}
    forgotten = {i for i in range(2_000) if before.classes[i] == LABELS[i] != last.classes[i]}
    async with FmnistApp(maker.runs_dir, None).run_test(size=MIDDLE) as pilot:
        screen = await opened(pilot, run)
        await pilot.press("u")
        await until_drawn(
            pilot,
            f"Learned from epoch 4 (the one before) to epoch 5, surest first: 1-4 of {len(learned)}",
        )
        shown = shown_images(screen)
        assert set(shown) <= learned
        assert (
            screen.query_one(ImageGrid).tiles[0].caption.splitlines()[2]
            == f"before: {CLASSES[before.classes[shown[0]]]}"
        )
        await pilot.press("u")
        await until_drawn(pilot, "Forgotten from epoch 4 (the one before) to epoch 5", f"of {len(forgotten)}")
        shown = shown_images(screen)
        assert set(shown) <= forgotten
        sure = [float(last.probabilities[i].max()) for i in forgotten]
        assert [float(last.probabilities[i].max()) for i in shown] == sorted(sure, reverse=True)[:4]
        await pilot.press("u")
        await until_drawn(pilot, "Learned from epoch 4 (best)")
        await pilot.press("m")
        wrong = int((last.classes != LABELS).sum())
        await until_drawn(pilot, f"All mistakes of epoch 5, most confident first: 1-4 of {wrong}")
        assert all(last.classes[i] != LABELS[i] for i in shown_images(screen))


async def test_images_that_every_finished_run_of_the_split_gets_wrong(maker: RunMaker) -> None:
    runs = [make(maker, 3, seed=seed) for seed in (1, 2)]
    make(maker, 3, State.STOPPED, seed=3)
    other = make(maker, 0, seed=4, data=DataConfig(source="sample", split="custom"))
    assert other.config.exists()
    found = [evaluate(LABELS, 3, seed)[-1] for seed in (1, 2)]
    wrong = [i for i in range(2_000) if all(one.classes[i] != LABELS[i] for one in found)]
    async with FmnistApp(maker.runs_dir, None).run_test(size=MIDDLE) as pilot:
        screen = await opened(pilot, runs[0])
        await pilot.press("a")
        await until_drawn(
            pilot, "Wrong in all 2 finished runs of the standard split of the sample data", f"1-4 of {len(wrong)}"
        )
        shown = shown_images(screen)
        assert set(shown) <= set(wrong)
        first = screen.query_one(ImageGrid).tiles[0].caption.splitlines()
        said = {int(one.classes[shown[0]]) for one in found}
        assert len(said) == 1, "those first that the runs agree on"
        assert first[:2] == [f"labelled {CLASSES[LABELS[shown[0]]]}", f"runs say {CLASSES[said.pop()]}"]
        assert first[2].startswith("2 of 2 runs, mean ")


async def test_one_finished_run_is_too_few_to_compare(maker: RunMaker) -> None:
    run = make(maker)
    async with FmnistApp(maker.runs_dir, None).run_test(size=SMALL) as pilot:
        screen = await opened(pilot, run)
        await pilot.press("a")
        await until_drawn(pilot, "This needs two or more finished runs of the standard split")
        assert shown_images(screen) == []


async def test_cells_as_numbers_of_images(maker: RunMaker) -> None:
    run = make(maker)
    counts = evaluate(LABELS, 4)[-1].counts(LABELS)
    async with FmnistApp(maker.runs_dir, None).run_test(size=SMALL) as pilot:
        await opened(pilot, run)
        await pilot.press("y")
        text = await until_drawn(pilot, "predicted, images")
        row = next(line for line in text.splitlines() if line.startswith(" Shirt "))
        assert row.split()[1:11] == ["·" if count == 0 else str(count) for count in counts[60:70]]


@pytest.mark.parametrize(
    ("variables", "plain"),
    [({}, False), ({"NO_COLOR": "1"}, False), ({"FMNIST_TUI_ASCII": "1"}, True), ({"TERM": "xterm-16color"}, True)],
)
async def test_pictures_are_shades_where_the_terminal_has_them_else_characters(
    maker: RunMaker, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], plain: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    run = make(maker)
    async with FmnistApp(maker.runs_dir, None).run_test(size=MIDDLE) as pilot:
        screen = await opened(pilot, run)
        await until_drawn(pilot, "most confident first")
        grid = screen.query_one(ImageGrid)
        assert grid.ascii_only is plain
        text = "".join(grid.render_line(7).text for _ in range(1))
        assert ("▀" in text) is not plain
        if "FMNIST_TUI_ASCII" in variables:
            assert "\n".join(drawn(pilot.app)).isascii()


@pytest.mark.parametrize(("width", "whole"), [(40, 5), (60, 9), (64, 10)])
async def test_a_narrow_screen_has_whole_columns_and_the_one_under_the_cursor(
    maker: RunMaker, width: int, whole: int
) -> None:
    run = make(maker)
    counts = evaluate(LABELS, 4)[-1].counts(LABELS)
    async with FmnistApp(maker.runs_dir, None).run_test(size=(width, 20)) as pilot:
        screen = await opened(pilot, run)
        matrix = screen.query_one(MatrixView)
        for column in (0, 9, 6, 0):
            matrix.move_to(6, column)
            await pilot.pause()
            names, shirt = matrix.render_line(1).text.split(), matrix.render_line(2 + 6).text.split()[1:]
            seen = range(max(0, column - whole + 1), max(0, column - whole + 1) + whole)
            assert names[:whole] == [SHORT_CLASSES[k][:4] for k in seen]
            values = [counts[60 + k] for k in seen]
            assert shirt[:whole] == ["·" if count == 0 else f"{100 * count / 200:.1f}" for count in values]
            assert len(matrix.render_line(8).text.rstrip()) <= LABEL + whole * NARROW
        matrix.move_to(6, 9)
        await pilot.pause()
        await pilot.click(MatrixView, offset=(LABEL + 1, 2 + 3))
        assert (matrix.true, matrix.predicted) == (3, 10 - whole)


async def test_the_number_under_the_cursor_can_be_read(maker: RunMaker) -> None:
    """The worst pair's too, on which the cursor begins: in the reds of its cell it could hardly be."""
    run = make(maker)
    async with FmnistApp(maker.runs_dir, None).run_test(size=SMALL) as pilot:
        matrix = (await opened(pilot, run)).query_one(MatrixView)
        for column in range(10):
            matrix.move_to(6, column)
            styles = [segment.style for segment in matrix.render_line(2 + 6)][1 + column : 2 + column]
            assert styles[0] and styles[0].bold and not styles[0].reverse
            text, ground = styles[0].color, styles[0].bgcolor
            assert text and ground and text.triplet and ground.triplet
            bright, dark = Color(*ground.triplet).brightness, Color(*text.triplet).brightness
            assert bright > 0.8 and dark < 0.15


@pytest.mark.parametrize("size", [(40, 12), (60, 20), (80, 60), (118, 24), LARGE])
async def test_it_fits_every_size(maker: RunMaker, size: tuple[int, int]) -> None:
    run = make(maker)
    async with FmnistApp(maker.runs_dir, None).run_test(size=size) as pilot:
        screen = await opened(pilot, run)
        await until_drawn(pilot, "Epoch 4")
        for key in ("enter", "f", "a", "w"):
            await pilot.press(key)
            await pilot.pause()
            for line in drawn(pilot.app):
                assert len(line) <= size[0]
        grid = screen.query_one(ImageGrid)
        if size in ((80, 60), LARGE):
            assert grid.display and grid.region.bottom <= size[1] - 1, "whole images above the keys"


async def test_the_command_palette_and_the_help_know_it(maker: RunMaker) -> None:
    run = make(maker)
    app = FmnistApp(maker.runs_dir, None)
    async with app.run_test(size=MIDDLE) as pilot:
        await until_drawn(pilot, "finished")
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert "Mistakes sample-0" in titles
        await opened(pilot, run)
        await pilot.press("question_mark")
        await until_drawn(pilot, "the evaluation before", "images that every finished run gets wrong")
