"""The words and glyphs of cells: durations, times, numbers, bars, and when a terminal gets ASCII."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from fmnist_tui.runs import store
from fmnist_tui.runs.status import State
from fmnist_tui.tui import format as words
from fmnist_tui.tui.terminal import key_name, to_ascii
from tests.tui.synthetic import NOW, RunMaker, stamp


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (math.inf, "–"),
        (-3, "0s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (302, "5m 02s"),
        (3599.7, "1h 00m"),
        (8040, "2h 14m"),
        (86_399, "1d 00h"),
        (5 * 86_400 + 4 * 3600, "5d 04h"),
        (1000 * 86_400, "1,000d"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (0, "today 14:30"),
        (3600, "today 13:30"),
        (86_400, "Sun 14:30"),
        (40 * 86_400, "14 Oct 2026"),
        (-86_400, "24 Nov 2026"),
    ],
)
def test_moment(ago: float, text: str) -> None:
    assert words.moment(stamp(ago, NOW), NOW) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0.0000"), (0.18434, "0.1843"), (12.3456, "12.35"), (9999.4, "9999"), (1e5, "1.0e+05"),
        (0.00012, "1.2e-04"), (math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "-inf"),
    ],
)  # fmt: skip
def test_number_fits_its_column(value: float | None, text: str) -> None:
    assert words.number(value) == text
    assert len(text) <= 7


def test_bar_is_full_only_when_all_is_done() -> None:
    assert words.bar(0.999, 4, words.UNICODE) == ("━━━╸", "")
    assert words.bar(1.0, 4, words.UNICODE) == ("━━━━", "")
    assert words.bar(0.0, 4, words.UNICODE) == ("", "────")
    assert words.bar(0.4, 4, words.ASCII) == ("=", "---")
    assert words.bar(7.0, 3, words.UNICODE) == ("━━━", "")


def test_sparkline_shows_the_newest_and_leaves_gaps() -> None:
    assert words.sparkline([0.0, 100.0, None, 50.0], 3, 100.0, words.UNICODE) == "█ ▅"
    assert words.sparkline([100.0], 3, 100.0, words.UNICODE) == "  █"


@pytest.mark.parametrize(
    ("environment", "ascii_only"),
    [
        ({}, False),
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "de_DE.utf8", "TERM": "xterm"}, False),
        ({"LC_ALL": "C"}, True),
        ({"LANG": "en_US.ISO-8859-1"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_ALL": "en_US.UTF-8", "LANG": "C"}, False),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, True),
        ({"LANG": "C.UTF-8", "TERM": "dumb"}, True),
        ({"LANG": "C.UTF-8", "FMNIST_TUI_ASCII": "1"}, True),
        ({"TERM": "linux", "FMNIST_TUI_ASCII": "0"}, False),
    ],
)
def test_which_terminals_get_ascii(environment: dict[str, str], ascii_only: bool) -> None:
    assert words.wants_ascii(environment) is ascii_only


def test_ascii_glyphs_are_ascii_and_as_wide() -> None:
    for plain, rich in ((words.ASCII, words.UNICODE),):
        assert all(glyph.isascii() and len(glyph) == 1 for glyph in plain.states.values())
        assert len(set(plain.states.values())) == len(State)
        assert set(plain.states) == set(rich.states) == set(State)
        assert len(plain.sparks) == len(rich.sparks)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("╭─ a ─╮", "+- a -+"),
        ("▁▂█", "__#"),
        ("⣿⠀x", ". x"),
        ("日本", "????"),
        ("plain", "plain"),
        ("94.74 ±0.07", "94.74+-0.07"),
    ],
)
def test_to_ascii_keeps_the_width(text: str, plain: str) -> None:
    assert to_ascii(text) == plain


@pytest.mark.parametrize(
    ("key", "name"), [("escape", "esc"), ("ctrl+p", "^p"), ("slash", "/"), ("shift+tab", "shift+tab"), ("f2", "f2")]
)
def test_key_names(key: str, name: str) -> None:
    assert key_name(key) == name


def test_time_left_counts_down_and_expires(maker: RunMaker) -> None:
    now = datetime.now(UTC)
    run = store.load_run(maker.make("wrn", State.RUNNING, epoch=3, eta_seconds=100.0, heartbeat=stamp(10, now)))
    assert words.seconds_left(run, now) == pytest.approx(90, abs=0.1)
    assert words.seconds_left(run, now + timedelta(seconds=45)) == pytest.approx(45, abs=0.1)
    assert words.seconds_left(run, now + timedelta(seconds=51)) is None, "not heard of for over a minute"
    lost = store.load_run(maker.make("wrn", State.LOST, ago=2, epoch=3, eta_seconds=100.0))
    assert lost.state is State.LOST
    assert words.seconds_left(lost, now) is None
    stopping = store.load_run(maker.make("wrn", State.STOPPING, epoch=3, eta_seconds=100.0))
    assert words.seconds_left(stopping, now) is None, "it does not train on to its last epoch"


def test_a_name_keeps_its_end_where_it_is_cut() -> None:
    assert words.shorten_middle("campaign-turbo-seed40003", 24) == "campaign-turbo-seed40003"
    assert words.shorten_middle("campaign-turbo-seed40003", 14) == "campaig…d40003"
    assert words.shorten_middle("訓練の記録", 8) == "訓練…録"
    for width in range(30):
        assert cell_len(words.shorten_middle("訓練 of shake-shake-96", width)) <= width


def test_what_is_shortened_is_counted_in_cells() -> None:
    assert words.shorten("訓練の記録", 10) == "訓練の記録"
    assert words.shorten("訓練の記録", 9) == "訓練の記…"
    assert words.shorten("訓練の記録", 8) == "訓練の…"
    assert [words.shorten("weights", width) for width in (0, 1, 4, 7)] == ["", "…", "wei…", "weights"]


@pytest.mark.parametrize(
    ("state", "shown"), [(State.QUEUED, None), (State.STARTING, None), (State.RUNNING, 398.0), (State.STOPPED, 398.0)]
)
def test_a_run_that_goes_on_has_no_pace_until_it_trains(state: State, shown: float | None, maker: RunMaker) -> None:
    run = store.load_run(maker.make("wrn", state, epoch=3, images_per_second=398.0))
    assert run.state is state
    assert words.pace(run) == shown
