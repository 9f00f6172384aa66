"""What the app needs to know of terminals: themes, names of keys, and filters of what is drawn."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import BUILTIN_THEMES, Theme

from fmnist_tui import paths
from fmnist_tui.runs.files import replace_bytes

if TYPE_CHECKING:
    from textual.app import App

DARK = Theme(
    name="fmnist-dark",
    primary="#7FB2E5",
    secondary="#5F7FA3",
    accent="#D7A65F",
    success="#8CC084",
    warning="#E0AF68",
    error="#E57474",
    foreground="#D5D9DF",
    background="#14171C",
    surface="#1B1F26",
    panel="#232831",
    variables={"block-cursor-text-style": "none"},
)
LIGHT = Theme(
    name="fmnist-light",
    primary="#22609A",
    secondary="#5F7FA3",
    accent="#96610A",
    success="#2F7A3A",
    warning="#96610A",
    error="#B3372F",
    foreground="#22262B",
    background="#F7F6F3",
    surface="#ECEAE5",
    panel="#E1DED7",
    dark=False,
    variables={"block-cursor-text-style": "none"},
)
ANSI_DARK = replace(
    BUILTIN_THEMES["ansi-dark"],
    primary="ansi_bright_cyan",
    accent="ansi_bright_magenta",
    success="ansi_bright_green",
    warning="ansi_bright_yellow",
    error="ansi_bright_red",
    variables=BUILTIN_THEMES["ansi-dark"].variables
    | {"primary-muted": "ansi_blue", "input-selection-background": "ansi_cyan"},
)
"""Textual's, with colours that can be read on black and on the row under the cursor: its blue can on neither."""
ANSI_LIGHT = replace(
    BUILTIN_THEMES["ansi-light"],
    accent="ansi_magenta",
    variables=BUILTIN_THEMES["ansi-light"].variables | {"primary-muted": "ansi_bright_cyan"},
)
"""Textual's, with another row under the cursor: its keys are as blue as that was."""


USUAL_SIZE = (24, 80)
"""Rows and columns."""


def give_size() -> None:
    """Give the terminal the usual size where it has none, as under a program that forgot to say.

    Rich would take it for 80x25 and Textual for 80x24, and after each layout there would be another.
    """
    if sys.platform == "win32" or not sys.stdout.isatty():
        return
    import termios

    if 0 in termios.tcgetwinsize(sys.stdout):
        termios.tcsetwinsize(sys.stdout, USUAL_SIZE)


def draw_on_stdout() -> None:
    """Draw where the command line has found a terminal. Textual would on stderr, and `2>log` left the screen blank."""
    sys.__stderr__ = sys.__stdout__  # type: ignore[misc]


def set_themes(app: App[None]) -> None:
    """Register the app's own themes and take TEXTUAL_THEME's, or the one chosen last, or the usual one.

    That is the dark one, where the terminal has only 16 colours the one made of these. Textual has the variable's name
    already, without its colours where it is one of ours: it did not know them yet. So it is given another first.
    """
    for theme in (DARK, LIGHT, ANSI_DARK, ANSI_LIGHT):
        app.register_theme(theme)
    few = app.console.color_system == "standard" and not app.no_color
    wanted = (os.environ.get("TEXTUAL_THEME", ""), kept_choice("theme"), ANSI_DARK.name if few else DARK.name)
    app.theme = "textual-dark"
    app.theme = next(found.name for name in wanted if (found := app.get_theme(name)))


def kept_choice(what: str) -> str:
    """What was chosen last for 'theme' or 'bell'; '' where nothing was, or what was written can't be read."""
    try:
        return (paths.state_dir() / what).read_text().strip()
    except (OSError, ValueError):
        return ""


def keep_choice(what: str, value: str) -> None:
    """Write a choice down for the next time; where that can't be, it is as if nothing had been chosen."""
    with contextlib.suppress(OSError):
        paths.state_dir().mkdir(parents=True, exist_ok=True)
        replace_bytes(paths.state_dir() / what, f"{value}\n".encode())


def toggle_light(app: App[None]) -> None:
    """The app's light theme where a dark one is shown, else its dark one; of the terminal's own colours likewise."""
    dark, light = (ANSI_DARK, ANSI_LIGHT) if app.current_theme.ansi else (DARK, LIGHT)
    app.theme = light.name if app.current_theme.dark else dark.name


def shows_greys(app: App[None]) -> bool:
    """Whether pictures can be drawn in shades of grey: a terminal of 256 colours or more that may use them.

    With NO_COLOR Textual draws the app's own themes in greys, so pictures stay; only a theme of the terminal's own
    16 colours is then drawn without any.
    """
    if app.no_color and app.native_ansi_color:
        return False
    return app.console.color_system in ("256", "truecolor")


_KEY_NAMES = {
    "escape": "esc",
    "slash": "/",
    "question_mark": "?",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "full_stop": ".",
    "comma": ",",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "pageup": "pgup",
    "pagedown": "pgdn",
}


def key_name(key: str) -> str:
    """A key as people call it, in ASCII: 'enter', 'esc', '^p', 'shift+tab', '/'."""
    *modifiers, last = key.split("+")
    name = _KEY_NAMES.get(last, last)
    if "ctrl" in modifiers:
        modifiers.remove("ctrl")
        name = f"^{name}"
    return "+".join([*modifiers, name])


def _table() -> dict[int, str]:
    groups = {
        "-": "─━╌╍┄┅┈┉╴╶╸╺═–—−‐‑▔╼╾",
        "|": "│┃╎╏┆┇┊┋╵╷╹╻║▏▕┤├┨┠╿╽",
        "+": "┌┐└┘┬┴┼╭╮╰╯┏┓┗┛┳┻╋╔╗╚╝╦╩╬╠╣┡┩┢┪╇",
        "#": "█▉▊▋▌▐▀▄▇▆▅■▓▒▍▎",
        "_": "▁▂▃▖▗",
        ":": "░",
        "*": "●•◉★⬤",
        "o": "○◌◐◯",
        ">": "▶▸›»→❯",
        "<": "◀◂‹«←❮",
        "^": "▲▴↑",
        "v": "▼▾↓✓",
        "x": "✗✕×✖",
        "~": "…≈",
        ".": "·∙⋅",
        "'": "‘’",
        '"': "“”",
    }
    return {ord(character): plain for plain, characters in groups.items() for character in characters}


_ASCII = _table()


def to_ascii(text: str) -> str:
    """The text with other characters of the same width; what has no likeness becomes '?', braille a dot."""
    if text.isascii():
        return text
    mapped = text.replace(" ±", "+-").translate(_ASCII)
    if mapped.isascii():
        return mapped
    return "".join(
        character if character.isascii() else _braille(character) or "?" * cell_len(character) for character in mapped
    )


def _braille(character: str) -> str:
    if not 0x2800 <= ord(character) <= 0x28FF:
        return ""
    return " " if ord(character) == 0x2800 else "."


_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])


class ControlFilter(LineFilter):
    """Leaves out the control characters in what is drawn: a path or a message of the system may hold some.

    They count as no cells, so the line keeps its width; of an escape sequence its letters stay.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments without them."""
        return [
            segment
            if segment.control or segment.text.isprintable()
            else Segment(segment.text.translate(_CONTROLS), segment.style)
            for segment in segments
        ]


class AsciiFilter(LineFilter):
    """The last step of drawing on a terminal without Unicode: covers Textual's own borders and scroll bars too."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments in ASCII."""
        return [
            segment if segment.control or segment.text.isascii() else Segment(to_ascii(segment.text), segment.style)
            for segment in segments
        ]
