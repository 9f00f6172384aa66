"""The theme's colours for what is drawn cell by cell instead of by CSS: the tables and the confusion matrix.

Most themes have colours that can be mixed. Those of the terminal's own 16 (`ansi-dark`, `ansi-light`) can't: what is
translucent there is dim.
"""

from __future__ import annotations

from typing import Any

from rich.style import Style
from textual.app import App
from textual.color import Color


def is_ansi(app: App[Any]) -> bool:
    """Whether the theme has the terminal's own colours."""
    return Color.parse(app.theme_variables["background"]).ansi is not None


def theme_color(app: App[Any], name: str) -> Color:
    """A theme's colour; a translucent one as it looks on the background, but one of the terminal's own as it is."""
    color = Color.parse(_value(app, name).partition(" ")[0])
    return Color.parse(app.theme_variables["background"]) + color if color.a < 1 else color


def theme_style(app: App[Any], name: str) -> Style:
    """The same as the style of a text."""
    dim = is_ansi(app) and "%" in _value(app, name)
    return Style(color=theme_color(app, name).rich_color, dim=dim or None)


def _value(app: App[Any], name: str) -> str:
    """As Textual has it: '#14171c', 'ansi_default 50%'. Themes of the terminal's own colours lack the palest one."""
    variables = app.theme_variables
    return variables[name] if name in variables else variables["foreground-muted"]
