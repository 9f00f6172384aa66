"""Reading and changing a RunConfig field by field: what `--set`, the app's form and the report work with.

A field is named by its dotted path ('optimizer.lr'). What a field means and its bounds stand in `config`.
"""

from __future__ import annotations

import math
import re
import tomllib
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fmnist_tui.config import MODEL_KINDS, SECTIONS, ConfigError, FieldError, RunConfig, parse_config
from fmnist_tui.remedies import COMMAND_LINE, remedy
from fmnist_tui.wording import nearest


class FieldSpec(NamedTuple):
    """A field as a form or a help text needs it: dotted key, pydantic's FieldInfo, unit and help."""

    key: str
    info: FieldInfo

    @property
    def unit(self) -> str:
        """Unit of the value, '' where it has none."""
        extra = self.info.json_schema_extra
        return str(extra.get("unit", "")) if isinstance(extra, dict) else ""

    @property
    def help(self) -> str:
        """The field's help text."""
        return self.info.description or ""

    @property
    def bounds(self) -> str:
        """The field's bounds in words, for example '0 < x <= 100'; '' where it has none."""
        return _bounds(self.info)

    @property
    def choices(self) -> tuple[str, ...]:
        """The literal values the field takes; () where it is not an enumeration."""
        if self.key == "model.kind":
            return tuple(MODEL_KINDS)
        return tuple(_literals(self.info.annotation))


def _literals(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from (str(value) for value in get_args(annotation))
    elif get_origin(annotation) in (Union, types.UnionType, Annotated):
        for part in get_args(annotation):
            yield from _literals(part)


def _metadata(info: FieldInfo) -> Iterator[Any]:
    """Constraint objects of a field, also those of the parts of an optional or annotated type."""
    yield from info.metadata
    for part in get_args(info.annotation):
        for extra in getattr(part, "__metadata__", ()):
            yield from extra.metadata if isinstance(extra, FieldInfo) else (extra,)


def _bounds(info: FieldInfo) -> str:
    low = high = ""
    for item in _metadata(info):
        for name, sign in (("ge", "<="), ("gt", "<")):
            if (value := getattr(item, name, None)) is not None:
                low = f"{_number(value)} {sign} "
        for name, sign in (("le", "<="), ("lt", "<")):
            if (value := getattr(item, name, None)) is not None:
                high = f" {sign} {_number(value)}"
    return f"{low}x{high}" if low or high else ""


def _number(bound: float) -> str:
    """'65,536', '0.5'."""
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


def fields_of(model_kind: str) -> list[FieldSpec]:
    """Every field a user may set for a model family: 'seed', 'name', 'model.depth', ..., 'training.deterministic'.

    Raises KeyError for an unknown family; `reference` and `preset` are not for users to set, `group` has an option.
    """
    top = RunConfig.model_fields
    specs = [FieldSpec(key, top[key]) for key in ("name", "description", "seed")]
    for section in SECTIONS:
        model = MODEL_KINDS[model_kind] if section == "model" else top[section].annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)
        specs += [FieldSpec(f"{section}.{key}", info) for key, info in model.model_fields.items()]
    return specs


def parse_value(text: str, key: str = "") -> Any:
    """A value typed on the command line or in a form: TOML where it parses, 'none' is None, else the text.

    Also takes what people type and TOML does not: True and False, .5 and 1., and a list without its brackets.
    With the `key` of a field that holds text ('name', 'description') the text is the value, even '2024'.
    """
    text = text.strip()
    if key in TEXT_FIELDS and not text.startswith(('"', "'")):
        return text
    if text.lower() in _WORD_VALUES:
        return _WORD_VALUES[text.lower()]
    if _SHORT_FLOAT.fullmatch(text):
        return float(text)
    value = _toml_value(text)
    if value is None and "," in text:
        value = _toml_value(f"[{text}]")
    return text if value is None else value


TEXT_FIELDS = ("name", "group", "description")
_WORD_VALUES = {"none": None, "null": None, "true": True, "false": False}
_SHORT_FLOAT = re.compile(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def _toml_value(text: str) -> Any:
    """The value that a line of TOML with this after the '=' holds; None where it is no such line."""
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # ValueError also for an integer of thousands of digits
        return None
    return read["value"] if len(read) == 1 else None


def with_changes(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration with dotted fields replaced: ``{"optimizer.lr": 0.05}``.

    Changing `model.kind` starts from that family's defaults. Raises ConfigError.
    """
    data = config.model_dump()
    errors: list[FieldError] = []
    for key in sorted(changes, key=lambda k: k != "model.kind"):
        value = changes[key]
        path = key.split(".")
        if path[0] in ("reference", "preset"):
            errors.append(FieldError(key, value, "describes a preset and cannot be set on a run"))
        elif key == "model.kind" and value != data["model"]["kind"]:
            data["model"] = {"kind": value}
        elif len(path) == 1 and (path[0] in SECTIONS):
            example = next(spec.key for spec in fields_of(config.model.kind) if spec.key.startswith(f"{key}."))
            errors.append(FieldError(key, value, f"is a section; set one of its fields, for example {example}"))
        elif len(path) == 1:
            data[path[0]] = value
        elif len(path) == 2 and path[0] in SECTIONS:
            data[path[0]][path[1]] = value
        else:
            near = nearest(key, [spec.key for spec in fields_of(config.model.kind)])
            errors.append(FieldError(key, None, "no such field" + (f"; did you mean {near}?" if near else "")))
    if errors:
        raise ConfigError(errors)
    return parse_config(data)


def differences(config: RunConfig, base: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted fields whose values differ, as (base's value, config's value); None where one has no such field.

    Names, descriptions and reference rows are not hyperparameters and are left out.
    """
    return changed_fields(flatten(base), flatten(config))


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The same of two flat configurations."""
    keys = dict.fromkeys([*before, *after])
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def flatten(config: RunConfig) -> dict[str, Any]:
    """Every hyperparameter by dotted name, seed first."""
    flat: dict[str, Any] = {"seed": config.seed}
    for section in SECTIONS:
        flat |= {f"{section}.{key}": value for key, value in getattr(config, section).model_dump().items()}
    return flat


def exact(value: float) -> str:
    """A number of a configuration in as many digits as tell it from every other: a search draws lr = 0.03128475613."""
    return repr(value).removesuffix(".0")


def field_value(value: Any) -> str:
    """A field's value as the user would type it in TOML, None as 'none'."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return exact(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(field_value, value))}]"
    return str(value)


def scale_schedule(config: RunConfig, epochs: int) -> RunConfig:
    """The configuration over another number of epochs, its milestones and warm-up moved in proportion.

    Milestones that would fall on one epoch are moved apart, and none is moved past the end of the run. Raises
    ConfigError where the epochs are too few for that, or not a valid number.
    """
    changes: dict[str, Any] = {"training.epochs": epochs}
    if epochs > 0:
        ratio = epochs / config.training.epochs
        changes["schedule.warmup_epochs"] = round(config.schedule.warmup_epochs * ratio, 4)
        if config.schedule.kind == "step":
            changes["schedule.milestones"] = _moved_milestones(config, ratio, epochs)
    return with_changes(config, changes)


def _moved_milestones(config: RunConfig, ratio: float, epochs: int) -> list[int]:
    """The milestones at the same shares of a run of `epochs`; those beyond its end before stay beyond it."""
    reached = sum(milestone <= config.training.epochs for milestone in config.schedule.milestones)
    if epochs < reached + 1:
        message = f"too few to move {reached} milestones in proportion; take {reached + 1} or more"
        raise ConfigError([FieldError("training.epochs", epochs, message)])
    moved: list[int] = []
    for i, milestone in enumerate(config.schedule.milestones):
        earliest = moved[-1] + 1 if moved else 2
        at = max(earliest, round(1 + (milestone - 1) * ratio))
        moved.append(at if i < reached else max(at, epochs + 1))
    latest = epochs
    for i in reversed(range(reached)):
        moved[i] = min(moved[i], latest)
        latest = moved[i] - 1
    return moved


def steps_per_epoch(config: RunConfig, train_images: int) -> int:
    """Steps in an epoch over `train_images` images; the last batch may be smaller."""
    return math.ceil(train_images / config.training.batch_size)


def notes(config: RunConfig, words: Mapping[str, str] = COMMAND_LINE) -> list[str]:
    """What a user should know about a valid configuration, milestones never reached and the like, in a room's words."""
    said = []
    schedule, training = config.schedule, config.training
    unreached = [m for m in schedule.milestones if m > training.epochs] if schedule.kind == "step" else []
    if unreached:
        what = ", ".join(map(str, unreached))
        word = "milestone" if len(unreached) == 1 else "milestones"
        helps = remedy("scale schedule").worded(words)
        if training.epochs <= len(schedule.milestones):  # scale_schedule would refuse so few
            helps = "so few epochs want another schedule.kind, for example cosine"
        said.append(
            f"schedule.milestones: {word} {what} will never be reached in {training.epochs} "
            f"{'epoch' if training.epochs == 1 else 'epochs'}; {helps}"
        )
    if training.eval_every > training.epochs:
        said.append(
            f"training.eval_every = {training.eval_every}: only the last epoch ({training.epochs}) will be evaluated"
        )
    if config.data.hold_out:
        said.append(
            f"data.hold_out = {config.data.hold_out}: accuracies are of held-out training images, no test image is "
            "looked at; its results have a table of their own"
        )
    if config.data.source == "sample":
        said.append(
            "data.source = sample: a small subset, for trying things; its results stay out of the full-data table"
        )
    return said
