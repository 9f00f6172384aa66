"""Values in words, also those that are not known."""

from __future__ import annotations

import math
from datetime import datetime

import pytest

from fmnist_tui.console import words


def test_what_is_not_known_is_a_dash() -> None:
    for in_words in (words.duration, words.percent, words.number, words.speed, words.size, words.local_time):
        assert in_words(None) == "-"
    assert words.duration(math.inf) == words.speed(math.nan) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "14:30"),
        (180, "14:33"),
        (9 * 3600 + 1800, "Tue 00:00"),
        (3 * 86400, "Thu 14:30"),
        (10 * 86400, "3 Dec 14:30"),
    ],
)
def test_finish_time(seconds: float, text: str) -> None:
    assert words.finish_time(seconds, datetime(2026, 11, 23, 14, 30)) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_600, "1.0 MB"), (340_000_000, "340 MB"), (2e12, "2.0 TB")],
)
def test_size(count: int, text: str) -> None:
    assert words.size(count) == text


def test_numbers() -> None:
    assert words.number(0.184321) == "0.1843"
    assert words.number(math.nan) == "nan"
    assert words.percent(93.414) == "93.41 %"
    assert words.count(1, "run") == "1 run" and words.count(36_478_906, "parameter") == "36,478,906 parameters"
