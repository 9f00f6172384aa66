"""What a run's network says of pictures: `python -m fmnist_tui.training.predict RUN_DIR --checkpoint best`.

Reads the pictures as a .npy array (N, 28, 28) uint8 on stdin and prints one JSON object: `probabilities` (N lists of
10), `epoch` of the checkpoint and `device`. Started by `predict` in a process of its own. What is wrong is the last
line of stderr; the exit code is an `ExitCode`.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fmnist_tui.config import IMAGE_SIZE
from fmnist_tui.data.batches import normalize
from fmnist_tui.runs.layout import CHECKPOINTS, RunDirectory
from fmnist_tui.runs.status import ExitCode
from fmnist_tui.training.precision import resolve_device
from fmnist_tui.training.restore import restore_model

BATCH = 250


@torch.inference_mode()
def probabilities(model: torch.nn.Module, images: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    """(N, 10) float32 softmax of (N, 28, 28) uint8 images, in float32 arithmetic; the model is moved to the device."""
    assert images.dtype == np.uint8 and images.shape[1:] == (IMAGE_SIZE, IMAGE_SIZE), images.shape
    model = model.to(device).eval()
    parts = [np.zeros((0, 10), np.float32)]
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(images[start : start + BATCH].copy()).to(device)
        parts.append(model(normalize(batch)).softmax(1).cpu().numpy())
    return np.concatenate(parts)


def predict(run: RunDirectory, which: str, device_name: str, images: NDArray[np.uint8]) -> dict[str, Any]:
    """The answer as it is printed. Raises ConfigError for the device and CheckpointError for the checkpoint."""
    device = resolve_device(device_name)
    restored = restore_model(run, which)
    said = probabilities(restored.model, images, device)
    return {"probabilities": said.tolist(), "epoch": restored.epoch, "step": restored.step, "device": str(device)}


def main() -> int:
    """Predict the pictures on stdin; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fmnist_tui.training.predict", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--checkpoint", choices=CHECKPOINTS, default="last")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    images = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    try:
        print(json.dumps(predict(RunDirectory(options.run.absolute()), options.checkpoint, options.device, images)))
    except ValueError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
