"""Numbers and values as people read them, the same in every table. Called by the report, the CLI and the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmnist_tui.characters import JOINERS

if TYPE_CHECKING:
    from fmnist_tui.runs.result import Result


def percent(value: float) -> str:
    """An accuracy in % with the two decimals every view shows: chance alone moves it by 0.12 over 40,000 images."""
    return f"{value:.2f}"


def signed(value: float) -> str:
    """A difference of accuracies in percentage points, with its sign: '+0.13'."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def duration(seconds: float) -> str:
    """A time in its two largest units: '52.3 s', '12 m 5 s', '1 h 12 m', '4 d 3 h'."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} m"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def speed(images_per_second: float) -> str:
    """Training speed in images/s: '9,870', and with a decimal below 100: '16.4'."""
    return f"{images_per_second:,.1f}" if images_per_second < 99.95 else f"{images_per_second:,.0f}"


def size(count: int) -> str:
    """Bytes in decimal units: '340 MB', '2.5 kB'."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def images(result: Result) -> str:
    """'full, custom (30,000 / 40,000)': source, split, whether a part is held out, images to train and test on."""
    held = ", held out" if result.hold_out else ""
    return f"{result.data_source}, {result.split}{held} ({result.train_images:,} / {result.test_images:,})"


def energy(joules: float) -> str:
    """An energy as an electricity meter counts it, to three digits: '1.24 kWh', '310 Wh', '0.35 Wh'."""
    watt_hours = joules / 3600
    if watt_hours < 999.5:
        decimals = 0 if watt_hours >= 99.95 else 1 if watt_hours >= 9.995 else 2
        return f"{watt_hours:.{decimals}f} Wh"
    kilo = watt_hours / 1000
    return f"{kilo:,.{0 if kilo >= 99.95 else 1 if kilo >= 9.995 else 2}f} kWh"


def one_line(text: str) -> str:
    """Text with line breaks, tabs and control characters turned into single spaces."""
    return " ".join("".join(c if c.isprintable() or c in JOINERS else " " for c in text).split())
