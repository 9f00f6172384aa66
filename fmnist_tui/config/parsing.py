"""From plain values to a RunConfig, and what is wrong with them: each field, its value and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from fmnist_tui.config.models import MODEL_KINDS
from fmnist_tui.config.run import SECTIONS, Reference, RunConfig
from fmnist_tui.wording import nearest, one_of, plain_words, shown


class FieldError(NamedTuple):
    """One thing wrong with a configuration: the dotted field ('' for the whole), the value, what to do."""

    field: str
    value: Any
    message: str

    def __str__(self) -> str:
        if not self.field:
            return self.message
        value = "" if self.value is None or isinstance(self.value, dict | BaseModel) else f" = {shown(self.value)}"
        return f"{self.field}{value}: {self.message}"


class ConfigError(ValueError):
    """A configuration that cannot be used; `errors` names each field, value and remedy."""

    def __init__(self, errors: Sequence[FieldError], where: str = "") -> None:
        self.errors = tuple(errors)
        self.where = where
        lines = [str(error) for error in self.errors]
        if len(lines) == 1:
            super().__init__(f"{where}: {lines[0]}" if where else lines[0])
        else:
            super().__init__("\n  ".join([f"{where or 'the configuration'}:", *lines]))


def parse_config(data: Mapping[str, Any], where: str = "") -> RunConfig:
    """A validated RunConfig from nested plain values (TOML, JSON, a form).

    `where` names the source in messages. Raises ConfigError naming each field, value and remedy.
    """
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_field_errors(error, data), where) from None


def _field_errors(error: ValidationError, data: Mapping[str, Any]) -> list[FieldError]:
    """pydantic's errors in our words, one a field."""
    found: dict[str, FieldError] = {}
    for item in error.errors():
        new = _field_error(item, data)
        if item["type"] == "too_short" and new.field in found:
            continue  # pydantic counts the good items only; the bad ones are said
        old = found.setdefault(new.field, new)
        if new.message.removeprefix("must be ") not in old.message:
            found[new.field] = old._replace(message=_joined(old.message, new.message))
    return list(found.values())


def _field_error(item: Mapping[str, Any], data: Mapping[str, Any]) -> FieldError:
    kind, value, path = item["type"], item["input"], [str(part) for part in item["loc"]]
    if kind == "cross_field":
        return FieldError(item["ctx"]["field"], item["ctx"]["value"], item["ctx"]["message"])
    if path == ["model"] and kind in ("union_tag_invalid", "union_tag_not_found", "missing"):
        value = value.get("kind") if kind != "missing" and isinstance(value, Mapping) else None
        return FieldError("model.kind", value, one_of(list(MODEL_KINDS), value))
    if path[:1] == ["model"] and len(path) > 1 and path[1] in MODEL_KINDS:
        del path[1]
    if kind == "extra_forbidden":
        return FieldError(".".join(path), None, _unknown_field_message(path, data))
    if kind == "missing":
        return FieldError(".".join(path), None, plain_words(item))
    message = plain_words(item)
    if len(path) > 2:  # an item of a list or a member of a union: the user wrote the field around it
        section = data.get(path[0])
        value = section.get(path[1]) if isinstance(section, Mapping) else value
        message = f"each {message}" if isinstance(item["loc"][-1], int) else message
    if value is None:  # which stands for no value elsewhere: 'seed: none is no value for it, must be a whole number'
        message = f"none is no value for it, {message}"
    return FieldError(".".join(path[:2]), value, message)


def _joined(first: str, second: str) -> str:
    """Two messages about one field: of a list both hold, of a union either."""
    if second.startswith("each must be "):
        return f"{first}, and {second.removeprefix('each must be ')}"
    head, hint, near = first.partition("; did you mean ")
    return f"{head}, or {second.removeprefix('must be ')}{hint}{near}"


def _unknown_field_message(path: Sequence[str], data: Mapping[str, Any]) -> str:
    parent, key = path[:-1], path[-1]
    known = _known_keys(parent, data)
    for section in SECTIONS:  # the right name in the wrong place
        if [section] != list(parent) and key in _known_keys([section], data):
            return f"no such field; did you mean {section}.{key}?"
    families = [kind for kind, model in MODEL_KINDS.items() if key in model.model_fields]
    if list(parent) == ["model"] and families:
        return f"a field of {' and '.join(families)}; the fields here are {', '.join(known)}"
    if near := nearest(key, known):
        return f"no such field; did you mean {'.'.join([*parent, near])}?"
    return f"no such field; the fields here are {', '.join(known)}"


def _known_keys(parent: Sequence[str], data: Mapping[str, Any]) -> list[str]:
    """The fields a section has; of the model section, those of the family `data` names."""
    if not parent:
        return [key for key in RunConfig.model_fields if key != "preset"]
    section = parent[0]
    if section == "model":
        model = data.get("model", {})
        kind = model.get("kind", "") if isinstance(model, Mapping) else ""
        return list(MODEL_KINDS[kind].model_fields) if kind in MODEL_KINDS else []
    annotation = Reference if section == "reference" else RunConfig.model_fields[section].annotation
    assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return list(annotation.model_fields)
