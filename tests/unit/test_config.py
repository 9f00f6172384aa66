"""RunConfig: bounds, types, names, rules over several fields, messages. Round trips: test_config_roundtrip.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel, ValidationError

from fmnist_tui.config import (
    CLASSES,
    MODEL_KINDS,
    SECTIONS,
    ConfigError,
    DualPathNetConfig,
    FieldError,
    Reference,
    RunConfig,
    parse_config,
)
from fmnist_tui.fields import FieldSpec, fields_of
from fmnist_tui.wording import nearest

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
SPECS = [(kind, spec) for kind in MODEL_KINDS for spec in fields_of(kind)]
SPEC_IDS = [f"{kind}:{spec.key}" for kind, spec in SPECS]
each_field = pytest.mark.parametrize(("kind", "spec"), SPECS, ids=SPEC_IDS)


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


def constraints(spec: FieldSpec) -> Iterator[Any]:
    """The single bounds of a field, with those inside an optional, a union or a list."""

    def inside(annotation: Any) -> Iterator[Any]:
        for extra in getattr(annotation, "__metadata__", ()):
            yield from getattr(extra, "metadata", [extra])
        for part in get_args(annotation):
            yield from inside(part)

    yield from spec.info.metadata
    yield from inside(spec.info.annotation)


def is_list(spec: FieldSpec) -> bool:
    return get_origin(spec.info.annotation) is tuple


def is_number(spec: FieldSpec) -> bool:
    flat = [spec.info.annotation, *get_args(spec.info.annotation)]
    flat += [get_args(part)[0] for part in flat if hasattr(part, "__metadata__")]
    return int in flat or float in flat


def value_of(config: RunConfig, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


BOUNDS = [
    (kind, spec, type(bound).__name__.lower(), getattr(bound, type(bound).__name__.lower()))
    for kind, spec in SPECS
    for bound in constraints(spec)
    if isinstance(bound, annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt)
]

# Fields whose values also obey a rule: the valid value next to a bound, where the bound itself breaks the rule,
# and what else has to change for the bound to be allowed.
COMPANIONS: dict[tuple[str, Any], dict[str, Any]] = {
    ("optimizer.momentum", 0.0): {"optimizer.nesterov": False},
    ("optimizer.lr", 0.0): {"schedule.min_lr": 0.0},
    ("schedule.min_lr", 100.0): {"optimizer.lr": 100.0},
    ("schedule.warmup_epochs", 1000.0): {"training.epochs": 2000},
    ("training.micro_batch", 65_536): {"training.batch_size": 65_536},
    ("model.depth", 7): {"model.bottleneck": False},
}


@pytest.mark.parametrize(("kind", "spec", "bound", "limit"), BOUNDS, ids=[f"{k}:{s.key}:{b}" for k, s, b, _ in BOUNDS])
def test_every_bound_at_and_beyond_the_limit(kind: str, spec: FieldSpec, bound: str, limit: Any) -> None:
    whole = isinstance(limit, int)
    multiples = {"model.base_channels": 2, "model.whitening_filters": 2, "augment.low_resolution": 4}
    step = multiples.get(spec.key, 1)
    below, above = (limit - step, limit + step) if whole else (math.nextafter(limit, -9e9), math.nextafter(limit, 9e9))
    inside = {"ge": limit, "gt": above, "le": limit, "lt": below}[bound]
    outside = {"ge": below, "gt": limit, "le": above, "lt": limit}[bound]

    def data(value: Any) -> dict[str, Any]:
        made = data_for(kind)
        for key, companion in COMPANIONS.get((spec.key, limit), {}).items():
            put(made, key, companion)
        if kind == "dual_path_net" and spec.key.startswith("model.") and is_list(spec):
            for name in ("blocks", "filters", "growth_rate"):
                made["model"][name] = [value if spec.key == f"model.{name}" else 4]
        else:
            put(made, spec.key, [value] if is_list(spec) else value)
        return made

    accepted = parse_config(data(inside))
    assert value_of(accepted, spec.key) in (inside, (inside,))
    error = errors_of(data(outside))[spec.key]
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}[bound]
    assert f"{words} {limit}" in error.message if whole else f"{words} {limit:g}" in error.message
    assert str(error).startswith(f"{spec.key} = ")


def test_the_generic_test_of_bounds_meets_the_bounds_of_the_table() -> None:
    met = {(kind, spec.key, bound): limit for kind, spec, bound, limit in BOUNDS}
    table = {
        ("wide_resnet", "model.depth"): (10, 202),
        ("wide_resnet", "model.widen_factor"): (1, 20),
        ("densenet", "model.growth_rate"): (1, 128),
        ("dual_path_net", "model.filters"): (1, 4096),
        ("shake_shake", "model.base_channels"): (2, 512),
        ("shake_shake", "seed"): (0, 2**32 - 1),
        ("wide_resnet", "augment.cutout_size"): (0, 28),
        ("wide_resnet", "augment.crop_padding"): (0, 14),
        ("wide_resnet", "training.batch_size"): (1, 65_536),
        ("wide_resnet", "training.micro_batch"): (1, 65_536),
    }
    for (kind, key), (low, high) in table.items():
        assert (met[kind, key, "ge"], met[kind, key, "le"]) == (low, high), key
    assert met["wide_resnet", "training.max_steps", "ge"] == 1
    assert met["wide_resnet", "schedule.milestones", "ge"] == 2
    assert met["wide_resnet", "training.stop_at_accuracy", "gt"] == 0.0
    assert met["wide_resnet", "optimizer.lr", "gt"] == 0.0
    assert met["wide_resnet", "optimizer.momentum", "lt"] == 1.0


@each_field
def test_every_field_has_help_and_every_number_a_unit(kind: str, spec: FieldSpec) -> None:
    assert len(spec.help) > 8
    assert spec.help[0].isupper() or spec.help.split(":")[0] in spec.choices or spec.help.startswith("torch")
    assert spec.help.endswith("."), spec.help
    plain_counts = {"seed"}
    assert bool(spec.unit) == ((is_number(spec) or is_list(spec)) and spec.key not in plain_counts), spec.key
    if spec.unit:
        assert spec.bounds, f"{spec.key} is a number without bounds"


def test_the_reference_row_has_help_too() -> None:
    assert all(info.description for info in Reference.model_fields.values())


@each_field
def test_types_are_strict(kind: str, spec: FieldSpec) -> None:
    good = spec.info.get_default(call_default_factory=True)
    if spec.key == "model.kind" or spec.info.is_required():
        return
    wrong: list[Any] = [{"a": 1}, ["a"], b"x"]
    if isinstance(good, bool):
        wrong += [1, 0, "true", "yes", None]
    elif is_list(spec):
        wrong += [5, "5", [True], ["5"], [5.0], [5.5], [None], {"4": 4}]
    elif not isinstance(good, str) or spec.key in ("training.micro_batch", "training.threads"):
        wrong += ["20", True, False, math.nan, math.inf, -math.inf, "many"]
        if not isinstance(good, float) and spec.key != "training.stop_at_accuracy":
            wrong += [1.5, 28.0]
    elif spec.choices:
        wrong += [1, None, True, good.upper(), good + " "]
    else:
        wrong += [5, None, True]
    for value in wrong:
        assert list(errors_of(put(data_for(kind), spec.key, value))) == [spec.key], value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__depth": "28"}, "model.depth = '28': must be a whole number, without quotes"),
        ({"model__depth": 28.0}, "model.depth = 28.0: must be a whole number, without a decimal point"),
        ({"model__depth": True}, "model.depth = true: must be a whole number"),
        ({"optimizer__lr": "0.1"}, "optimizer.lr = '0.1': must be a number, without quotes"),
        ({"optimizer__lr": math.nan}, "optimizer.lr = nan: must be a finite number"),
        ({"optimizer__lr": 0}, "optimizer.lr = 0: must be above 0"),
        ({"augment__flip": "true"}, "augment.flip = 'true': must be true or false, without quotes"),
        ({"augment__flip": 1}, "augment.flip = 1: must be true or false"),
        ({"augment__cutout_size": 29}, "augment.cutout_size = 29: must be at most 28"),
        ({"schedule__milestones": 60}, "schedule.milestones = 60: must be a list, for example [60, 120]"),
        ({"schedule__milestones": [60, 1]}, "schedule.milestones = [60, 1]: each must be at least 2"),
        (
            {"model__blocks": [0, 5000], "model__kind": "dual_path_net"},
            "model.blocks = [0, 5000]: each must be at least 1, and at most 4096",
        ),
        (
            {"schedule__kind": "cosin"},
            f"schedule.kind = 'cosin': must be one of {SCHEDULES}; did you mean cosine?",
        ),
        (
            {"training__micro_batch": "ful"},
            "training.micro_batch = 'ful': must be full or auto, or a whole number; did you mean full?",
        ),
        ({"training__micro_batch": 0}, "training.micro_batch = 0: must be full or auto, or at least 1"),
        ({"name": 5}, "name = 5: must be text in quotes"),
        ({"name": ""}, "name = '': must not be empty"),
        ({"name": "  "}, "name = '  ': must not be empty"),
        ({"name": "x" * 65}, f"name = '{'x' * 65}': must be at most 64 characters long"),
        ({"data": 3}, "data = 3: must be a section with fields of its own"),
        ({"model": 3}, "model = 3: must be a section with fields of its own"),
        ({"model": {}}, "model.kind: must be one of wide_resnet, densenet, dual_path_net, shake_shake, turbo"),
        (
            {"schedule": {"kind": "onecycle"}},
            f"schedule.kind = 'onecycle': must be one of {SCHEDULES}; did you mean one_cycle?",
        ),
        ({"reference": {}}, "reference.model_name: is required"),
    ],
)
def test_messages_name_field_value_and_remedy(changes: dict[str, Any], message: str) -> None:
    errors = errors_of(data_for(**changes))
    assert str(next(iter(errors.values()))) == message


def test_a_familys_common_name_is_understood() -> None:
    message = errors_of(data_for(model={"kind": "dpn"}))["model.kind"].message
    assert message.endswith("dual_path_net, shake_shake, turbo; did you mean dual_path_net?")


def test_several_errors_stand_one_on_a_line_under_their_source() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(data_for(model__depth=5, optimizer__lr=-1.0), "mine.toml")
    assert str(caught.value).splitlines() == [
        "mine.toml:",
        "  model.depth = 5: must be at least 10",
        "  optimizer.lr = -1.0: must be above 0",
    ]
    with pytest.raises(ConfigError, match=r"^mine\.toml: model\.depth = 5: must be at least 10$"):
        parse_config(data_for(model__depth=5), "mine.toml")


def test_a_long_value_is_cut_in_its_message() -> None:
    assert len(str(errors_of(data_for(name="x" * 100_000))["name"])) < 200
    assert len(str(errors_of(data_for(optimizer__lr=10**400))["optimizer.lr"])) < 200
    assert len(str(errors_of(data_for(schedule__milestones=[1] * 10_000))["schedule.milestones"])) < 200


@pytest.mark.parametrize("text", ["two\nlines", "bell\a", "\x1b[31mred", "\x00", "right\u202eleft", "\ud800"])
@pytest.mark.parametrize("key", ["name", "description", "preset"])
def test_text_a_terminal_would_obey_is_refused(key: str, text: str) -> None:
    assert "\x1b" not in str(errors_of(data_for(**{key: text}))[key])


UNKNOWN = [
    ("optimizer.learning_rate", "optimizer.lr"),
    ("optimizer.wd", "optimizer.weight_decay"),
    ("optimizer.momentun", "optimizer.momentum"),
    ("training.batch", "training.batch_size"),
    ("training.epoch", "training.epochs"),
    ("schedule.milestone", "schedule.milestones"),
    ("model.dropout", "model.drop_rate"),
    ("optimiser", "optimizer"),
    ("sed", "seed"),
    # the right name in the wrong place; a name that is exact elsewhere beats one that is only like it here
    ("lr", "optimizer.lr"),
    ("epochs", "training.epochs"),
    ("schedule.lr", "optimizer.lr"),
    ("schedule.epochs", "training.epochs"),
    ("optimizer.min_lr", "schedule.min_lr"),
    ("data.flip", "augment.flip"),
    ("training.depth", "model.depth"),
]


@pytest.mark.parametrize(("key", "meant"), UNKNOWN)
def test_unknown_keys_are_errors_with_the_likely_name(key: str, meant: str) -> None:
    error = errors_of(put(data_for(), key, 1))[key]
    assert str(error) == f"{key}: no such field; did you mean {meant}?"


def test_an_unknown_key_like_no_other_lists_what_there_is() -> None:
    error = errors_of(put(data_for(), "optimizer.xyzzy", 1))["optimizer.xyzzy"]
    fields = "kind, lr, momentum, nesterov, weight_decay, muon_momentum, muon_steps, bias_lr, head_lr"
    assert error.message == f"no such field; the fields here are {fields}"
    assert "model" in errors_of(put(data_for(), "qqqqq", 1))["qqqqq"].message


def test_a_field_of_another_family_is_named_as_that() -> None:
    message = errors_of(put(data_for(), "model.growth_rate", 12))["model.growth_rate"].message
    assert message.startswith("a field of densenet and dual_path_net; the fields here are kind, depth")


def test_nearest_finds_nothing_for_nonsense() -> None:
    assert nearest("zzz", ["lr", "momentum"]) == ""
    assert nearest("", ["lr"]) == ""


RULES: list[tuple[str, dict[str, Any], str, str]] = [
    ("wide_resnet", {"model__depth": 27}, "model.depth", "nearest is 28"),
    ("wide_resnet", {"model__depth": 11}, "model.depth", "nearest is 10"),
    ("wide_resnet", {"model__depth": 201}, "model.depth", "nearest is 202"),
    ("densenet", {"model__depth": 101}, "model.depth", "nearest is 100"),
    ("densenet", {"model__depth": 7}, "model.depth", "nearest is 10"),
    ("densenet", {"model__depth": 41, "model__bottleneck": False}, "model.depth", "3n + 4; the nearest is 40"),
    ("shake_shake", {"model__depth": 28}, "model.depth", "nearest is 26"),
    ("shake_shake", {"model__base_channels": 63}, "model.base_channels", "multiple of 2"),
    ("dual_path_net", {"model__blocks": [4]}, "model.blocks", "they hold 1, 3 and 3"),
    ("dual_path_net", {"model__filters": [4, 4]}, "model.filters", "they hold 3, 2 and 3"),
    ("dual_path_net", {"model__growth_rate": [4] * 4}, "model.growth_rate", "they hold 3, 3 and 4"),
    ("dual_path_net", {"model__blocks": []}, "model.blocks", "1 or more numbers, not 0"),
    ("dual_path_net", {"model__blocks": [1] * 5}, "model.blocks", "at most 4 numbers, not 5"),
    ("wide_resnet", {"schedule__milestones": [60, 60]}, "schedule.milestones", "rise"),
    ("wide_resnet", {"schedule__milestones": [120, 60]}, "schedule.milestones", "rise"),
    ("wide_resnet", {"schedule__milestones": []}, "schedule.milestones", "kind = constant"),
    ("wide_resnet", {"schedule__milestones": list(range(2, 67))}, "schedule.milestones", "at most 64"),
    ("wide_resnet", {"augment__cutout_size": 29}, "augment.cutout_size", "at most 28"),
    ("wide_resnet", {"optimizer__momentum": 0.0}, "optimizer.nesterov", "set nesterov = false"),
    ("wide_resnet", {"schedule__min_lr": 0.2}, "schedule.min_lr", "must not exceed optimizer.lr = 0.1"),
    ("wide_resnet", {"schedule__warmup_epochs": 200.0}, "schedule.warmup_epochs", "below training.epochs = 200"),
    ("wide_resnet", {"training__micro_batch": 257}, "training.micro_batch", "exceed training.batch_size = 256"),
]


@pytest.mark.parametrize(("kind", "changes", "field", "words"), RULES)
def test_rules_over_several_fields_blame_one_and_say_what_to_do(
    kind: str, changes: dict[str, Any], field: str, words: str
) -> None:
    errors = errors_of(data_for(kind, **changes))
    assert list(errors) == [field]
    assert words in errors[field].message
    assert str(errors[field]).startswith(f"{field} = ")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("wide_resnet", {"model__depth": 10}),
        ("wide_resnet", {"model__depth": 202}),
        ("densenet", {"model__depth": 7, "model__bottleneck": False}),
        ("densenet", {"model__depth": 40, "model__bottleneck": False}),
        ("densenet", {"model__depth": 190}),
        ("dual_path_net", {"model__blocks": [1], "model__filters": [8], "model__growth_rate": [2]}),
        ("shake_shake", {"model__depth": 8}),
        ("wide_resnet", {"augment__cutout_size": 28}),
        ("wide_resnet", {"optimizer__momentum": 0.0, "optimizer__nesterov": False}),
        ("wide_resnet", {"schedule__min_lr": 0.1}),
        ("wide_resnet", {"schedule__warmup_epochs": 199.99}),
        ("wide_resnet", {"training__micro_batch": 256}),
        ("wide_resnet", {"schedule__kind": "constant", "schedule__milestones": []}),
        ("wide_resnet", {"schedule__kind": "cosine", "schedule__milestones": []}),
        ("wide_resnet", {"optimizer__lr": 1}),  # TOML's 1 is a fine learning rate
        ("wide_resnet", {"name": "Kleidung 訓練 🧥"}),
    ],
)
def test_what_the_rules_allow(kind: str, changes: dict[str, Any]) -> None:
    config = parse_config(data_for(kind, **changes))
    for key, value in changes.items():
        assert value_of(config, key.replace("__", ".")) == (tuple(value) if isinstance(value, list) else value)


def test_an_item_that_broke_a_bound_is_not_judged_by_the_rules_too() -> None:
    assert list(errors_of(data_for(optimizer__lr=-1.0, schedule__min_lr=0.5))) == ["optimizer.lr"]


def test_configurations_do_not_change() -> None:
    config = parse_config(data_for("dual_path_net"))
    for part, name, value in [
        (config, "seed", 1),
        (config.optimizer, "lr", 0.2),
        (config.model, "kind", "x"),
        (config, "optimizer", config.optimizer),
        (config, "brand_new", 1),
    ]:
        with pytest.raises(ValidationError):
            setattr(part, name, value)
    assert isinstance(config.model, DualPathNetConfig) and isinstance(config.model.blocks, tuple)
    assert hash(config) == hash(parse_config(data_for("dual_path_net")))


def test_lists_given_are_not_kept() -> None:
    milestones = [60, 120]
    config = parse_config(data_for(schedule__milestones=milestones))
    milestones.append(1)
    assert config.schedule.milestones == (60, 120)


def test_classes_are_fashion_mnists() -> None:
    assert (len(CLASSES), CLASSES[0], CLASSES[6], CLASSES[9]) == (10, "T-shirt/top", "Shirt", "Ankle boot")


def test_sections_are_all_of_the_models() -> None:
    parts = {key for key, info in RunConfig.model_fields.items() if info.annotation is not None} - {"reference"}
    for key in SECTIONS:
        assert key in parts
    for kind, model in MODEL_KINDS.items():
        assert issubclass(model, BaseModel)
        assert get_args(model.model_fields["kind"].annotation) == (kind,)
