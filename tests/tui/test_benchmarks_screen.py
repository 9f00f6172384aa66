"""The Benchmarks screen: sorting, grouping, copying and exporting what is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.widgets import DataTable, Input

from fmnist_tui.tui import standings
from fmnist_tui.tui.app import FmnistApp
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn, write_result


@pytest.fixture
def app(runs_dir: Path, maker: RunMaker) -> FmnistApp:
    """Two runs of wrn on two devices with two seeds, and a quicker one of dpn."""
    for seed, accuracy, device in ((1, 94.0, "NVIDIA H200"), (2, 95.0, "NVIDIA H100")):
        run = maker.make("wrn", run_id=f"20261123-14250{seed}-wrn-k3f{seed}")
        write_result(run, seed=seed, test_accuracy=accuracy, device_name=device)
    write_result(maker.make("dpn"), test_accuracy=93.0, total_seconds=60.0)
    return FmnistApp(runs_dir, None)


def rows(app: FmnistApp) -> list[str]:
    return [line for line in drawn(app) if "WideResNet" in line or "DualPathNet" in line or " wrn" in line]


def test_room_goes_to_what_needs_it() -> None:
    def widths(width: int, **cells: str) -> dict[str, int]:
        lines = [standings.Line("section", {"model": "m" * 90}), standings.Line("row", {"model": "WRN-10-2"} | cells)]
        return {column.key: cells for column, cells in standings.choose(width, lines)}

    narrow = widths(200)
    assert narrow["model"] == 17 and "energy" not in narrow
    wide = widths(200, notes="n" * 70, device="AMD EPYC, 1 thread")
    assert wide["device"] == 18 and wide["notes"] > 35 and sum(wide.values()) + 2 * len(wide) == 198
    assert "energy" in widths(200, energy="1.2 MJ")


async def test_sorting_by_key_and_by_a_click(app: FmnistApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "3 finished runs; a row a configuration; by last epoch %")
        assert "95.00" in rows(app)[0] and "93.00" in rows(app)[2]
        await pilot.press("s")
        await until_drawn(pilot, "by best %")
        await pilot.press("s", "s")
        await until_drawn(pilot, "by time")
        await until(pilot, lambda: "1 m 0 s" in rows(app)[0])
        await pilot.press("S")
        await until_drawn(pilot, "by time, reversed")
        await until(pilot, lambda: "1 m 0 s" in rows(app)[2])
        title = next(line for line in drawn(app) if "last epoch %" in line and "best-ref" in line)
        table = app.screen.query_one(DataTable)
        await pilot.click(table, offset=(title.index("last epoch") + 1, 0))
        await until_drawn(pilot, "by last epoch %")
        await until(pilot, lambda: "95.00" in rows(app)[0])


async def test_groups_with_their_numbers(app: FmnistApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "a row a configuration")
        await pilot.press("g")
        shown = await until_drawn(pilot, "a row a preset;", "94.50 ±0.71")
        assert "runs" in shown, "how many are averaged is shown also on a narrow screen"
        await pilot.press("g")
        await until_drawn(pilot, "a row a preset and seed", "wrn, seed 1", "wrn, seed 2")
        await pilot.press("g")
        await until_drawn(pilot, "a row a preset and device", "94.00", "95.00")
        await pilot.press("g")
        await until_drawn(pilot, "a row a configuration")


async def test_what_is_shown_is_copied_and_exported(app: FmnistApp, tmp_path: Path) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until_drawn(pilot, "a row a configuration")
        await pilot.press("g", "y")
        await until(pilot, lambda: bool(app.clipboard))
        assert "94.50 ± 0.71 (2)" in app.clipboard and "All runs of a preset share a row" in app.clipboard
        for suffix in ("md", "csv", "json", "html"):
            await pilot.press("x")
            await until_drawn(pilot, "Write the table to a file")
            table = tmp_path / f"table.{suffix}"
            app.screen.query_one("#path", Input).value = str(table)
            await pilot.press("enter")
            await until(pilot, table.exists)
        assert json.loads((tmp_path / "table.json").read_text())["rows"][0]["n"] == 2
        assert "test_accuracy_sd" in (tmp_path / "table.csv").read_text()
        assert "94.50 ± 0.71 (2)" in (tmp_path / "table.html").read_text()
