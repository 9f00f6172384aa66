"""The y scales of a chart and the round ticks of both axes: of the app's charts and of the HTML report's.

A scale maps values to positions by a rising function; limits and ticks are kept in values, positions are only
for drawing. NumPy only.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from fmnist_tui.analysis.series import Floats, log10

MIN_ERROR = 0.01
"""The error scale ends at 99.99 %: a logarithm has no place for an error of 0."""
MIN_LOSS = 1e-12
"""The log scale ends here: a loss of exactly 0 is drawn at the lower edge."""


class Tick(NamedTuple):
    """A tick: its value and the text beside it."""

    value: float
    label: str


class Scale(Protocol):
    """How values of a chart become heights."""

    name: str
    """Stands beside the chart's title; '' for the plain one."""

    def position(self, values: ArrayLike) -> Floats:
        """Rising function of the value; finite for every finite value."""
        ...

    def limits(self, low: float, high: float) -> tuple[float, float]:
        """Values at the lower and upper edge of a chart of data from `low` to `high`, with a little air."""
        ...

    def ticks(self, low: float, high: float, most: int) -> list[Tick]:
        """At most `most` round ticks from `low` to `high`, rising."""
        ...


class Linear:
    """Heights in proportion to values; `bounds` are values that cannot be left (0 and 100 %)."""

    name = ""

    def __init__(self, bounds: tuple[float, float] = (-math.inf, math.inf)) -> None:
        self.bounds = bounds

    def position(self, values: ArrayLike) -> Floats:
        """The value itself."""
        return np.asarray(values, float)

    def limits(self, low: float, high: float) -> tuple[float, float]:
        """5 % air on both sides, within the bounds."""
        air = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return max(self.bounds[0], low - air), min(self.bounds[1], high + air)

    def ticks(self, low: float, high: float, most: int) -> list[Tick]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        return linear_ticks(low, high, most)


class Log:
    """Heights in proportion to the logarithm."""

    name = "log"

    def position(self, values: ArrayLike) -> Floats:
        """log10, with everything below MIN_LOSS at MIN_LOSS."""
        return np.maximum(log10(values), math.log10(MIN_LOSS))

    def limits(self, low: float, high: float) -> tuple[float, float]:
        """4 % of the height as air on both sides, at least a tenth of a decade in all."""
        a, b = self.position([low, high])
        air = max(0.04 * (b - a), 0.05 - (b - a) / 2)
        return float(10 ** (a - air)), float(10 ** (b + air))

    def ticks(self, low: float, high: float, most: int) -> list[Tick]:
        """1, 2 and 5 in every decade where they fit, else decades; linear ticks within a part of a decade."""
        return _better(_log_ticks(low, high, most), linear_ticks(low, high, most), high / low)


class LogError:
    """For accuracies in %: heights in proportion to minus the logarithm of the error, so that 90, 95 and 97.5 are
    equally far apart."""

    name = "log error"

    def position(self, values: ArrayLike) -> Floats:
        """-log10 of 100 less the value."""
        return -np.log10(np.maximum(100.0 - np.asarray(values, float), MIN_ERROR))

    def limits(self, low: float, high: float) -> tuple[float, float]:
        """4 % of the height as air on both sides."""
        a, b = self.position([low, high])
        air = max(0.04 * (b - a), 0.02 - (b - a) / 2)
        return max(0.0, 100.0 - 10.0 ** -float(a - air)), 100.0 - 10.0 ** -float(b + air)

    def ticks(self, low: float, high: float, most: int) -> list[Tick]:
        """Accuracies whose errors are 1, 2 or 5 times a power of ten; linear ticks where few of these fit."""
        errors = _log_ticks(max(100.0 - high, MIN_ERROR), 100.0 - low, most)
        ticks = [Tick(100.0 - error.value, _plain(100.0 - error.value)) for error in reversed(errors)]
        ratio = (100.0 - low) / max(100.0 - high, MIN_ERROR)
        return _better(ticks, linear_ticks(low, high, most), ratio)


def _better(ticks: list[Tick], linear: list[Tick], ratio: float) -> list[Tick]:
    """The ticks of a logarithmic axis, or linear ones where it is nearly linear and they are more."""
    if not ticks or (ratio < 3.0 and len(linear) > len(ticks)):
        return linear
    return ticks


def nice_step(span: float, most: int) -> float:
    """The least of 1, 2, 5, 10, 20, ... (times a power of ten) of which at most `most` fit into `span`."""
    raw = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= raw * (1 - 1e-9))


def linear_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Round values from `low` to `high`, at most `most` of them, all with as many decimals as their step needs."""
    if not high > low or most < 1:
        return []
    step = nice_step(high - low, most)
    while len(values := _multiples(low, high, step)) > most:
        step = nice_step(step * 1.5 * most, most)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [Tick(value, _fixed(value, decimals)) for value in values]


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _fixed(value: float, decimals: int) -> str:
    if decimals > 4 or abs(value) >= 1e6:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e") if value else "0"
    return f"{value:.{decimals}f}"


_DENSITIES: tuple[tuple[float, ...], ...] = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))


def _log_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Ticks at round values of each decade; none where fewer than two fit."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in _DENSITIES:
        values = [f * 10.0**power for power in range(first, last + 1) for f in factors]
        inside = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(inside) <= most and _spread_evenly(inside, most, low, high):
            return [Tick(value, _plain(value)) for value in inside] if len(inside) >= 2 else []
    every = math.ceil((last - first + 1) / max(1, most))
    decades = [10.0**power for power in range(first, last + 1) if power % every == 0 and low <= 10.0**power <= high]
    return [Tick(value, _plain(value)) for value in decades]


def _spread_evenly(values: list[float], most: int, low: float, high: float) -> bool:
    """Whether no two neighbours are nearer than a tick's share of the height (which `most` ticks just fill)."""
    least = math.log10(high / low) / (most + 1) * 0.95
    return all(math.log10(b / a) >= least for a, b in itertools.pairwise(values))


def _plain(value: float) -> str:
    """A tick's value in at most 6 characters: '0.05', '93.5', '5e-4', '1e12'."""
    text = f"{value:.6g}"
    if "e" in text or len(text) > 6 or 0 < abs(value) < 1e-3:
        text = f"{value:.1e}".replace(".0e", "e")
        mantissa, _, exponent = text.partition("e")
        text = f"{mantissa}e{int(exponent)}"
    return text


def epoch_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Ticks of the time axis at whole epochs; at parts of epochs only where less than two whole ones are shown."""
    whole = [t for t in linear_ticks(low, high, most) if t.value == round(t.value)]
    if len(whole) >= 2:
        return [Tick(t.value, f"{t.value:.0f}") for t in whole]
    if high - low >= 2:
        first = math.ceil(low)
        return [Tick(float(epoch), str(epoch)) for epoch in range(first, math.floor(high) + 1)][:most]
    return linear_ticks(low, high, most)


def nice_ceiling(value: float) -> float:
    """The least of 1, 2, 5, 10, 20, 50, ... that is not below `value`."""
    power = 10.0 ** math.floor(math.log10(max(value, 1.0)))
    return next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= value)
