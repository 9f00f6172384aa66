"""What a chart shows: curves, lines, marks and the names of their styles. Plain data.

Filled by `run_charts`, drawn by `chart_draw` and `chart_parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fmnist_tui.analysis.axis import Linear, Scale
from fmnist_tui.analysis.series import Series
from fmnist_tui.tui.format import number
from fmnist_tui.tui.widgets.chart_raster import Pattern

GUTTER = 8
"""Columns of the y labels, a blank and the axis."""
STYLES = (
    "",
    "title",
    "rule",
    "axis",
    "tick",
    "grid",
    "train",
    "band",
    "test",
    "ghost",
    "reference",
    "best",
    "third",
    "fourth",
    "error",
    "warning",
    "event",
    "cursor",
    "message",
    *(f"run{number}" for number in range(1, 9)),
)
"""Names of the styles; `chart.Chart` gives each its look (component class `chart--NAME`)."""
STYLE = {name: number_of for number_of, name in enumerate(STYLES)}


@dataclass
class Curve:
    """A series and how it is drawn."""

    label: str
    series: Series
    style: str
    pattern: Pattern = Pattern.THIN
    glyph: str = "*"
    """Its character in ASCII charts."""
    per_epoch: float = 1.0
    """Units of the series' x in an epoch."""
    smooth: bool = False
    """Draw the smoothed values, and what they are the mean of as a band behind them."""
    band: bool = True
    """False leaves the band out: of several runs they would cover each other."""
    text: Callable[[float], str] = number
    reach: float = 0.5
    """A value stands for this many epochs around it."""
    background: bool = False
    """Not of the run itself: a chart of such curves alone is empty."""
    shown_until: float | None = None
    """Without a cursor the legend has the value at this epoch; None: the newest."""
    ended: bool = False
    """No point will come after the last: beyond it the legend says so."""


@dataclass(frozen=True)
class Level:
    """A horizontal line."""

    value: float
    label: str
    style: str = "reference"


@dataclass(frozen=True)
class Flag:
    """A mark on the time axis."""

    x: float
    glyph: str
    ascii: str
    style: str


@dataclass(frozen=True)
class Point:
    """A marked point of a curve."""

    x: float
    y: float
    label: str
    style: str = "best"
    glyph: str = ""
    """What stands at the point; '' is a diamond."""


@dataclass
class Content:
    """What a chart shows."""

    title: str
    curves: Sequence[Curve] = ()
    """The first lies on top."""
    scale: Scale = field(default_factory=Linear)
    levels: Sequence[Level] = ()
    flags: Sequence[Flag] = ()
    points: Sequence[Point] = ()
    focus: bool = False
    note: str = ""
    """Facts in words at the right end of the title."""
    empty: str = "no data yet"
    limits: tuple[float, float] | None = None
    """Fixed limits of the y axis."""
    lettered: bool = False
    """The labels are letters that stand at the curves: where the title has no room, the last of the legend to go."""
    x_name: str = "epoch"
    """What the time axis counts."""
