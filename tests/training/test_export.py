"""The exported network gives the run's own logits: in onnxruntime, and loaded back from safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fmnist_tui.config import CLASSES
from fmnist_tui.data.batches import normalize
from fmnist_tui.data.source import Images
from fmnist_tui.models import build_model
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training import export
from fmnist_tui.training.checkpoint import CheckpointError
from fmnist_tui.training.restore import restore_model
from tests.training.tiny import Trainer, tiny_config

MODELS = {
    "wide_resnet": {"kind": "wide_resnet", "depth": 10, "widen_factor": 1},
    "shake_shake": {"kind": "shake_shake", "depth": 8, "base_channels": 4},
}


def trained(trainer: Trainer, kind: str = "wide_resnet") -> RunDirectory:
    """A run of two steps: its batch-norm statistics are no longer the initial ones."""
    run = trainer.create(tiny_config(model=MODELS[kind], training={"epochs": 1, "max_steps": 2}))
    trainer.train(run)
    return run


def logits_of(run: RunDirectory, pixels: np.ndarray) -> np.ndarray:
    """What the run's own network says of (B, 28, 28) uint8 pixels."""
    with torch.inference_mode():
        logits: np.ndarray = restore_model(run).model(normalize(torch.from_numpy(pixels.copy()))).numpy()
    return logits


@pytest.mark.parametrize("kind", MODELS)
def test_onnxruntime_gives_the_same_logits_for_any_batch(
    trainer: Trainer, images: Images, tmp_path: Path, kind: str
) -> None:
    run = trained(trainer, kind)
    path = tmp_path / "model.onnx"
    export.to_onnx(run, "last", path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:], answer.name) == ("images", "tensor(float)", [1, 28, 28], "logits")
    for size in (1, 2, 37):
        pixels = images.test_images[:size]
        scaled = (pixels / 255.0).astype(np.float32)[:, None]
        (logits,) = session.run(None, {"images": scaled})
        assert logits.shape == (size, 10)
        np.testing.assert_allclose(logits, logits_of(run, pixels), atol=2e-4)
    said = session.get_modelmeta().custom_metadata_map
    assert said["run"] == run.id and json.loads(said["classes"]) == list(CLASSES) and said["step"] == "2"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".model")] == []


def test_safetensors_load_into_the_same_network(trainer: Trainer, tmp_path: Path) -> None:
    run = trained(trainer)
    path = tmp_path / "model.safetensors"
    export.to_safetensors(run, "best", path)
    model = build_model(tiny_config().model)
    model.load_state_dict(load_file(path))
    there = restore_model(run, "best")
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), there.model.state_dict().values(), strict=True)
    )
    with safe_open(path, framework="numpy") as file:
        said = file.metadata()
    assert said["checkpoint"] == "best" and float(said["pixel_mean"]) == 0.2860 and float(said["pixel_std"]) == 0.3530
    assert json.loads(said["config"])["model"]["kind"] == "wide_resnet"
    assert float(said["test_accuracy_percent"]) == pytest.approx(there.test_accuracy, abs=1e-4)


def test_a_damaged_or_missing_checkpoint_is_named_and_leaves_nothing(trainer: Trainer, tmp_path: Path) -> None:
    run = trained(trainer)
    whole = run.checkpoint("last").read_bytes()
    run.checkpoint("last").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"last\.pt: is damaged.*; there is another: --checkpoint best$"):
        export.to_safetensors(run, "last", tmp_path / "x.safetensors")
    run.checkpoint("best").unlink()
    with pytest.raises(CheckpointError, match=r"last\.pt: is damaged[^;]*$"):
        export.to_safetensors(run, "last", tmp_path / "x.safetensors")
    run.checkpoint("last").write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"best\.pt: no such checkpoint; there is another: --checkpoint last$"):
        export.to_safetensors(run, "best", tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()
