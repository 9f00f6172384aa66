"""What a value looks like where it may not be known yet; the form itself is the report's. Used by all views here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from fmnist_tui import paths
from fmnist_tui.remedies import COMMAND_LINE
from fmnist_tui.report import words
from fmnist_tui.runs.queue import place_in_words
from fmnist_tui.runs.status import Status

NOTHING = "-"
"""Stands where a value is not known (yet)."""


def remedies(of: Path) -> Mapping[str, str]:
    """What a person at a shell types against an error of a run in this directory, which commands name as they must."""
    where = paths.naming(of).replace("{", "{{").replace("}", "}}")
    words = {name: text.replace("{run}", "{run}" + where) for name, text in COMMAND_LINE.items()}
    return words | {"first run": COMMAND_LINE["first run"] + where}


def duration(seconds: float | None) -> str:
    """A time in its two largest units: '5 m 2 s'; '-' for None."""
    return NOTHING if seconds is None or not math.isfinite(seconds) else words.duration(max(seconds, 0.0))


def finish_time(eta_seconds: float, now: datetime | None = None) -> str:
    """When something is done that takes this long from now, in local time: '14:33', 'Tue 14:33', '3 Dec 14:33'."""
    now = now or datetime.now()
    end = now + timedelta(seconds=eta_seconds)
    if end.date() == now.date():
        return f"{end:%H:%M}"
    return f"{end:%a %H:%M}" if end - now < timedelta(days=6) else f"{end.day} {end:%b %H:%M}"


def starts(seconds: float | None) -> str:
    """When a queued run is expected to start: 'starts in about 1 h 20 m'; '' where that can't be told."""
    if seconds is None:
        return ""
    return "starts in under a minute" if seconds < 60 else f"starts in about {duration(seconds)}"


def queued(status: Status) -> str:
    """Where a queued run stands: '2nd on cuda:0, behind 20261123-142501-wrn-k3f9, starts in about 1 h 20 m'."""
    behind = f"behind {status.queue_behind}" if status.queue_behind else ""
    return ", ".join(part for part in (place_in_words(status), behind, starts(status.starts_in_seconds)) if part)


def local_time(timestamp: str | None) -> str:
    """A record's UTC timestamp in local time: '2026-11-23 14:25:01'; '-' for None."""
    return f"{datetime.fromisoformat(timestamp).astimezone():%Y-%m-%d %H:%M:%S}" if timestamp else NOTHING


def percent(value: float | None) -> str:
    """A percentage with its sign: '93.41 %'; '-' for None."""
    return NOTHING if value is None else f"{words.percent(value)} %"


def number(value: float | None) -> str:
    """A loss or a learning rate to four significant digits: '0.1843', '0.02', '1e-05', 'nan'; '-' for None."""
    return NOTHING if value is None else f"{value:.4g}"


def speed(images_per_second: float | None) -> str:
    """A training speed with its unit: '9,870 img/s', '16.2 img/s'; '-' for None."""
    if images_per_second is None or not math.isfinite(images_per_second):
        return NOTHING
    return f"{words.speed(images_per_second)} img/s"


def size(count: int | None) -> str:
    """Bytes in decimal units: '340 MB'; '-' for None."""
    return NOTHING if count is None else words.size(count)


def count(number_of: int, noun: str) -> str:
    """A number with its noun: '1 run', '3 runs', '36,478,906 parameters'."""
    return f"{number_of:,} {noun}" + ("" if number_of == 1 else "s")
