"""Every field of RunConfig: its bounds, its type, its help and unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import annotated_types
import pytest

from fmnist_tui.config import (
    MODEL_KINDS,
    Reference,
    parse_config,
)
from fmnist_tui.fields import FieldSpec, fields_of
from tests.unit.config_data import data_for, errors_of, put, value_of

SPECS = [(kind, spec) for kind in MODEL_KINDS for spec in fields_of(kind)]
SPEC_IDS = [f"{kind}:{spec.key}" for kind, spec in SPECS]
each_field = pytest.mark.parametrize(("kind", "spec"), SPECS, ids=SPEC_IDS)


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
    ("data.hold_out", 59_999): {"data.split": "standard"},
    ("data.fold", 59_999): {"data.split": "standard", "data.hold_out": 1},
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
    plain_counts = {"seed", "data.fold"}
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
