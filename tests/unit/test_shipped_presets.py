"""The presets that come with the program: the reference's numbers, and that each is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fmnist_tui import paths
from fmnist_tui.config import RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.models.count import parameter_count
from fmnist_tui.presets import find_presets, load_preset, save_preset, shipped_preset

STEP_WRN = {"kind": "step", "milestones": (60, 120, 160), "gamma": 0.2, "min_lr": 0.0, "warmup_epochs": 0.0}
STEP_DENSENET = STEP_WRN | {"milestones": (150, 225), "gamma": 0.1}
COSINE = {"kind": "cosine", "min_lr": 0.0, "warmup_epochs": 0.0}
CROP_FLIP = {"crop_padding": 4, "flip": True, "cutout_size": 0}
CUTOUT = {"crop_padding": 4, "flip": True, "cutout_size": 16, "cutout_probability": 1.0, "cutout_inside": False}
SHAKE = {"kind": "shake_shake", "depth": 26, "shake_forward": True, "shake_backward": True, "shake_level": "image"}


def sgd(nesterov: bool, weight_decay: float) -> dict[str, Any]:
    return {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov, "weight_decay": weight_decay}


def reference(name: str, parameters: int, accuracy: float, epochs: int, time: str, speed: float | None) -> Any:
    return {
        "model_name": name,
        "parameters": parameters,
        "accuracy": accuracy,
        "epochs": epochs,
        "time": time,
        "images_per_second": speed,
    }


# The reference's tables, written out.
TABLE: dict[str, dict[str, Any]] = {
    "wrn": {
        "seed": 40_000,
        "model": {"kind": "wide_resnet", "depth": 28, "widen_factor": 10, "drop_rate": 0.0},
        "augment": CROP_FLIP,
        "optimizer": sgd(True, 5e-4),
        "schedule": STEP_WRN,
        "training": {"epochs": 200, "batch_size": 256},
        "reference": reference("WideResNet", 36_478_906, 93.2775, 200, "about 7 h", 488.0),
    },
    "densenet": {
        "seed": 40_000,
        "model": {
            "kind": "densenet",
            "depth": 100,
            "growth_rate": 12,
            "reduction": 0.5,
            "bottleneck": True,
            "drop_rate": 0.0,
        },
        "augment": CROP_FLIP,
        "optimizer": sgd(True, 1e-4),
        "schedule": STEP_DENSENET,
        "training": {"epochs": 300, "batch_size": 128},
        "reference": reference("DenseNet", 768_730, 93.77, 300, "about 3-4 h", 883.0),
    },
    "dpn": {
        "seed": 30_000,
        "model": {
            "kind": "dual_path_net",
            "blocks": (4, 4, 4),
            "filters": (160, 320, 640),
            "growth_rate": (16, 32, 64),
        },
        "augment": CROP_FLIP,
        "optimizer": sgd(False, 5e-4),
        "schedule": STEP_WRN,
        "training": {"epochs": 200, "batch_size": 256},
        "reference": reference("DualPathNet", 47_751_450, 93.21, 200, "about 6 h", 418.0),
    },
    "shake-shake-96": {
        "seed": 30_000,
        "model": SHAKE | {"base_channels": 96},
        "augment": CUTOUT,
        "optimizer": sgd(False, 1e-4),
        "schedule": COSINE,
        "training": {"epochs": 1800, "batch_size": 256},
        "reference": reference("Shake-Shake 96d", 26_330_026, 93.7275, 1800, "about 40 h", None),
    },
    "shake-shake-64": {
        "seed": 30_000,
        "model": SHAKE | {"base_channels": 64},
        "augment": CUTOUT,
        "optimizer": sgd(False, 1e-4),
        "schedule": COSINE,
        "training": {"epochs": 1800, "batch_size": 256},
        "reference": reference("Shake-Shake 64d", 11_708_362, 93.725, 1800, "about 25 h", None),
    },
}


@pytest.mark.parametrize("name", TABLE)
def test_the_reference_presets_to_the_last_number(name: str) -> None:
    dump = load_preset(name).model_dump()
    for section, expected in TABLE[name].items():
        if isinstance(expected, dict):
            assert {key: dump[section][key] for key in expected} == expected, section
        else:
            assert dump[section] == expected
    assert (dump["name"], dump["preset"]) == (name, name)
    assert dump["data"] == {"source": "full", "split": "custom", "hold_out": 0, "fold": 0}
    assert set(dump["model"]) == set(TABLE[name]["model"]), "every field of the family is in the table"
    smoke = {key: dump["training"][key] for key in ("eval_every", "max_steps", "micro_batch", "stop_at_accuracy")}
    assert smoke == {"eval_every": 1, "max_steps": None, "micro_batch": "full", "stop_at_accuracy": None}
    assert 0 < len(dump["description"]) <= 100


@pytest.mark.parametrize("name", sorted(path.stem for path in paths.shipped_presets_dir().glob("*.toml")))
def test_every_shipped_preset_is_whole(name: str) -> None:
    config = shipped_preset(name)
    assert config is not None
    assert config.description
    assert config == load_preset(name)


def test_the_cheap_presets_come_first() -> None:
    names = list(find_presets())
    assert names[0] == "quick"
    assert [name for name in names if name in TABLE] == list(TABLE)
    quick = load_preset("quick")
    assert (quick.data.source, quick.reference) == ("sample", None)


@pytest.mark.parametrize("name", TABLE)
def test_the_reference_counts_are_those_of_the_networks(name: str) -> None:
    config: RunConfig = load_preset(name)
    assert config.reference is not None
    assert parameter_count(config.model) == config.reference.parameters


def test_a_copy_of_a_shipped_preset_is_no_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the ./presets of a checkout are, beside a program that was installed from it."""
    shipped, local = paths.shipped_presets_dir(), tmp_path / "presets"
    local.mkdir()
    for name in ("wrn", "quick", "dpn"):
        (local / f"{name}.toml").write_bytes((shipped / f"{name}.toml").read_bytes())
    (local / "dpn.toml").write_bytes((shipped / "quick.toml").read_bytes())
    (local / "copy.toml").write_bytes((shipped / "wrn.toml").read_bytes())
    found = find_presets()
    assert (found["wrn"].origin, found["wrn"].path) == ("shipped", shipped / "wrn.toml")
    assert (found["dpn"].origin, found["copy"].origin) == ("local", "local")
    save_preset(with_changes(load_preset("wrn"), {"training.epochs": 3}), "wrn")
    assert (load_preset("wrn").training.epochs, find_presets()["wrn"].origin) == (3, "user")
    monkeypatch.chdir(shipped.parent)
    assert find_presets()["wrn"].origin == "user", "in a checkout one's own shadows the shipped one, too"
    assert find_presets()["dpn"].origin == "shipped"
