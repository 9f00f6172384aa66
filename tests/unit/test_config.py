"""RunConfig: messages, names, rules over several fields. Also: test_config_bounds.py, test_config_roundtrip.py."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from fmnist_tui.config import (
    CLASSES,
    MODEL_KINDS,
    SECTIONS,
    ConfigError,
    DualPathNetConfig,
    RunConfig,
    parse_config,
)
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.wording import nearest
from tests.unit.config_data import SCHEDULES, data_for, errors_of, put, value_of


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
        ({"group": ""}, "group = '': must not be empty"),
        ({"group": "x" * 65}, f"group = '{'x' * 65}': must be at most 64 characters long"),
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


@pytest.mark.parametrize("name", ["👨\u200d👩\u200d👧", "👩\u200d❤\ufe0f\u200d👨", "می\u200cخواهم", "👍🏽", "é"])
def test_joined_characters_are_text(name: str) -> None:
    config = parse_config(data_for(name=name, description=name, group=name))
    assert (config.name, config.description, config.group) == (name, name, name)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a\u202eb", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("a\u2066b", "U+2066 (LEFT-TO-RIGHT ISOLATE)"),
        ("a\u2028b", "U+2028 (LINE SEPARATOR)"),
        ("a\u200bb", "U+200B (ZERO WIDTH SPACE)"),
        ("a\x1b[2J", "U+001B"),
        ("a\nb", "U+000A"),
        ("qui\u200dck", "U+200D (ZERO WIDTH JOINER)"),
        ("👨\u200d", "U+200D (ZERO WIDTH JOINER)"),
        ("👨\u200d\u200d👧", "U+200D (ZERO WIDTH JOINER)"),
    ],
)
def test_a_character_that_is_not_printable_is_named(text: str, named: str) -> None:
    error = str(errors_of(data_for(name=text))["name"])
    assert error.endswith(f": must be printable text on one line, without {named}")
    assert "\u202e" not in error and "\x1b" not in error


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


@pytest.mark.parametrize(("field", "wants"), [("seed", "a whole number"), ("optimizer.lr", "a number")])
def test_none_where_there_has_to_be_a_value_is_named(field: str, wants: str) -> None:
    with pytest.raises(ConfigError, match=f"^{field}: none is no value for it, must be {wants}$"):
        with_changes(load_preset("quick"), {field: None})
