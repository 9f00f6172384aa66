"""The Runs screen in the real app, with its real feed on real run directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.runs import store
from fmnist_tui.runs.status import State
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.runs_words import NEEDS, why_not
from fmnist_tui.tui.screens.runs import RunsScreen
from fmnist_tui.tui.widgets.runs_table import RunsTable
from tests.tui.runs_listening import Listening, selected
from tests.tui.synthetic import RunMaker, drawn, stamp, until, until_drawn


@pytest.fixture
def app(runs_dir: Path) -> Listening:
    return Listening(runs_dir)


async def test_on_a_small_screen_the_command_for_a_first_run_is_whole(tmp_path: Path) -> None:
    """Without its directory it made one that this list does not have."""
    runs_dir = tmp_path / "elsewhere"
    runs_dir.mkdir()
    async with FmnistApp(runs_dir, None).run_test(size=(40, 15)) as pilot:
        await until_drawn(pilot, "No runs yet.", "fmnist-tui run preset quick", "--runs-dir")
        shown = "".join(line.strip() for line in drawn(pilot.app))
        assert str(runs_dir) in shown


async def test_an_empty_directory_says_what_to_press(app: Listening, runs_dir: Path) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        text = await until_drawn(pilot, "No runs yet.")
        assert " n  choose a preset" in text
        assert "fmnist-tui run preset quick" in text
        assert str(runs_dir)[:40] in text
        assert "Stop" not in text and "Delete" not in text, "there is nothing to stop or delete"


@pytest.mark.parametrize("others", [0, 1])
async def test_runs_left_out_for_their_names_are_told_of(
    app: Listening, maker: RunMaker, runs_dir: Path, others: int
) -> None:
    for _ in range(others):
        maker.make("quick")
    unfit = runs_dir / "20261123-142501-a\x1b[31m-k3f9"
    maker.make("wrn").path.rename(unfit)

    def shown() -> str:
        return "\n".join(drawn(app))

    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "Left out: a run whose name is no line", "Rename it, in bash:")
        assert "20261123-142501-a" not in shown().partition("Left out")[0]
        await pilot.resize_terminal(40, 10)
        await until_drawn(pilot, "Left out: a run whose name is no line", "of printable text.")
        await pilot.resize_terminal(80, 24)
        unfit.rename(runs_dir / "20261123-142501-wrn-k3f9")
        await until(pilot, lambda: "Left out" not in shown() and "wrn" in shown())


async def test_a_run_of_each_state(app: Listening, maker: RunMaker) -> None:
    maker.gallery()
    async with app.run_test(size=(80, 24)) as pilot:
        text = await until_drawn(pilot, "● running", "10 runs, 3 at work")
        lines = drawn(app)
        assert all(len(line.rstrip()) <= 80 for line in lines)
        (row,) = [line for line in lines if "● running" in line]
        for part in ("wrn", "━─────", "37/200", "93.41", "93.60", "2h 04m left", "cuda:0"):
            assert part in row
        for state in ("○ starting", "◐ stopping", "✓ finished", "✗ failed", "? lost", "■ stopped"):
            assert state in text
        states = " ".join(line.split()[1] for line in lines[2:12])
        assert states == "starting running stopping finished failed lost failed stopped finished lost"
        lost = [line for line in lines if "? lost" in line]
        assert len(lost) == 2, "the one without a readable status among them"
        assert "left" not in "".join(lost), "the estimate of a lost run has expired"


async def test_wider_screens_show_more(app: Listening, maker: RunMaker) -> None:
    maker.gallery()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_drawn(pilot, "● running", "note", "device", "CUDA out of memory", "its worker is gone")
        await pilot.resize_terminal(200, 60)
        await until_drawn(pilot, "created", "img/s", "9,870", "CUDA out of memory: tried to allocate")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "loss" not in drawn(app)[1] and "device" in drawn(app)[1])


async def test_runs_of_one_name_are_told_apart(app: Listening, maker: RunMaker) -> None:
    for seed in (1, 2):
        maker.make("quick", changes={"seed": seed})
    maker.make("shake-shake-96", changes={"seed": 2})
    async with app.run_test(size=(80, 24)) as pilot:
        text = await until_drawn(pilot, "quick seed 1", "quick seed 2", "shake-shake-96")
        assert "shake-shake-96 seed" not in text
        await pilot.press("slash", *"seed=2")
        await until(pilot, lambda: "quick seed 1" not in "\n".join(drawn(app)))
        assert "quick seed 2" in "\n".join(drawn(app)), "also where the other is filtered away"


async def test_a_mark_takes_no_part_of_a_name_where_there_is_room(app: Listening, maker: RunMaker) -> None:
    name = "quick lr=0.05 weight_decay=0.0005"
    maker.make("quick", changes={"name": name, "group": "quick-1"})
    async with app.run_test(size=(200, 40)) as pilot:
        await until_drawn(pilot, f" {name} ")
        await pilot.press("space")
        await until_drawn(pilot, f"◆ {name} ", "1 marked")


async def test_what_compares_the_marked_runs_is_said_also_where_not_all_fits(app: Listening, maker: RunMaker) -> None:
    maker.make("quick", State.RUNNING, epoch=1)
    maker.make("quick", State.QUEUED, epoch=0)
    maker.make("quick")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "3 runs, 1 at work, 1 queued")
        await pilot.press("space")
        await until_drawn(pilot, "1 marked (p compares)")


async def test_what_to_press_on_a_stopped_run_depends_on_its_checkpoint(app: Listening, maker: RunMaker) -> None:
    run = maker.make("quick", State.STOPPED, epoch=1)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "r starts it again; l shows the worker's log")
        run.checkpoint("last").parent.mkdir(exist_ok=True)
        run.checkpoint("last").touch()
        maker.write_status(run, loss=0.5)
        await until_drawn(pilot, "r resumes it from its last checkpoint; l shows")


async def test_forty_by_ten_and_back(app: Listening, maker: RunMaker) -> None:
    maker.gallery()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        for size in ((40, 10), (12, 4), (1, 1), (40, 10)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        text = await until_drawn(pilot, "● wrn", "37/200", "93.41")
        assert "q Detach" in text
        await pilot.resize_terminal(80, 24)
        await until_drawn(pilot, "● running", "2h 04m left")


async def test_the_detail_of_a_failed_run(app: Listening, maker: RunMaker) -> None:
    maker.gallery()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("down", "down", "down", "down")
        text = await until_drawn(pilot, "CUDA out of memory: tried to allocate 2.4 GiB with 1.1 GiB free.")
        assert "The largest micro-batch that fits is 96" in text, "the whole error, not only its first line"
        assert "r resumes it from its last checkpoint" in text
        await pilot.press("down")
        await until_drawn(pilot, "Its worker is gone without a word")


@pytest.mark.parametrize("state", [State.FINISHED, State.STOPPED, State.LOST])
async def test_a_run_without_any_checkpoint_is_not_offered_to_go_on(
    app: Listening, maker: RunMaker, state: State
) -> None:
    """Archived, say, without its weights: a resume is refused, so that it does not lose what it has come to."""
    run = maker.make("wrn", state)
    run.checkpoint("last").unlink()
    async with app.run_test(size=(120, 24)) as pilot:
        text = await until_drawn(pilot, f" {state} ", "C starts one like it")
        assert "Resume" not in text and "r resumes" not in text and "r trains" not in text and "r starts" not in text
        assert state is State.FINISHED or "it has no checkpoint to go on from" in text
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen) and screen.selected is not None
        assert why_not("resume", screen.selected).startswith("r can't go on with this one: it has no checkpoint")
        run.checkpoint("best").touch()
        assert NEEDS["resume"](screen.selected), "from its best it may"


async def test_the_detail_of_a_run_of_a_sweep_tells_its_seed(app: Listening, maker: RunMaker) -> None:
    maker.make("wrn", changes={"group": "g", "seed": 40_001})
    async with app.run_test(size=(120, 40)) as pilot:
        await until_drawn(pilot, "seed 40001")


async def test_the_cursor_stays_on_its_run(app: Listening, maker: RunMaker) -> None:
    made = maker.gallery()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        await pilot.press("down")
        assert selected(pilot) == made["running"].id
        newer = maker.make("quick", State.RUNNING, epoch=1)
        await until(pilot, lambda: pilot.app.screen.query_one(RunsTable).row_count == 11)
        assert selected(pilot) == made["running"].id
        maker.write_status(made["running"], state=State.FINISHED, ended=stamp(0), epoch=200)
        await until(pilot, lambda: "✓ finished wrn" in "\n".join(drawn(app)))
        assert selected(pilot) == made["running"].id, "it went down past the runs at work, and the cursor with it"
        store.delete_run(store.load_run(made["running"]))
        await until(pilot, lambda: pilot.app.screen.query_one(RunsTable).row_count == 10)
        assert selected(pilot) not in ("", made["running"].id, newer.id), "the cursor stays where it was"


async def test_a_run_advances_before_ones_eyes(app: Listening, maker: RunMaker) -> None:
    run = maker.make("wrn", State.RUNNING, epoch=1, loss=1.5, eta_seconds=600.0)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "1/200", "1.5000")
        maker.write_status(run, epoch=2, step=236, loss=0.75, test_accuracy=88.5, best_accuracy=88.5)
        await until_drawn(pilot, "2/200", "0.7500", "88.50")


async def test_two_hundred_runs_are_drawn_and_scrolled(app: Listening, maker: RunMaker, runs_dir: Path) -> None:
    model = maker.make("quick", run_id="20261101-000999-quick-aaaa")
    for number in range(199):
        copy = runs_dir / f"20261101-000{number:03}-quick-aaaa"
        copy.mkdir()
        for file in (".fmnist-tui-run", "config.json", "status.json"):
            (copy / file).write_bytes((model.path / file).read_bytes())
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "200 runs")
        assert selected(pilot) == model.id
        await pilot.press("ctrl+end")
        await until(pilot, lambda: selected(pilot) == "20261101-000000-quick-aaaa")


async def test_colours_follow_the_theme(app: Listening, maker: RunMaker) -> None:
    maker.gallery()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running")
        dark = {str(segment.style) for strip in app.screen._compositor.render_strips() for segment in strip}
        await pilot.press("f2")
        await until(pilot, lambda: app.theme == "fmnist-light")
        await pilot.pause()
        await until_drawn(pilot, "● running")
        light = {str(segment.style) for strip in app.screen._compositor.render_strips() for segment in strip}
        assert not dark & light, "nothing is left in the other theme's colours"
