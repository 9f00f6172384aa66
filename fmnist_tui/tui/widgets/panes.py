"""How the three panes of the New run screen stand: side by side, or one at a time under one-line tabs.

What the panes show is the screen's. Sizes are set on the widgets, not by classes on the screen: those would
have Textual style every widget of the form anew at each change.
"""

from __future__ import annotations

from typing import NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

MEDIUM_FROM, WIDE_FROM = 110, 160
"""Columns from which the outlook stands beside the settings, and the presets too."""
OUTLOOK_WIDTHS = ((190, 88), (0, 59))
"""The outlook's width from which width of the terminal: three pictures side by side, or two."""
PRESETS_WIDTH, PRESETS_HEIGHT = 42, 10
"""Of the presets in a column of their own, and at most above the settings."""


class Pane(NamedTuple):
    """A pane: its name and its title."""

    name: str
    title: str


PANES = (Pane("presets", "Presets"), Pane("settings", "Settings"), Pane("outlook", "What would happen"))
KEY_HINT = "  ^t for the next"


class PaneTabs(Widget):
    """Titles of the panes, the one on top marked; a click brings another to the front."""

    DEFAULT_CSS = "PaneTabs { height: 1; background: $boost; }"
    ALLOW_SELECT = False
    active = reactive("presets")
    news = reactive("")
    """What there is new of the outlook, in a word or two; '' for nothing."""

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

    def render(self) -> Content:
        """' Presets  Settings  What would happen: measuring ', and the key that goes on where there is room."""
        mark = "bold $block-cursor-blurred-foreground on $primary-muted"
        titles = self._titles()
        parts = [(f" {title} ", mark if name == self.active else "") for name, title in titles.items()]
        room = self.size.width - sum(len(title) + 2 for title in titles.values()) - 1
        hint = KEY_HINT if room >= len(KEY_HINT) or not self.news else ""
        return Content.assemble(" ", *parts, (hint, "$foreground-muted"))

    def _titles(self) -> dict[str, str]:
        """What stands on the tabs; where there is no room for title and news, the news."""
        titles = dict(PANES)
        if self.news:
            titles["outlook"] = f"{titles['outlook']}: {self.news}"
            if sum(len(title) + 2 for title in titles.values()) + 1 > self.size.width:
                titles["outlook"] = self.news
        return titles

    def on_click(self, event: events.Click) -> None:
        """Choose the tab that was clicked."""
        left = 1
        for name, title in self._titles().items():
            right = left + len(title) + 2
            if left <= event.x < right:
                self.post_message(self.Chosen(name))
            left = right


class Panes(Container):
    """The tabs and the panes."""

    DEFAULT_CSS = """
    Panes { height: 1fr; layout: vertical; }
    Panes #columns, Panes #left, Panes #settings-pane { height: 1fr; }
    Panes #left, Panes #settings-pane { width: 1fr; }
    Panes .heading { height: 1; width: 1fr; padding: 0 1; text-style: bold; background: $boost; }
    Panes .divider { width: 1; height: 1fr; border-left: vkey $panel; }
    """

    def __init__(self, presets: Widget, settings: Widget, outlook: Widget, active: str) -> None:
        super().__init__()
        self.active = active
        """The pane on top where only one is shown, and the one ^t goes on from."""
        self._panes = dict(zip((pane.name for pane in PANES), (presets, settings, outlook), strict=True))
        for name, pane in self._panes.items():
            pane.id = f"{name}-pane"

    def compose(self) -> ComposeResult:
        """Tabs; presets and settings, which share the left side; outlook."""
        yield PaneTabs(id="tabs")
        with Horizontal(id="columns"):
            with Container(id="left"):
                yield self._panes["presets"]
                yield Static(id="before-settings", classes="divider")
                yield self._panes["settings"]
            yield Static(id="before-outlook", classes="divider")
            yield self._panes["outlook"]

    def show(self, name: str) -> None:
        """Bring a pane to the front."""
        self.note(name)
        self.arrange_for(self.screen.size)

    def tell(self, news: str) -> None:
        """Say in a word or two what there is new of the outlook, wherever it stands and whatever stands before it."""
        if news != self.query_one(PaneTabs).news:
            self.query_one(PaneTabs).news = news
            title = dict(PANES)["outlook"]
            self._panes["outlook"].query_one(".heading", Static).update(f"{title}: {news}" if news else title)

    def note(self, name: str) -> None:
        """Take note that this pane has the focus."""
        self.active = self.query_one(PaneTabs).active = name

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane with the focus is the one that stays when the terminal gets narrow."""
        for name, pane in self._panes.items():
            if pane in event.widget.ancestors:
                self.note(name)

    @property
    def next(self) -> str:
        """The pane after the active one."""
        names = list(self._panes)
        return names[(names.index(self.active) + 1) % len(names)]

    def arrange_for(self, terminal: Size) -> None:
        """Three columns, or presets above the settings and the outlook beside, or one pane at a time."""
        narrow, wide = terminal.width < MEDIUM_FROM, terminal.width >= WIDE_FROM
        for name, pane in self._panes.items():
            pane.display = not narrow or name == self.active
        left, presets, outlook = self.query_one("#left"), self._panes["presets"], self._panes["outlook"]
        left.display = not narrow or self.active != "outlook"
        left.styles.layout = "horizontal" if wide else "vertical"
        presets.styles.width = PRESETS_WIDTH if wide else "1fr"
        presets.styles.height = "1fr" if narrow or wide else "auto"
        for listed in presets.query("#presets"):  # below the heading: of the pane's whole height its end was cut off
            listed.styles.height = "1fr" if narrow or wide else "auto"
            listed.styles.max_height = None if narrow or wide else PRESETS_HEIGHT - 1
        outlook.styles.width = "1fr"
        if not narrow:
            outlook.styles.width = next(width for least, width in OUTLOOK_WIDTHS if terminal.width >= least)
        self.query_one(PaneTabs).display = narrow
        self.query_one("#before-settings").display = wide
        self.query_one("#before-outlook").display = not narrow
        for heading in self.query(".heading"):
            heading.display = not narrow
