"""What pydantic finds wrong, in words for people who write configurations, not Python; text without control codes.

Used by `config` for a RunConfig and by `runs` for the records of a run; none of pydantic's own words gets out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import PydanticCustomError

_WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "extra_forbidden": "no such field",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "json_invalid": "is not valid JSON: {error}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list, for example [60, 120]",
    "missing": "is required",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_long": "must be at most {max_length} characters long",
    "string_too_short": "must not be empty",
    "string_type": "must be text in quotes",
    "string_unicode": "must be valid Unicode text",
    "too_long": "must hold at most {max_length} numbers, not {actual_length}",
    "too_short": "must hold {min_length} or more numbers, not {actual_length}",
    "tuple_type": "must be a list, for example [60, 120]",
}
"""What to say for each of pydantic's error types that a configuration or a record can meet."""

_CONTROLS = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]"  # colours, movements of the cursor
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # a window's title, the clipboard: with all that is in it
    r"|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)

_SECTION_TYPES = ("dict_type", "model_type", "model_attributes_type")
_WRITTEN_AS_TEXT = {
    "int_type": re.compile(r"\s*[+-]?\d+\s*"),
    "float_type": re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"),
    "bool_type": re.compile(r"\s*(true|false)\s*"),
}
_SHOWN_LENGTH = 80


def plain_words(item: Mapping[str, Any]) -> str:
    """One of pydantic's errors (an item of `ValidationError.errors()`) as what the value must be."""
    kind, context, value = item["type"], item.get("ctx", {}), item.get("input")
    if kind == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    if kind in _SECTION_TYPES:
        return "must be a section with fields of its own"
    if kind in ("literal_error", "enum"):
        return one_of(re.findall(r"'([^']*)'", str(context["expected"])), value)
    if isinstance(value, str) and kind in ("too_short", "too_long"):  # so pydantic names them for a text or None
        kind = f"string_{kind}"
    if kind not in _WORDS:
        return "is not valid: " + str(item["msg"]).removeprefix("Input should be ")
    words = _WORDS[kind].format(**{key: f"{x:g}" if isinstance(x, float) else x for key, x in context.items()})
    if isinstance(value, str) and kind in _WRITTEN_AS_TEXT and _WRITTEN_AS_TEXT[kind].fullmatch(value):
        return f"{words}, without quotes"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"{words}, without a decimal point"
    return words


def one_of(choices: Sequence[str], value: Any) -> str:
    """That a value must be one of the choices, and which one was likely meant."""
    listed = " or ".join(choices) if len(choices) < 3 else f"one of {', '.join(choices)}"
    near = nearest(value, choices) if isinstance(value, str) else ""
    return f"must be {listed}" + (f"; did you mean {near}?" if near else "")


def nearest(word: str, words: Sequence[str]) -> str:
    """The known word a user most likely meant, '' where none is near."""
    if _OTHER_NAMES.get(word) in words:
        return _OTHER_NAMES[word]
    close = difflib.get_close_matches(word[:_SHOWN_LENGTH], words, n=1, cutoff=0.5)
    return close[0] if close else ""


_OTHER_NAMES = {
    "learning_rate": "lr",
    "wd": "weight_decay",
    "batch": "batch_size",
    "widen": "widen_factor",
    "dropout": "drop_rate",
    "wrn": "wide_resnet",
    "wideresnet": "wide_resnet",
    "resnet": "wide_resnet",
    "dpn": "dual_path_net",
}
"""Names other tools use, for "did you mean"."""


def shown(value: Any) -> str:
    """A value as people write it in a configuration, on one line and not too long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        text = f"[{', '.join(shown(item) for item in value)}]"
    elif isinstance(value, str | float | int):
        text = repr(value)
    else:
        text = str(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."


def without_controls(text: str) -> str:
    """Text a terminal only shows: escape sequences and control characters are gone, line ends and tabs stay."""
    return text if text.isprintable() else _CONTROLS.sub("", text)


def cross_field(field: str, value: Any, message: str) -> PydanticCustomError:
    """What a validator raises for a rule over several fields: the error belongs to `field` (dotted)."""
    return PydanticCustomError("cross_field", "{message}", {"field": field, "value": value, "message": message})
