"""The one-line bar at the top of every screen: the program's name, the four places, and the machine now.

Composed by each FeedScreen (`yield TopBar("runs")`); the app hands it the newest system sample.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from textual import events
from textual.content import Content
from textual.widget import Widget

from fmnist_tui.runs.metrics import GpuSample, HostSample, SystemRecord
from fmnist_tui.tui import format as words

Place = Literal["runs", "new", "benchmarks", "system"]


class Tab(NamedTuple):
    """A place of the app: the key that goes there and what it is called."""

    place: Place
    key: str
    title: str


TABS = (
    Tab("runs", "1", "Runs"),
    Tab("new", "2", "New run"),
    Tab("benchmarks", "3", "Benchmarks"),
    Tab("system", "4", "GPU"),
)


def gpu_facts(gpus: list[GpuSample], glyphs: words.Glyphs) -> list[str]:
    """What the bar says about GPUs, most important first; of several only how busy each is."""
    if len(gpus) > 1:
        shares = " ".join(glyphs.missing if gpu.utilization is None else f"{gpu.utilization:.0f}" for gpu in gpus)
        return [f"{len(gpus)} GPUs {shares} %"]
    gpu = gpus[0]
    facts = ["GPU" if gpu.utilization is None else f"GPU {gpu.utilization:.0f}%"]
    if gpu.memory_used is not None:
        total = f"/{words.gib(gpu.memory_total)}" if gpu.memory_total is not None else ""
        facts.append(f"{words.gib(gpu.memory_used)}{total} GiB")
    if gpu.power is not None:
        facts.append(f"{gpu.power:.0f} W")
    if gpu.temperature is not None:
        facts.append(f"{gpu.temperature:.0f} {glyphs.degree}")
    return facts


def host_facts(host: HostSample) -> list[str]:
    """What the bar says about the host where there is no GPU."""
    facts = []
    if host.cpu_percent is not None:
        facts.append(f"CPU {host.cpu_percent:.0f}%")
    if host.ram_used is not None:
        total = f"/{words.gib(host.ram_total)}" if host.ram_total is not None else ""
        facts.append(f"RAM {words.gib(host.ram_used)}{total} GiB")
    return facts


class TopBar(Widget):
    """One line: name, places (the active one marked, all clickable) and as many facts as fit."""

    DEFAULT_CSS = """
    TopBar {
        dock: top;
        width: 100%;
        height: 1;
        background: $panel;
        color: $foreground;
    }
    """
    ALLOW_SELECT = False

    def __init__(self, active: Place) -> None:
        super().__init__()
        self.active = active
        self._facts: list[str] = []
        self._spans: list[tuple[int, int, Place]] = []

    def show_system(self, sample: SystemRecord, gpu_problem: str) -> None:
        """Show a new sample; redrawn only where what it says has changed."""
        glyphs = words.ASCII if getattr(self.app, "ascii_only", False) else words.UNICODE
        if sample.gpus:
            facts = gpu_facts(sample.gpus, glyphs)
        else:
            facts = ["no GPU" if gpu_problem in ("", "no GPU") else "GPU problem", *host_facts(sample.host)]
        if facts != self._facts:
            self._facts = facts
            self.refresh()

    def render(self) -> Content:
        """The line for the width there is."""
        width = self.size.width
        parts = self._left(width)
        used = sum(len(text) for text, _ in parts)
        facts = ""
        for fact in self._facts:
            longer = f"{facts}  {fact}" if facts else fact
            if used + 2 + len(longer) + 1 > width:
                break
            facts = longer
        if facts:
            parts.append((" " * (width - used - len(facts) - 1), ""))
            parts.append((facts, "$foreground-muted"))
        return Content.assemble(*parts)

    def _left(self, width: int) -> list[tuple[str, str]]:
        """Name and places, shortened to what fits; remembers where each place lies for clicks."""
        name, named = (" fmnist-tui ", True) if width >= 64 else (" ", width >= 48)
        parts = [(name, "bold $primary")]
        self._spans = []
        at = len(name)
        for tab in TABS:
            active = tab.place == self.active
            text = f" {tab.key} {tab.title} " if named or active else f" {tab.key} "
            self._spans.append((at, at + len(text), tab.place))
            at += len(text)
            parts.append((text, "bold $block-cursor-blurred-foreground on $primary-muted" if active else ""))
        return parts

    async def on_click(self, event: events.Click) -> None:
        """Go to the place that was clicked."""
        for start, end, place in self._spans:
            if start <= event.x < end:
                await self.run_action(f"app.go('{place}')")
