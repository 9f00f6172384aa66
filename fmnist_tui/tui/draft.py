"""A configuration being edited: what was typed, what is wrong with it, how it differs from its preset.

The New run screen's model, without Textual: the form shows a Draft and writes every keystroke into it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from fmnist_tui.config import MODEL_KINDS, SECTIONS, ConfigError, FieldError, RunConfig, parse_config
from fmnist_tui.fields import FieldSpec, exact, fields_of, parse_value, scale_schedule, with_changes

Raw = str | bool
"""What an input holds: the text as typed, the chosen literal, or on/off."""

InputKind = Literal["switch", "choice", "text", "number", "list"]

LABELS = ("name", "description")
"""The fields that are no hyperparameters."""


def input_kind(spec: FieldSpec) -> InputKind:
    """The input that suits a field's type; 'number' is also an optional number, or one beside words ('full')."""
    annotation = spec.info.annotation
    if annotation is bool:
        return "switch"
    if get_origin(annotation) is Literal:
        return "choice"
    if get_origin(annotation) is tuple:
        return "list"
    return "text" if annotation is str else "number"


def takes_none(spec: FieldSpec) -> bool:
    """Whether an empty input means None."""
    return type(None) in get_args(spec.info.annotation)


def shown(value: Any) -> str:
    """A value as people type it: '60, 120, 160', '0.05', 'none', 'on'."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return exact(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    return "none" if value is None else str(value)


def to_raw(value: Any) -> Raw:
    """What the input for this value holds."""
    if isinstance(value, bool):
        return value
    return "" if value is None or value == () else shown(value)


def from_raw(spec: FieldSpec, raw: Raw) -> Any:
    """The value an input's content stands for; text that is no value comes back as text."""
    if isinstance(raw, bool):
        return raw
    kind, text = input_kind(spec), raw.strip()
    if kind == "text":
        return raw
    if kind == "choice":
        return text
    if kind == "list":
        parts = text.strip("[]").replace(",", " ").split()
        return () if text.lower() == "none" else tuple(parse_value(part) for part in parts)
    if not text:
        return None if takes_none(spec) else ""
    return parse_value(text)


def _section_value(config: RunConfig, key: str) -> Any:
    section, _, name = key.rpartition(".")
    return getattr(getattr(config, section) if section else config, name)


class Change(NamedTuple):
    """A hyperparameter that is not the preset's: dotted key, the preset's value and this one, as text."""

    key: str
    old: str
    new: str


class Draft:
    """A RunConfig as it is edited, beside the preset it started from.

    `config` is None while anything is wrong; `valid` is then still the last good one. Every family's own
    fields are kept while another family is chosen, so that looking at one loses nothing.
    """

    def __init__(self, base: RunConfig, config: RunConfig | None = None) -> None:
        """Edit `config` (by default the preset itself) against the preset `base`."""
        self.base = base
        self.valid = base
        self.config: RunConfig | None = base
        self.field_errors: dict[str, str] = {}
        """Message by dotted key."""
        self.cross_errors: list[str] = []
        """Messages about several fields at once; `field_errors` has them too, where one of the fields is to blame."""
        self.involved: set[str] = set()
        """The fields, beside those to blame, that such messages speak of."""
        self._spanning: set[str] = set()
        """The fields to blame for them."""
        self._specs = {kind: {spec.key: spec for spec in fields_of(kind)} for kind in MODEL_KINDS}
        self._load(config or base)

    def _load(self, config: RunConfig) -> None:
        self._models = {kind: self._model_raws(kind) for kind in MODEL_KINDS}
        self._kind: str = config.model.kind
        self._raws: dict[str, Raw] = {}
        for key in self._specs[self._kind]:
            self._store(key, to_raw(_section_value(config, key)))
        self._check()

    def _model_raws(self, kind: str) -> dict[str, Raw]:
        """The inputs of a family's section as the preset, or else the family's defaults, have them."""
        keys = [key for key in self._specs[kind] if key.startswith("model.")]
        return {key: to_raw(self._base_value(kind, key)) for key in keys}

    def _base_value(self, kind: str, key: str) -> Any:
        if key == "model.kind":
            return self.base.model.kind
        if key.startswith("model.") and kind != self.base.model.kind:
            return getattr(MODEL_KINDS[kind](), key.removeprefix("model."))
        return _section_value(self.base, key)

    def _store(self, key: str, raw: Raw) -> None:
        (self._models[self._kind] if key.startswith("model.") else self._raws)[key] = raw

    @property
    def kind(self) -> str:
        """The model family."""
        return self._kind

    @property
    def specs(self) -> Mapping[str, FieldSpec]:
        """The fields of the chosen family by dotted key, in the order people read them."""
        return self._specs[self._kind]

    def raw(self, key: str, kind: str | None = None) -> Raw:
        """What the input of a field holds; `kind` names another family than the chosen one."""
        if key == "model.kind":
            return self._kind
        return self._models[kind or self._kind][key] if key.startswith("model.") else self._raws[key]

    def edit(self, key: str, raw: Raw) -> bool:
        """Take what was typed into a field; whether it changed anything."""
        if self.raw(key) == raw:
            return False
        if key == "model.kind":
            assert raw in MODEL_KINDS, raw
            self._kind = str(raw)
        else:
            self._store(key, raw)
        self._check()
        return True

    def reset(self, key: str) -> None:
        """Put a field back to the preset's value."""
        self.edit(key, to_raw(self._base_value(self._kind, key)))

    def reset_all(self) -> None:
        """Put every field back, and forget what was typed for other families."""
        self._load(self.base)

    def base_text(self, key: str) -> str:
        """The preset's value of a field as text."""
        return shown(self._base_value(self._kind, key))

    def changed(self, key: str) -> bool:
        """Whether a field's value is not the preset's; another way to write the same value is no change."""
        spec = self.specs[key]
        value = self._kind if key == "model.kind" else from_raw(spec, self.raw(key))
        return bool(value != self._base_value(self._kind, key))

    @property
    def changes(self) -> list[Change]:
        """The hyperparameters that are not the preset's; name and description are none (as `fields.differences`)."""
        keys = [key for key in self.specs if key not in LABELS and self.changed(key)]
        return [Change(key, self.base_text(key), self._new_text(key)) for key in keys]

    def _new_text(self, key: str) -> str:
        raw = self.raw(key)
        if key in self.field_errors:
            return str(raw) or "empty"
        return shown(raw if key == "model.kind" else from_raw(self.specs[key], raw))

    @property
    def renamed(self) -> list[str]:
        """Which of name and description are not the preset's."""
        return [key for key in LABELS if self.changed(key)]

    @property
    def edited(self) -> bool:
        """Whether any field at all is not the preset's."""
        return any(self.changed(key) for key in self.specs)

    @property
    def problems(self) -> list[str]:
        """Everything wrong, one line each: what spans several fields first."""
        alone = (f"{key}: {said}" for key, said in self.field_errors.items() if key not in self._spanning)
        return [*self.cross_errors, *alone]

    def scaled(self) -> dict[str, Raw]:
        """The preset's milestones and warm-up in proportion to the number of epochs typed, as inputs.

        Raises ConfigError where that is not possible; {} while the configuration is not valid.
        """
        if self.config is None:
            return {}
        keys = ("training.epochs", "schedule.milestones", "schedule.warmup_epochs")
        before = with_changes(self.config, {key: _section_value(self.base, key) for key in keys})
        moved = scale_schedule(before, self.config.training.epochs)
        return {key: to_raw(_section_value(moved, key)) for key in keys[1:]}

    def _data(self) -> dict[str, Any]:
        """The whole configuration as nested plain values, for validation."""
        data: dict[str, Any] = {section: {} for section in SECTIONS}
        data |= {"preset": self.base.preset, "reference": self.base.reference}
        for key, spec in self.specs.items():
            section, _, name = key.rpartition(".")
            value = self._kind if key == "model.kind" else from_raw(spec, self.raw(key))
            (data[section] if section else data)[name] = value
        return data

    def _check(self) -> None:
        self.field_errors, self.cross_errors, self.involved, self._spanning = {}, [], set(), set()
        try:
            self.config = self.valid = parse_config(self._data())
        except ConfigError as error:
            self.config = None
            for item in error.errors:
                self._take(item)

    def _take(self, error: FieldError) -> None:
        """Note an error at its field; one that speaks of other fields too is noted as a cross-field error."""
        own = error.field if error.field in self.specs else ""
        if own:
            empty = error.value == "" and input_kind(self.specs[own]) == "number"
            self.field_errors[own] = "needs a value" if empty else error.message
        others = {key for key in self.specs if key != own and _speaks_of(error.message, key, own)}
        self.involved |= others
        if others or not own:
            self._spanning.add(own)
            self.cross_errors.append(f"{own}: {error.message}" if own else str(error))


def _speaks_of(message: str, key: str, own: str) -> bool:
    """Whether a message names a field: by its dotted key, or by its name where it is in the error's own section."""
    section, _, name = key.rpartition(".")
    names = [key, name] if own.startswith(f"{section}.") else [key]
    return bool(section) and any(re.search(rf"(?<![\w.]){re.escape(name)}\b", message) for name in names)
