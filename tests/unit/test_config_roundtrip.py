"""A RunConfig written as TOML or JSON and read again is the same to the last bit."""

from __future__ import annotations

import math
import struct
import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_tui.config import RunConfig, parse_config
from fmnist_tui.presets import to_toml


def floats(low: float, high: float, **options: Any) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, **options)


texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Co", "Cn", "Zl", "Zp", "Zs"]), max_size=20)
models = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("wide_resnet"), "depth": st.integers(1, 33).map(lambda n: 6 * n + 4)},
        optional={"widen_factor": st.integers(1, 20), "drop_rate": floats(0, 1, exclude_max=True)},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("densenet"), "reduction": floats(0, 1, exclude_min=True), "bottleneck": st.booleans()},
        optional={"growth_rate": st.integers(1, 128)},
    ),
    st.integers(1, 4).flatmap(
        lambda n: st.fixed_dictionaries(
            {"kind": st.just("dual_path_net")}
            | {
                key: st.lists(st.integers(1, 4096), min_size=n, max_size=n)
                for key in ("blocks", "filters", "growth_rate")
            }
        )
    ),
    st.fixed_dictionaries(
        {"kind": st.just("shake_shake"), "base_channels": st.integers(1, 256).map(lambda n: 2 * n)},
        optional={"shake_forward": st.booleans(), "shake_level": st.sampled_from(["image", "batch"])},
    ),
)
configs = st.fixed_dictionaries(
    {
        "name": texts.filter(bool),
        "model": models,
        "optimizer": st.fixed_dictionaries(
            {"lr": floats(1e-3, 100), "weight_decay": floats(0, 1), "momentum": floats(1e-300, 1, exclude_max=True)}
        ),
        "schedule": st.fixed_dictionaries(
            {
                "milestones": st.sets(st.integers(2, 100_000), min_size=1, max_size=64).map(sorted),
                "gamma": floats(0, 1, exclude_min=True),
                "min_lr": floats(0, 1e-3),
                "warmup_epochs": floats(0, 1, exclude_max=True),
            }
        ),
        "training": st.fixed_dictionaries(
            {"epochs": st.integers(1, 100_000), "micro_batch": st.sampled_from(["full", "auto", 1, 256])},
            optional={"max_steps": st.integers(1, 10**18), "stop_at_accuracy": floats(0, 100, exclude_min=True)},
        ),
    },
    optional={
        "description": texts,
        "seed": st.integers(0, 2**32 - 1),
        "reference": st.fixed_dictionaries(
            {
                "model_name": texts.filter(bool),
                "parameters": st.integers(1, 10**12),
                "accuracy": floats(0, 100, exclude_min=True),
                "epochs": st.integers(1, 10_000),
                "time": texts.filter(bool),
            }
        ),
    },
).map(parse_config)


def bits(value: Any) -> Any:
    """The value with every float as its eight bytes, so that nearly equal is not equal and -0.0 is not 0.0."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list | tuple) else (type(value), value)


@settings(max_examples=60, deadline=None)
@given(configs)
def test_toml_and_json_lose_nothing(config: RunConfig) -> None:
    from_toml = parse_config(tomllib.loads(to_toml(config)))
    from_json = RunConfig.model_validate_json(config.model_dump_json())
    assert from_toml == config == from_json
    assert bits(from_toml.model_dump()) == bits(config.model_dump()) == bits(from_json.model_dump())


def test_the_smallest_and_oddest_floats_survive() -> None:
    for lr in (5e-324, 0.1 + 0.2, 1e-05, 1e16 / 3 / 1e15, 100.0, math.nextafter(0.1, 1)):
        data = {"model": {"kind": "densenet"}, "schedule": {"milestones": [2], "min_lr": -0.0}, "optimizer": {"lr": lr}}
        config = parse_config(data)
        again = parse_config(tomllib.loads(to_toml(config)))
        assert bits(again.model_dump()) == bits(config.model_dump())
        assert bits(RunConfig.model_validate_json(config.model_dump_json()).model_dump()) == bits(config.model_dump())
