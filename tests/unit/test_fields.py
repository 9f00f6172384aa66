"""Fields one by one: what `--set` parses and reaches, differences, and notes."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_tui.config import MODEL_KINDS, ConfigError, RunConfig, parse_config
from fmnist_tui.fields import (
    differences,
    field_value,
    fields_of,
    flatten,
    notes,
    parse_value,
    steps_per_epoch,
    with_changes,
)
from fmnist_tui.presets import load_preset


def family(kind: str) -> RunConfig:
    return parse_config({"model": {"kind": kind}, "schedule": {"milestones": [60, 120, 160]}})


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("-3", -3),
        ("1_000", 1000),
        ("0.05", 0.05),
        ("5e-4", 5e-4),
        (".05", 0.05),
        ("1.", 1.0),
        ("-.5E-3", -0.5e-3),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("none", None),
        (" None ", None),
        ("null", None),
        ("cosine", "cosine"),
        ('"cosine"', "cosine"),
        ("'2024'", "2024"),
        ("[60, 120]", [60, 120]),
        ("60,120,160", [60, 120, 160]),
        ("60, 120,", [60, 120]),
        ("[]", []),
        ("", ""),
        ("two words", "two words"),
        ("Hello, world", "Hello, world"),
        ("[broken", "[broken"),
        ("[a, b]", "[a, b]"),
        ("a = b", "a = b"),
        ("1\nother = 2", "1\nother = 2"),
        ("2026-11-23", date(2026, 11, 23)),
        ("5 apples", "5 apples"),
    ],
)
def test_parse_value(text: str, value: Any) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("digit", ["9", "["])
def test_what_tomls_reader_gives_up_on_is_text(digit: str) -> None:
    assert parse_value(digit * 5000) == digit * 5000


@pytest.mark.parametrize("text", ["2024", "none", "true", "1, 2", "2026-11-23", "cosine 训练", "it's"])
def test_a_text_field_takes_what_is_typed(text: str) -> None:
    assert parse_value(text, "name") == text
    assert with_changes(family("densenet"), {"name": parse_value(text, "name")}).name == text
    assert parse_value(f'"{text}"', "description") == text


@settings(deadline=None)
@given(st.text())
def test_parse_value_takes_any_text(text: str) -> None:
    parse_value(text)  # raises nothing
    if not text.strip().startswith(("'", '"')):
        assert parse_value(text, "name") == text.strip()


NEW_VALUES: dict[str, dict[str, str]] = {
    "wide_resnet": {"model.depth": "16", "model.widen_factor": "8", "model.drop_rate": "0.3"},
    "densenet": {
        "model.depth": "190",
        "model.growth_rate": "40",
        "model.reduction": "1",
        "model.bottleneck": "true",
        "model.drop_rate": ".2",
    },
    "dual_path_net": {
        "model.blocks": "3, 4, 6",
        "model.filters": "[64, 128, 256]",
        "model.growth_rate": "8,16,32",
    },
    "shake_shake": {
        "model.depth": "20",
        "model.base_channels": "32",
        "model.shake_forward": "false",
        "model.shake_backward": "False",
        "model.shake_level": "batch",
    },
    "turbo": {
        "model.widths": "32,64,128",
        "model.group_convs": "3",
        "model.whitening_filters": "16",
        "model.whitening_epsilon": "1e-3",
        "model.whitening_padding": "0",
        "model.whitening_bias_share": "0.5",
        "model.bn_momentum": "0.4",
        "model.head_scale": "0.2",
    },
}
COMMON_VALUES = {
    "name": "mine",
    "description": "One, two",
    "seed": "7",
    "data.source": "sample",
    "data.split": "standard",
    "data.hold_out": "500",
    "data.fold": "1",
    "augment.crop_padding": "2",
    "augment.flip": "false",
    "augment.flip_mode": "alternating",
    "augment.cutout_size": "14",
    "augment.cutout_probability": "0.5",
    "augment.cutout_inside": "true",
    "augment.cutmix_probability": "0.5",
    "augment.cutmix_share": "0.75",
    "augment.low_resolution": "20",
    "augment.low_resolution_share": "0.25",
    "optimizer.kind": "muon",
    "optimizer.lr": "0.05",
    "optimizer.momentum": "0.8",
    "optimizer.nesterov": "false",
    "optimizer.weight_decay": "1e-4",
    "optimizer.muon_momentum": "0.6",
    "optimizer.muon_steps": "5",
    "optimizer.bias_lr": "0.1",
    "optimizer.head_lr": "0.5",
    "schedule.kind": "cosine",
    "schedule.milestones": "10,20",
    "schedule.gamma": "0.5",
    "schedule.min_lr": "1e-3",
    "schedule.warmup_epochs": "2",
    "training.epochs": "20",
    "training.batch_size": "64",
    "training.micro_batch": "16",
    "training.label_smoothing": "0.1",
    "training.tta": "flip",
    "training.eval_every": "5",
    "training.checkpoint_seconds": "30",
    "training.max_steps": "9",
    "training.stop_at_accuracy": "95",
    "training.precision": "bf16",
    "training.memory_format": "channels_last",
    "training.compile": "off",
    "training.cuda_graphs": "off",
    "training.tf32": "off",
    "training.cudnn_benchmark": "on",
    "training.fused": "off",
    "training.cpu_kernels": "off",
    "training.threads": "2",
    "training.sync_batch_norm": "true",
    "training.deterministic": "true",
}


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_set_reaches_every_field(kind: str) -> None:
    typed = {"model.kind": kind} | NEW_VALUES[kind] | COMMON_VALUES
    assert set(typed) == {spec.key for spec in fields_of(kind)}
    base = family(kind)
    changed = with_changes(base, {key: parse_value(text, key) for key, text in typed.items()})
    same = {"model.kind", "model.bottleneck"}
    assert set(differences(changed, base)) == set(typed) - {"name", "description"} - same
    assert (changed.name, changed.description) == ("mine", "One, two")
    for key, text in typed.items():
        alone = {key: parse_value(text, key)}
        needs = {"model.bottleneck", "model.kind"}
        if key.startswith("model.") and key not in needs:
            assert set(differences(with_changes(base, alone), base)) == {key}
    assert flatten(base) == flatten(family(kind)), "the configuration that was changed is as it was"


def test_set_none_takes_a_limit_back() -> None:
    limited = with_changes(family("densenet"), {"training.max_steps": 5, "training.stop_at_accuracy": 90})
    assert (limited.training.max_steps, limited.training.stop_at_accuracy) == (5, 90.0)
    free = {key: parse_value("none") for key in ("training.max_steps", "training.stop_at_accuracy")}
    assert with_changes(limited, free).training == family("densenet").training


def test_changing_the_family_starts_from_its_defaults() -> None:
    wide = with_changes(family("wide_resnet"), {"model.depth": 40})
    dense = with_changes(wide, {"model.growth_rate": 24, "model.kind": "densenet"})
    assert dense.model == family("densenet").model.model_copy(update={"growth_rate": 24})
    assert dense.schedule == wide.schedule
    assert with_changes(wide, {"model.kind": "wide_resnet"}).model == wide.model, "no change of family, nothing lost"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 1}, "lr: no such field; did you mean optimizer.lr?"),
        ({"optimiser.lr": 1}, "optimiser.lr: no such field; did you mean optimizer.lr?"),
        ({"optimizer.lr.x": 1}, "optimizer.lr.x: no such field; did you mean optimizer.lr?"),
        ({"schedule.milestones.0": 1}, "schedule.milestones.0: no such field; did you mean schedule.milestones?"),
        ({"qqqq.zzzz.yy": 1}, "qqqq.zzzz.yy: no such field"),
        ({"model": 3}, "model = 3: is a section; set one of its fields, for example model.kind"),
        ({"optimizer": 3}, "optimizer = 3: is a section; set one of its fields, for example optimizer.kind"),
        ({"preset": "x"}, "preset = 'x': describes a preset and cannot be set on a run"),
        ({"reference.accuracy": 99.0}, "reference.accuracy = 99.0: describes a preset and cannot be set on a run"),
        ({"optimizer.lr": "fast"}, "optimizer.lr = 'fast': must be a number"),
        ({"model.kind": "wrn"}, "did you mean wide_resnet?"),
        ({"model.kind": "nonsense", "model": 1}, "model = 1: is a section"),
        ({"model.depth": 27}, "model.depth = 27: a Wide ResNet's depth is 6n + 4; the nearest is 28"),
        ({"seed": None}, "seed: none is no value for it, must be a whole number"),
    ],
)
def test_changes_that_cannot_be_made(changes: dict[str, Any], message: str) -> None:
    assert message in refused(with_changes, family("wide_resnet"), changes)


def test_all_that_is_wrong_is_said_at_once() -> None:
    message = refused(with_changes, family("wide_resnet"), {"optimizer.lr": 0, "model.depth": 3})
    assert "optimizer.lr" in message
    assert "model.depth" in message


def test_differences() -> None:
    wide = family("wide_resnet")
    assert differences(wide, wide) == {}
    other = with_changes(wide, {"optimizer.lr": 0.05, "name": "x", "description": "y", "schedule.milestones": [2]})
    assert differences(other, wide) == {
        "optimizer.lr": (0.1, 0.05),
        "schedule.milestones": ((60, 120, 160), (2,)),
    }
    across = differences(family("densenet"), wide)
    assert across["model.kind"] == ("wide_resnet", "densenet")
    assert across["model.widen_factor"] == (10, None)
    assert across["model.growth_rate"] == (None, 12)
    assert differences(load_preset("wrn"), load_preset("wrn").model_copy(update={"reference": None})) == {}


def test_choices_and_bounds_of_a_form() -> None:
    specs = {spec.key: spec for spec in fields_of("dual_path_net")}
    assert specs["model.kind"].choices == tuple(MODEL_KINDS)
    assert specs["schedule.kind"].choices == ("step", "cosine", "linear", "constant", "one_cycle")
    assert specs["training.micro_batch"].choices == ("full", "auto")
    assert specs["optimizer.lr"].choices == ()
    assert specs["optimizer.lr"].bounds == "0 < x <= 100"
    assert specs["optimizer.momentum"].bounds == "0 <= x < 1"
    assert specs["training.checkpoint_seconds"].bounds == "0 <= x <= 86,400"
    assert specs["training.batch_size"].bounds == "1 <= x <= 65,536"
    assert specs["training.micro_batch"].bounds == "1 <= x <= 65,536"
    assert specs["training.max_steps"].bounds == "1 <= x"
    assert specs["model.filters"].bounds == "1 <= x <= 4,096"
    assert specs["augment.flip"].bounds == ""
    with pytest.raises(KeyError):
        fields_of("no such family")


def test_steps_per_epoch_counts_the_small_last_batch() -> None:
    config = family("wide_resnet")
    assert [steps_per_epoch(config, images) for images in (256, 257, 30_000, 1)] == [1, 2, 118, 1]


def test_notes_say_what_a_valid_configuration_hides() -> None:
    wide = family("wide_resnet")
    assert notes(wide) == []
    short = notes(with_changes(wide, {"training.epochs": 130}))
    assert len(short) == 1
    assert short[0].startswith("schedule.milestones: milestone 160 will never be reached in 130 epochs; --scale-sch")
    assert "milestones 60, 120, 160 will never" in notes(with_changes(wide, {"training.epochs": 20}))[0]
    cosine = with_changes(wide, {"training.epochs": 20, "schedule.kind": "cosine"})
    assert notes(cosine) == []
    assert "only the last epoch (200)" in notes(with_changes(wide, {"training.eval_every": 201}))[0]
    assert "data.source = sample" in notes(with_changes(wide, {"data.source": "sample"}))[0]


def test_numbers_that_differ_are_shown_apart() -> None:
    assert [field_value(value) for value in (0.03128475613, 0.03128475614)] == ["0.03128475613", "0.03128475614"]
    assert [field_value(value) for value in (2.0, 5e-4, 1e-7, None)] == ["2", "0.0005", "1e-07", "none"]
