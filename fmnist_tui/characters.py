"""Which characters a name or another text on one line may hold. Used by `config` to refuse, by `report` to replace."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
"""Zero width non-joiner and joiner: invisible, and yet part of the spelling: of emoji made of several (a family), of
Persian and of Indian scripts. Python's isprintable() refuses them with all others of Unicode's category Cf."""


def unfit(text: str) -> str:
    """The first character that is not printable, as 'U+202E (RIGHT-TO-LEFT OVERRIDE)'; '' where all are.

    Control characters, which a terminal would obey, line separators, what turns the direction of text, and invisible
    ones. A joiner is fit between two characters beyond ASCII: between others it would only make names look alike.
    """
    for at, character in enumerate(text):
        if not (character.isprintable() or (character in JOINERS and _joins(text, at))):
            name = unicodedata.name(character, "")
            return f"U+{ord(character):04X}" + (f" ({name})" if name else "")
    return ""


def _joins(text: str, at: int) -> bool:
    """Whether the characters before and after are visible and beyond ASCII."""
    around = (text[at - 1 : at], text[at + 1 : at + 2])
    return all(character.isprintable() and character > "\x7f" for character in around)
