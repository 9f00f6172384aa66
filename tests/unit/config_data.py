"""Configurations as data, as the tests of RunConfig change them."""

from __future__ import annotations

from typing import Any

import pytest

from fmnist_tui.config import (
    ConfigError,
    FieldError,
    RunConfig,
    parse_config,
)

PYDANTIC_WORDS = (
    "Input should",
    "Value error",
    "valid integer",
    "valid tuple",
    "valid string",
    "valid dictionary",
    "Tuple should",
    "String should",
    "after validation",
    "instance of",
    "constrained-int",
    "is not valid:",  # what `plain_words` says of an error it has no words for
)

SCHEDULES = "step, cosine, linear, constant, one_cycle"


def data_for(kind: str = "wide_resnet", **changes: Any) -> dict[str, Any]:
    """A valid configuration of a family as plain values, with dotted fields ('optimizer__lr') replaced."""
    data: dict[str, Any] = {"model": {"kind": kind}, "schedule": {"milestones": [60, 120, 160]}}
    for key, value in changes.items():
        section, _, field = key.partition("__")
        if field:
            data.setdefault(section, {})[field] = value
        else:
            data[section] = value
    return data


def put(data: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    section, _, field = key.partition(".")
    if field:
        data.setdefault(section, {})[field] = value
    else:
        data[section] = value
    return data


def errors_of(data: dict[str, Any]) -> dict[str, FieldError]:
    """What is wrong by field; fails where the configuration is accepted or pydantic's words leak out."""
    with pytest.raises(ConfigError) as caught:
        parse_config(data)
    text = str(caught.value)
    assert not any(word in text for word in PYDANTIC_WORDS), text
    assert all(error.message for error in caught.value.errors)
    return {error.field: error for error in caught.value.errors}


def value_of(config: RunConfig, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
