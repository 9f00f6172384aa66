"""Series of measured values: append what is new, smooth it, and reduce it to the columns of a chart.

Used by the app's charts and the HTML report's. Pure NumPy: no Textual, no files. Nothing is lost on the
way to the screen: a column shows the least and the greatest of all its points, so a spike of one step survives,
and a value that is not finite becomes a mark with its place on the x axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Kind = Literal["NaN", "inf", "-inf"]

_BLOCK = 256
"""Values smoothed by one matrix product; below this many a plain loop is quicker."""


class Mark(NamedTuple):
    """A point that is not finite: it has a place on the x axis and none on the y axis."""

    x: float
    kind: Kind


def kind_of(value: float) -> Kind:
    """How a value that is not finite is called on screen."""
    assert not math.isfinite(value), value
    return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"


class Series:
    """Points with rising x: a value each, and the least and greatest of what the value is the mean of.

    Appending copies only the new points (the arrays double when full). x may stay equal from one point to the
    next; where it falls, the run went back to a checkpoint and the newer points replace the older ones.
    """

    def __init__(self) -> None:
        self._data = np.empty((4, 256))  # rows: x, value, low, high
        self._length = 0
        self.marks: list[Mark] = []
        self.version = 0
        """Another number for other points."""
        self._smooth_weight = 0.0
        self._smooth = np.empty(0)
        self._smooth_length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def x(self) -> Floats:
        """x of the finite points, `(n,) float64`."""
        return self._data[0, : self._length]

    @property
    def values(self) -> Floats:
        """The finite values, `(n,) float64`."""
        return self._data[1, : self._length]

    @property
    def low(self) -> Floats:
        """The least of what each value is the mean of; the value itself where that is not known."""
        return self._data[2, : self._length]

    @property
    def high(self) -> Floats:
        """The greatest of what each value is the mean of."""
        return self._data[3, : self._length]

    @property
    def last(self) -> float | None:
        """The newest finite value."""
        return float(self.values[-1]) if self._length else None

    @property
    def last_x(self) -> float | None:
        """x of the newest point, finite or not."""
        last = float(self._data[0, self._length - 1]) if self._length else None
        if not self.marks or (last is not None and last >= self.marks[-1].x):
            return last
        return self.marks[-1].x

    def append(self, x: float, value: float, low: float | None = None, high: float | None = None) -> None:
        """Add one point; without the detour over arrays where there is nothing special about it."""
        low, high = value if low is None else low, value if high is None else high
        last = self.last_x
        if not math.isfinite(value + low + high) or (last is not None and x < last):
            self.extend([x], [value], [low], [high])
            return
        self.version += 1
        self._reserve(self._length + 1)
        self._data[:, self._length] = (x, value, low, high)
        self._length += 1

    def extend(
        self, x: ArrayLike, values: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None
    ) -> None:
        """Add points whose x does not fall within the batch; where it starts before what is there, that goes."""
        new_x, new = np.asarray(x, float), np.asarray(values, float)
        if not new_x.size:
            return
        self.version += 1
        assert new_x.shape == new.shape and bool(np.all(np.diff(new_x) >= 0)), "x must not fall within a batch"
        if (last := self.last_x) is not None and new_x[0] < last:
            self.rewind(float(np.nextafter(new_x[0], -np.inf)))
        new_low = new if low is None else np.asarray(low, float)
        new_high = new if high is None else np.asarray(high, float)
        finite = np.isfinite(new)
        spread = np.isfinite(new_low) & np.isfinite(new_high)
        for at in np.flatnonzero(~(finite & spread)):
            worst = next(v for v in (new[at], new_low[at], new_high[at]) if not math.isfinite(v))
            self.marks.append(Mark(float(new_x[at]), kind_of(float(worst))))
        low_safe, high_safe = np.where(spread, new_low, new), np.where(spread, new_high, new)
        self._push(np.stack([new_x, new, low_safe, high_safe])[:, finite])

    def _push(self, points: Floats) -> None:
        end = self._length + points.shape[1]
        self._reserve(end)
        self._data[:, self._length : end] = points
        self._length = end

    def _reserve(self, length: int) -> None:
        """Room for this many points; the arrays at least double."""
        if length > self._data.shape[1]:
            grown = np.empty((4, max(length, 2 * self._data.shape[1])))
            grown[:, : self._length] = self._data[:, : self._length]
            self._data = grown

    def rewind(self, x: float) -> None:
        """Forget every point after `x`."""
        self.version += 1
        self._length = int(np.searchsorted(self.x, x, side="right"))
        self._smooth_length = min(self._smooth_length, self._length)
        while self.marks and self.marks[-1].x > x:
            self.marks.pop()

    def smoothed(self, weight: float) -> Floats:
        """The values exponentially smoothed with bias correction, `(n,) float64`; weight 0 is the values.

        Only points added since the last call with this weight are computed.
        """
        assert 0.0 <= weight < 1.0, weight
        if weight == 0.0:
            return self.values
        if weight != self._smooth_weight:
            self._smooth_weight, self._smooth_length = weight, 0
        done, length = self._smooth_length, self._length
        if length > self._smooth.size:
            grown = np.empty(max(length, 2 * self._smooth.size))
            grown[:done] = self._smooth[:done]
            self._smooth = grown
        if done < length:
            before = float(self._smooth[done - 1]) if done else 0.0
            self._smooth[done:length] = smooth(self.values[done:], weight, before, done)
            self._smooth_length = length
        return self._smooth[:length]

    def nearest(self, x: float) -> int | None:
        """Index of the finite point nearest to `x`; None where there is none."""
        if not self._length:
            return None
        right = int(np.searchsorted(self.x, x))
        if right == 0 or (right < self._length and self.x[right] - x < x - self.x[right - 1]):
            return right
        return right - 1


def smooth(values: ArrayLike, weight: float, before: float = 0.0, count: int = 0) -> Floats:
    """Exponential smoothing with bias correction (as Adam's moments, arXiv 1412.6980): `(n,) float64`.

    e[i] = weight * e[i-1] + (1 - weight) * v[i], given as e[i] / (1 - weight**(i+1)), so that the first values
    are not drawn towards zero. `before` is the corrected value after the first `count` values of the series.
    """
    data = np.asarray(values, float)
    carry = before * (1.0 - weight**count)
    if data.size < _BLOCK:
        raw = np.empty(data.size)
        for i, value in enumerate(data.tolist()):
            carry = weight * carry + (1.0 - weight) * value
            raw[i] = carry
    else:
        # Within a block smoothing is a product with a triangular matrix; only the carry runs from block to block.
        rows = -(-data.size // _BLOCK)
        padded = np.zeros(rows * _BLOCK)
        padded[: data.size] = data
        power = weight ** np.arange(_BLOCK + 1)
        lag = np.subtract.outer(np.arange(_BLOCK), np.arange(_BLOCK))
        kernel = np.where(lag >= 0, (1.0 - weight) * power[np.abs(lag)], 0.0)
        blocks = padded.reshape(rows, _BLOCK) @ kernel.T
        for row in blocks:
            row += carry * power[1:]
            carry = float(row[-1])
        raw = blocks.reshape(-1)[: data.size]
    return raw / (1.0 - weight ** np.arange(count + 1, count + 1 + data.size, dtype=float))


def log10(values: ArrayLike) -> Floats:
    """Decimal logarithm, -inf for 0 and below (which a log axis shows at its lower end)."""
    data = np.asarray(values, float)
    result: Floats = np.log10(data, out=np.full(data.shape, -np.inf), where=data > 0)
    return result


@dataclass(frozen=True)
class Columns:
    """A series reduced to the columns of a window; all arrays `(columns,) float64`, NaN where a column is empty."""

    low: Floats
    high: Floats


def decimate(x: Floats, low: Floats, high: Floats, window: tuple[float, float], columns: int) -> Columns:
    """The least and the greatest value in each of `columns` equal parts of `window` (its end belongs to the last)."""
    assert columns > 0 and window[1] > window[0], (columns, window)
    edges = np.linspace(window[0], window[1], columns + 1)
    at = np.searchsorted(x, edges)
    at[-1] = np.searchsorted(x, edges[-1], side="right")
    least, greatest = np.full(columns, np.nan), np.full(columns, np.nan)
    filled = np.flatnonzero(at[:-1] < at[1:])
    if filled.size:
        # The parts between are empty, so each reduction ends where the next filled part begins.
        starts = at[filled]
        least[filled] = np.minimum.reduceat(low[: at[-1]], starts)
        greatest[filled] = np.maximum.reduceat(high[: at[-1]], starts)
    return Columns(least, greatest)


def between(
    x: Floats,
    values: Floats,
    window: tuple[float, float],
    columns: int,
    scale: Callable[[Floats], Floats],
    marks: Sequence[Mark] = (),
) -> Floats:
    """The straight line between points at the middle of each column, on the axis's `scale`; `(columns,) float64`.

    NaN before the first point, after the last and where a mark lies between the two neighbours: a line must not
    bridge what was not finite. Only the two neighbours of a column are scaled, however long the series.
    """
    width = (window[1] - window[0]) / columns
    middles = window[0] + width * (np.arange(columns) + 0.5)
    result = np.full(columns, np.nan)
    right = np.searchsorted(x, middles)
    inside = np.flatnonzero((right > 0) & (right < x.size))
    if not inside.size:
        return result
    b = right[inside]
    a = b - 1
    span = x[b] - x[a]
    share = np.divide(middles[inside] - x[a], span, out=np.zeros(inside.size), where=span > 0)
    start, end = scale(values[a]), scale(values[b])
    line = start + share * (end - start)
    if marks:
        places = np.array([mark.x for mark in marks])
        broken = np.searchsorted(places, x[a]) < np.searchsorted(places, x[b], side="right")
        line[broken] = np.nan
    result[inside] = line
    return result
