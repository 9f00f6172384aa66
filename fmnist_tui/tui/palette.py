"""How the command palette (Ctrl+P) finds and shows the app's commands: letter for letter, names of runs included.

Named by the app's COMMANDS in place of Textual's own provider, which takes titles and help for markup: a run may be
called `weights[/b]`. Textual's `escape` is no remedy, since it leaves `[$primary]` and `[A]`, which are markup too,
and the backslashes it adds move what a search highlights.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import SystemCommand
from textual.command import DiscoveryHit, Hit, Hits, Matcher, Provider
from textual.content import Content


class LiteralCommands(Provider):
    """The commands of the app's `get_system_commands`."""

    async def discover(self) -> Hits:
        """Those shown before anything is typed, by title."""
        for command in sorted(self.app.get_system_commands(self.screen), key=lambda command: command.title):
            if command.discover:
                title = Content(command.title)
                yield DiscoveryHit(title, command.callback, text=command.title, help=_help(command))

    async def search(self, query: str) -> Hits:
        """Those whose title has the letters typed, in their order."""
        matcher = self.matcher(query)
        for command in self.app.get_system_commands(self.screen):
            score, offsets = matcher.fuzzy_search.match(query, command.title)
            if score > 0:
                title = _highlighted(command.title, offsets, matcher)
                yield Hit(score, title, command.callback, text=command.title, help=_help(command))


def _highlighted(title: str, offsets: Sequence[int], matcher: Matcher) -> Content:
    """The title with the letters at these offsets in the palette's style of a match."""
    content = Content(title)
    for offset in offsets:
        if not title[offset].isspace():
            content = content.stylize(matcher.match_style, offset, offset + 1)
    return content


def _help(command: SystemCommand) -> str:
    # The palette passes help to Content.from_markup, which returns a Content as it is; its type says str.
    return Content(command.help)  # type: ignore[return-value]
