"""The Runs table's columns: which fit a width, what is in them, and the order of the runs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fmnist_tui.runs import store
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import columns
from fmnist_tui.tui.format import ASCII, UNICODE
from tests.tui.synthetic import RunMaker, stamp, write_result


@pytest.mark.parametrize("width", range(1, 260))
def test_columns_fit(width: int) -> None:
    layout = columns.choose(width, 14)
    assert sum(cells + layout.gap for _, cells in layout.columns) <= max(0, width - 1)
    keys = {column.key for column, _ in layout.columns}
    assert not {"glyph", "state"} <= keys
    assert width < 80 or {"state", "name", "bar", "epoch", "loss", "test", "best", "time"} <= keys
    assert width < 40 or {"name", "epoch", "test"} <= keys
    assert width < 120 or {"device", "note"} <= keys
    assert width < 200 or keys == {column.key for column in columns.COLUMNS} - {"glyph"}


@pytest.mark.parametrize("width", range(60, 120))
def test_where_devices_differ_they_stand_there_before_the_loss(width: int) -> None:
    keys = {column.key for column, _ in columns.choose(width, 14, devices_differ=True).columns}
    assert "device" in keys or "loss" not in keys
    assert width < 80 or {"state", "name", "bar", "epoch", "test", "best", "time", "device"} <= keys


def test_devices_differ_where_runs_have_said_so(maker: RunMaker) -> None:
    one = store.load_run(maker.make("wrn", device="cuda:0"))
    assert not columns.devices_differ([]) and not columns.devices_differ([one, one])
    waits = store.load_run(maker.make("wrn", State.QUEUED, device="auto"))
    assert not columns.devices_differ([one, waits]), "auto is no device yet"
    other = store.load_run(maker.make("wrn", device="cuda:1"))
    assert columns.devices_differ([one, other])


def test_of_more_gpus_than_fit_the_cell_says_how_many(maker: RunMaker) -> None:
    run = store.load_run(maker.make("wrn", device="cuda:0,1,2,3"))
    assert _cells(run, 80)["device"] == _cells(run)["device"] == "4 GPUs"
    column = next(column for column in columns.COLUMNS if column.key == "device")
    assert columns.cell(column, 13, run, datetime.now(UTC), UNICODE).text == "cuda:0,1,2,3"


def test_a_name_is_shown_whole_where_there_is_room() -> None:
    widths = {column.key: cells for column, cells in columns.choose(120, 20).columns}
    assert widths["name"] == 20
    assert {column.key: cells for column, cells in columns.choose(80, 60).columns}["name"] >= 14


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_every_cell_fits_its_column(width: int, glyphs: columns.Glyphs, maker: RunMaker) -> None:
    now = datetime.now(UTC)
    for run in map(store.load_run, maker.gallery().values()):
        for column, cells in columns.choose(width, 14).columns:
            text = columns.cell(column, cells, run, now, glyphs).text
            assert len(text) <= cells, (column.key, text)
            assert glyphs is UNICODE or text.isascii()
            assert column.align == "left" or len(text) == cells


def _cells(run: Run, width: int = 200) -> dict[str, str]:
    layout = columns.choose(width, 20, devices_differ=True).columns
    return {c.key: columns.cell(c, cells, run, datetime.now(UTC), UNICODE).text.strip() for c, cells in layout}


def test_what_cells_say(maker: RunMaker) -> None:
    made = {key: store.load_run(run) for key, run in maker.gallery().items()}
    running = _cells(made["running"])
    assert running["state"] == "● running"
    assert (running["epoch"], running["loss"], running["test"], running["best"]) == (
        "37/200",
        "0.1843",
        "93.41",
        "93.60",
    )
    assert running["time"] == "2h 04m left"
    assert running["bar"].startswith("━") and running["bar"].endswith("─")
    assert _cells(made["failed"])["note"].startswith("CUDA out of memory: tried to")
    assert _cells(made["not finite"])["loss"] == "NaN"
    lost = _cells(made["lost"])
    assert lost["state"] == "? lost"
    assert "left" not in lost["time"], "its estimate has expired"
    assert "r resumes" in lost["note"]
    assert _cells(made["old"])["preset"] == "wrn"
    damaged = _cells(made["damaged"])
    assert damaged["state"] == "? lost", "as `runs list` says; the note has the rest"
    assert "status.json" in damaged["note"]


def test_a_finished_runs_speed_is_that_of_all_its_training(maker: RunMaker) -> None:
    """Not of its last moments: the table of results and `runs list` say the same."""
    run = maker.make("quick", images_per_second=199.0)
    write_result(run, images_per_second=179.0)
    assert _cells(store.load_run(run))["speed"] == "179"
    assert _cells(store.load_run(maker.make("quick", State.RUNNING, images_per_second=199.0)))["speed"] == "199"


def test_the_preset_stands_beside_another_name(maker: RunMaker) -> None:
    run = store.load_run(maker.make("wrn", changes={"name": "baseline"}))
    assert columns.title(run) == "baseline (wrn)"
    assert columns.title(store.load_run(maker.make("wrn"))) == "wrn"


def test_what_tells_runs_apart_is_shown_before_their_names(maker: RunMaker) -> None:
    run = store.load_run(maker.make("shake-shake-96"))
    assert columns.title(run, "seed 3") == "shake-shake-96 seed 3"
    for width, text in ((21, "shake-shake-96 seed 3"), (14, "shake-… seed 3"), (9, "seed 3"), (4, "see…")):
        assert columns.short_title(run, "seed 3", width, UNICODE) == text
    assert columns.short_title(run, "", 14, UNICODE) == "shake-shake-96"
    for width, longest, expected in ((60, 21, 21), (80, 21, 21), (120, 21, 21), (120, 32, 32)):
        layout = columns.choose(width, longest, longest_apart=longest)
        assert {column.key: cells for column, cells in layout.columns}["name"] == expected
        assert sum(cells + layout.gap for _, cells in layout.columns) <= width - 1


def test_a_sweeps_runs_keep_their_values_in_few_cells(maker: RunMaker) -> None:
    """Their names end in what was swept: cut at their end, those of lr=0.05 and lr=0.2 were both 'quick lr=0…'."""
    run = store.load_run(maker.make("quick", changes={"name": "quick lr=0.05", "group": "quick-1"}))
    assert columns.short_title(run, "seed 40000", 24, UNICODE) == "quick lr=0.05 seed 40000"
    assert columns.short_title(run, "seed 40000", 21, UNICODE) == "… lr=0.05 seed 40000"
    assert columns.short_title(run, "", 10, UNICODE) == "… lr=0.05"
    assert columns.short_title(run, "", 6, UNICODE) == "…=0.05"


def test_order_is_work_first_then_newest_activity(maker: RunMaker) -> None:
    made = {key: store.load_run(run) for key, run in maker.gallery().items()}
    names = {run.id: key for key, run in made.items()}
    ordered = [names[run.id] for run in columns.in_order(list(made.values()))]
    assert ordered == [
        "starting", "running", "stopping", "finished", "failed", "lost", "not finite", "stopped", "old", "damaged",
    ]  # fmt: skip


def test_heartbeats_do_not_move_rows(maker: RunMaker) -> None:
    first, second = (maker.make("wrn", State.RUNNING, epoch=1, run_id=f"20261123-10000{i}-wrn-aaaa") for i in (1, 2))
    before = [run.id for run in columns.in_order([store.load_run(first), store.load_run(second)])]
    maker.write_status(first, heartbeat=stamp(0))
    assert [run.id for run in columns.in_order([store.load_run(first), store.load_run(second)])] == before
    maker.write_status(second, state=State.FINISHED, ended=stamp(0))
    assert [run.id for run in columns.in_order([store.load_run(second), store.load_run(first)])] == [
        first.id,
        second.id,
    ]
