"""The Benchmarks screen: sorting, grouping, copying and exporting what is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from textual.widgets import DataTable, Input

from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.tui import standings
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.screens.run import RunScreen
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn, wait_for, write_result


@pytest.fixture
def filled(runs_dir: Path, maker: RunMaker) -> FmnistApp:
    """Two runs of wrn on two devices with two seeds, and a quicker one of dpn."""
    for seed, accuracy, device in ((1, 94.0, "NVIDIA H200"), (2, 95.0, "NVIDIA H100")):
        run = maker.make("wrn", run_id=f"20261123-14250{seed}-wrn-k3f{seed}")
        write_result(run, seed=seed, test_accuracy=accuracy, device_name=device)
    write_result(maker.make("dpn"), test_accuracy=93.0, total_seconds=60.0)
    return FmnistApp(runs_dir, None)


def rows(app: FmnistApp) -> list[str]:
    return [line for line in drawn(app) if "WideResNet" in line or "DualPathNet" in line or " wrn" in line]


def test_room_goes_to_what_needs_it() -> None:
    texts = {column.key: "0" for column in standings.COLUMNS} | {"model": "WRN-10-2", "energy": ""}

    def widths(width: int, grouped: bool = False, **cells: str) -> dict[str, int]:
        lines = [standings.Line("section", {"model": "m" * 90}), standings.Line("row", texts | cells)]
        return {column.key: cells for column, cells in standings.choose(width, lines, grouped)}

    roomy = widths(200)
    assert roomy["model"] == 17 and "energy" not in roomy
    wide = widths(200, notes="n" * 70, device="AMD EPYC, 1 thread")
    assert wide["device"] == 18 and wide["notes"] > 35 and sum(wide.values()) + 2 * len(wide) == 198
    assert "energy" in widths(200, energy="1.2 MJ")
    assert "ahead" in widths(80) and "ahead" not in widths(80, ahead=""), "an empty column's room is others'"
    assert widths(40, last="")["best"] == 12, "the references have the best only"
    assert widths(80, grouped=True, model="turbo-long, seed 40001")["model"] == 22
    assert {"last", "runs"} <= widths(40, grouped=True, model="m" * 34).keys()


@pytest.mark.parametrize(
    ("width", "grouped"), [(40, False), (40, True), (45, False), (50, True), (60, False), (80, True)]
)
def test_the_accuracies_to_beat_have_room_at_every_width(width: int, grouped: bool) -> None:
    ours = {"model": "Turbo-80-224-320", "last": "94.74 ±0.07", "best": "94.74 ±0.07", "time": "10 m 58 s", "runs": "5"}
    reference = {"model": "Shake-Shake 96d", "best": "93.7275", "time": "about 40 h", "epochs": "1,800"}
    lines = [standings.Line("row", ours), standings.Line("reference", reference)]
    chosen = standings.choose(width, lines, grouped)
    assert sum(cells + standings.gap_of(width) for _, cells in chosen) <= width - 2
    keys = [column.key for column, _ in chosen]
    assert keys[:3] == ["model", "last", "best"] and ("runs" in keys or not grouped)
    for line in lines:
        shown = {
            column.key: standings.fitting(column, line.cells.get(column.key, ""), cells, "…")
            for column, cells in chosen
        }
        for key, text in line.cells.items() if line.kind == "reference" else ():
            assert shown.get(key, text) == text
        assert shown["model"] == line.cells["model"] and "…" not in "".join(shown.values())
        assert all(len(column.title) <= cells for column, cells in chosen)
    wide = standings.choose(60, lines)
    assert {column.key: column.title for column, _ in wide}["last"] == "last epoch %", "as before where there is room"


def test_a_section_s_title_loses_clauses_not_letters() -> None:
    (_, _, full), *_ = standings.SECTIONS
    assert standings.section_title(full, 59, "…") == full
    assert standings.section_title(full, 58, "…") == "Full data, custom split (30,000 / 40,000)"
    assert standings.section_title(full, 38, "…") == "Full data, custom split"
    assert standings.section_title(standings.TO_BEAT, 38, "…") == "To beat: 2018, one GTX 1080 Ti"
    assert standings.section_title("abcdef", 4, "…") == "abc…"


async def test_at_40_columns_means_stand_in_the_table_and_their_deviations_below_it(filled: FmnistApp) -> None:
    async with filled.run_test(size=(40, 15)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "3 finished runs")
        await pilot.press("g", "home", "down")
        shown = await until_drawn(pilot, "last % 94.50 ±0.71")
        (row,) = [line for line in shown.splitlines() if line.startswith(" wrn ")]
        assert row.split() == ["wrn", "94.50", "94.12", "2"], row
        assert "93.2775" in shown and "Full data, custom split\n" in re.sub(" +\n", "\n", shown)
        await pilot.press("g")
        await until_drawn(pilot, " dpn, seed 30000 ")


async def test_enter_is_offered_where_there_is_a_run_to_open(filled: FmnistApp) -> None:
    async with filled.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "3 finished runs")
        table = filled.screen.query_one(DataTable)
        await pilot.press("home", "down")
        await until(pilot, lambda: "enter Open" in drawn(filled)[-1])
        ours = [row for row in range(table.row_count) if "NVIDIA" in " ".join(map(str, table.get_row_at(row)))]
        await pilot.press("question_mark")
        await until_drawn(pilot, "of several, the most accurate")
        await pilot.press("escape", "end")
        await until(pilot, lambda: "Open" not in drawn(filled)[-1])
        assert table.cursor_row not in ours
        await pilot.press("enter", "home", "down")
        await until(pilot, lambda: "enter Open" in drawn(filled)[-1])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(filled.screen, RunScreen))


async def test_sorting_by_key_and_by_a_click(filled: FmnistApp) -> None:
    async with filled.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "3 finished runs; a row a configuration; by last epoch %")
        assert "95.00" in rows(filled)[0] and "93.00" in rows(filled)[2]
        await pilot.press("o")
        await until_drawn(pilot, "by best %")
        await pilot.press("o", "o")
        await until_drawn(pilot, "by time")
        await until(pilot, lambda: "1 m 0 s" in rows(filled)[0])
        await pilot.press("O")
        await until_drawn(pilot, "by time, reversed")
        await until(pilot, lambda: "1 m 0 s" in rows(filled)[2])
        title = next(line for line in drawn(filled) if "last epoch %" in line and "best-ref" in line)
        table = filled.screen.query_one(DataTable)
        await pilot.click(table, offset=(title.index("last epoch") + 1, 0))
        await until_drawn(pilot, "by last epoch %")
        await until(pilot, lambda: "95.00" in rows(filled)[0])


async def test_groups_with_their_numbers(filled: FmnistApp) -> None:
    async with filled.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "a row a configuration")
        await pilot.press("g")
        shown = await until_drawn(pilot, "a row a preset;", "94.50 ±0.71")
        assert "runs" in shown, "how many are averaged is shown also on a narrow screen"
        await pilot.press("g")
        shown = await until_drawn(pilot, "a row a preset and seed", "wrn, seed 1", "wrn, seed 2")
        assert shown.count("seed 2") == 2, "once in its row, once below the table"
        await pilot.press("g")
        await until_drawn(pilot, "a row a preset and device", "94.00", "95.00")
        await pilot.press("g")
        await until_drawn(pilot, "a row a configuration")


async def test_a_long_name_keeps_the_seed_of_its_row(app: FmnistApp, maker: RunMaker) -> None:
    for seed in (40_000, 40_001):
        run = maker.make("quick", changes={"seed": seed, "preset": "a-preset-of-my-own"})
        write_result(run, seed=seed)
    async with app.run_test(size=(60, 24)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "2 finished runs")
        await pilot.press("g", "g")
        await until_drawn(pilot, "a-preset-of-my-own, 40000", "a-preset-of-my-own, 40001")
        await pilot.resize_terminal(40, 24)
        await until_drawn(pilot, "a-preset-…, 40000", "a-preset-…, 40001")
        await pilot.resize_terminal(100, 24)
        await until_drawn(pilot, "a-preset-of-my-own, seed 40000", "a-preset-of-my-own, seed 40001")


async def test_what_is_shown_is_copied_and_exported(filled: FmnistApp, tmp_path: Path) -> None:
    async with filled.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "a row a configuration")
        await pilot.press("g", "X")
        await until(pilot, lambda: bool(filled.clipboard))
        assert "94.50 ± 0.71 (2)" in filled.clipboard and "All runs of a preset share a row" in filled.clipboard
        for suffix in ("md", "csv", "json", "html"):
            await pilot.press("x")
            await until_drawn(pilot, "Write the table to a file")
            table = tmp_path / f"table.{suffix}"
            filled.screen.query_one("#path", Input).value = str(table)
            await pilot.press("enter")
            await until(pilot, table.exists)
        assert json.loads((tmp_path / "table.json").read_text())["rows"][0]["n"] == 2
        assert "test_accuracy_sd" in (tmp_path / "table.csv").read_text()
        assert "94.50 ± 0.71 (2)" in (tmp_path / "table.html").read_text()


async def test_what_tells_rows_apart_stands_below_the_table(app: FmnistApp, maker: RunMaker) -> None:
    """Two rows of one network, whose notes have no room among the columns."""
    for seed, rate in ((7, 0.1), (7, 0.1), (8, 0.1), (7, 0.05)):
        config = with_changes(load_preset("quick"), {"optimizer.lr": rate})
        run = maker.make("quick", changes={"seed": seed, "optimizer": config.optimizer})
        write_result(run, seed=seed, test_accuracy=70.0 + 100 * rate)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "80.00")
        assert "quick; seed" not in "\n".join(drawn(app)), "the cursor is on a row of the reference"
        await pilot.press(*["down"] * 6)
        await until_drawn(pilot, "quick; seeds 7, 8;", "3 runs of 2 seeds")
        await pilot.press("down")
        shown = await until_drawn(pilot, "quick; seed 7;", "optimizer.lr 0.1 -> 0.05")
        assert "runs of" not in shown
        await pilot.press("1")


async def test_impossible_numbers_leave_their_runs_out(app: FmnistApp, maker: RunMaker) -> None:
    write_result(maker.make("wrn"), test_accuracy=94.0)
    for seed in (1, 2):
        run = maker.make("wrn", changes={"seed": seed})
        write_result(run, seed=seed)
        run.result.write_text(json.dumps(json.loads(run.result.read_bytes()) | {"test_accuracy": 1e308}))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "1 finished run;", "94.00", f"Left out: {run.path.name} and 1 more: result.json")
        await pilot.resize_terminal(40, 10)
        await until(pilot, lambda: app.screen.query_one("#left-out").region.height == 1)
        assert run.path.name in "\n".join(drawn(app))


async def test_without_results_it_shows_what_to_beat(app: FmnistApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        text = await until_drawn(pilot, "No run has finished yet", "To beat: 2018")
        for row in (("WideResNet", "93.2775", "about 7 h"), ("Shake-Shake 96d", "93.7275", "1,800")):
            assert any(all(part in line for part in row) for line in text.splitlines())
        await pilot.resize_terminal(40, 10)
        await until(pilot, lambda: "To beat: 2018, one GTX 1080 Ti" in [line.strip() for line in drawn(app)])
        text = "\n".join(drawn(app))
        assert any("WideResNet" in line and "93.2775" in line for line in text.splitlines())
        assert text.splitlines()[1].strip() == "No run has finished yet", "no part of a sentence"


async def test_results_beside_the_reference(app: FmnistApp, maker: RunMaker) -> None:
    write_result(maker.make("wrn"))
    write_result(maker.make("wrn", changes={"seed": 1}), seed=1, test_accuracy=94.05)
    run = maker.make("quick")
    write_result(run, test_accuracy=91.0, best_accuracy=91.5, device="cpu", device_name="Xeon")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        text = await until_drawn(pilot, "3 finished runs", "custom split (30,000 / 40,000)", "Sample data")
        (ours,) = [line for line in text.splitlines() if "94.00 ±0.07" in line]
        for part in ("WideResNet", "94.12 ±0.00", "+0.84", "200", "9,870", "NVIDIA H200"):
            assert part in ours
        assert text.index("94.00") < text.index("93.2775") < text.index("91.50"), "sections in order"
        newer = maker.make("densenet")
        write_result(newer)
        await until_drawn(pilot, "4 finished runs", "DenseNet")
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.watched_run == run.id)


async def test_export(app: FmnistApp, maker: RunMaker, tmp_path: Path) -> None:
    write_result(maker.make("wrn"))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "1 finished run")
        await pilot.press("x")
        await until_drawn(pilot, "Write the table to a file")
        name = app.screen.query_one("#path", Input)
        for wrong, said in (("table.doc", "the name must end in"), ("no/where.md", "there is no directory no")):
            name.value = wrong
            await pilot.press("enter")
            await until_drawn(pilot, said)
        name.value = "table.csv"
        await pilot.press("enter")
        await until_drawn(pilot, "Written to")
        assert "WideResNet" in (tmp_path / "table.csv").read_text() or "wrn" in (tmp_path / "table.csv").read_text()
        (tmp_path / "old.md").write_text("mine")
        await pilot.press("x")
        await until_drawn(pilot, "Write the table to a file")
        app.screen.query_one("#path", Input).value = "old.md"
        await pilot.press("enter")
        await until_drawn(pilot, "exists already; enter again replaces it")
        assert (tmp_path / "old.md").read_text() == "mine"
        await pilot.press("enter")
        await until(pilot, lambda: wait_for(lambda: "Fashion-MNIST" in (tmp_path / "old.md").read_text(), 0.0))


async def test_copy(app: FmnistApp, maker: RunMaker) -> None:
    write_result(maker.make("wrn"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "1 finished run")
        await pilot.press("X")
        await until(pilot, lambda: "| WideResNet" in app.clipboard)
